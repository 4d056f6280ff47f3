"""A program started without further ado: what works on any system, Windows among them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from labkit.localaws.runtime.memory import descendants
from labkit.localaws.runtime.process import Ended, Program


class DirectProcess:
    """A program started directly, its output in the file *log*: what works on any system.

    Nothing is frozen between invocations, and a descendant that left the process group lives on.
    """

    namespaces = False
    status = None
    log_fd = None

    def __init__(self, program: Program, log: Path) -> None:
        self._program = program
        self._process: subprocess.Popen | None = None
        self._log = log
        self._log.touch()
        self._reader = open(log, "rb", buffering=0)
        self._lifeline: int | None = None
        self._job: Any = None
        self.failure = ""

    def start(self) -> None:
        """Run the program, for the first time or again."""
        self._cut_lifeline()
        # The child ends when the other end of its standard input is gone: also when the server
        # was killed.
        theirs, self._lifeline = os.pipe()
        try:
            with open(self._log, "ab", buffering=0) as output:
                self._process = subprocess.Popen(
                    self._program.arguments,
                    env=self._program.variables,
                    cwd=self._program.directory,
                    stdin=theirs,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            self.failure = str(error)
            return
        finally:
            os.close(theirs)
        if sys.platform == "win32":
            from labkit.localaws.runtime.windows_job import Job

            self._job = Job(self._process)

    @property
    def ended(self) -> Ended | None:
        """How it ended, None while it runs."""
        if self._process is None:
            return Ended(1) if self.failure else None
        code = self._process.poll()
        return None if code is None else Ended(code)

    def kill(self) -> None:
        """Kill the program and its process group."""
        if self._process is None:
            return
        if self._job is not None:
            self._job.kill()
        elif sys.platform != "win32":
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except OSError:
                pass
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Nothing: this kind of process cannot be frozen."""

    def thaw(self) -> None:
        """Nothing, as :meth:`freeze`."""

    def update(self) -> None:
        """Nothing: ``ended`` looks for itself."""

    def read_log(self) -> bytes:
        """Output that is there now, at most 1 MB; empty when there is none."""
        return self._reader.read(1 << 20)

    def main_pid(self) -> int:
        """The program's process id, 0 when it has none."""
        return self._process.pid if self._process is not None else 0

    def memory_pids(self) -> list[int]:
        """The processes whose memory counts as the environment's."""
        pid = self.main_pid()
        return [pid, *descendants(pid)] if pid else []

    def _cut_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def close(self) -> None:
        """Kill everything and let go."""
        self.kill()
        self._cut_lifeline()
        self._reader.close()
        self._log.unlink(missing_ok=True)
