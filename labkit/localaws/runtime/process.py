"""Processes of execution environments: started, frozen, killed, and gone when the server is.

:class:`Launcher` starts them through a small process of its own (POSIX), which gives each a file
system of its own where the kernel allows it. What a :class:`KeptProcess` offers, a
:class:`~labkit.localaws.runtime.direct.DirectProcess` does too, so that an environment need not
know which it has.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from labkit.localaws.runtime.memory import children, descendants

LOG_FD = 62
_HELLO_SECONDS = 30.0

_SIGNAL_NAMES = {
    signal.SIGABRT: "aborted",
    signal.SIGFPE: "floating point exception",
    signal.SIGILL: "illegal instruction",
    signal.SIGINT: "interrupt",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGTERM: "terminated",
}
if sys.platform != "win32":
    _SIGNAL_NAMES |= {
        signal.SIGBUS: "bus error",
        signal.SIGKILL: "killed",
        signal.SIGPIPE: "broken pipe",
        signal.SIGQUIT: "quit",
        signal.SIGTRAP: "trace/breakpoint trap",
        signal.SIGALRM: "alarm clock",
        signal.SIGHUP: "hangup",
    }


class StartError(RuntimeError):
    """The process of an execution environment could not be started."""


@dataclass(frozen=True)
class Program:
    """What to run: arguments, variables, directories, and what the file system shows.

    ``code`` and ``layers`` are directories of this machine, ``directory`` is the working
    directory as the program sees it, ``tmp_mb`` the size of its ``/tmp``.
    """

    arguments: list[str]
    variables: dict[str, str]
    directory: str
    code: str
    layers: str | None
    tmp_mb: int


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code, negative for the signal that killed it."""

    code: int

    @property
    def reason(self) -> str:
        """AWS's wording: ``exit status 1``, ``signal: killed``; empty for exit code 0."""
        if self.code < 0:
            name = _SIGNAL_NAMES.get(-self.code, f"signal {-self.code}")
            return f"signal: {name}"
        return f"exit status {self.code}" if self.code else ""


class KeptProcess:
    """A program under a keeper (see ``child/launcher.py``), as the server holds it.

    ``log_fd`` is the readable end of its output, ``status`` a socket that becomes readable when
    there is news for :meth:`update`.
    """

    def __init__(self, control: socket.socket, log_fd: int, namespaces: bool) -> None:
        self.status = control
        self.log_fd = log_fd
        self.namespaces = namespaces
        self.keeper_pid = 0
        self.ended: Ended | None = None
        self.failure = ""
        self._main_pid = 0
        self._buffer = b""
        self._stopped = False
        self._closed = False

    def _command(self, letter: bytes) -> None:
        try:
            self.status.sendall(letter)
        except OSError:
            self.ended = self.ended or Ended(-signal.SIGKILL)

    def start(self) -> None:
        """Run the program, for the first time or again."""
        self.ended = None
        self._command(b"R")

    def kill(self) -> None:
        """Kill the program and all its descendants; ``ended`` follows."""
        self._command(b"K")

    def freeze(self) -> None:
        """Let nothing of the environment run until :meth:`thaw`."""
        self._stopped = True
        self._command(b"S")

    def thaw(self) -> None:
        """Let the environment run again."""
        if self._stopped:
            self._stopped = False
            self._command(b"C")

    def update(self) -> None:
        """Take in what the keeper has reported, without waiting."""
        while True:
            try:
                data, ancillary, _, _ = self.status.recvmsg(4096, 64, socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data, ancillary = b"", []
            for level, kind, value in ancillary:
                # The kernel says who sent it, in our own numbering of processes.
                if level == socket.SOL_SOCKET and kind == getattr(socket, "SCM_CREDENTIALS", -1):
                    self.keeper_pid = struct.unpack("iii", value[:12])[0]
            if not data:
                # The keeper is gone, and with it everything it kept.
                self.failure = self.failure or "its keeper is gone"
                self.ended = self.ended or Ended(-signal.SIGKILL)
                return
            self._buffer += data
            while b"\n" in self._buffer:
                line, self._buffer = self._buffer.split(b"\n", 1)
                self._take(line.decode("utf-8", "replace"))

    def _take(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "started":
            self._main_pid = int(rest)
        elif word == "exited":
            self.ended = Ended(os.waitstatus_to_exitcode(int(rest)))
        elif word == "failed":
            self.failure = rest
            self.ended = Ended(-signal.SIGKILL)

    def read_log(self) -> bytes:
        """Output that is there now, at most 1 MB; empty when there is none."""
        try:
            return os.read(self.log_fd, 1 << 20)
        except (BlockingIOError, InterruptedError):
            return b""

    def memory_pids(self) -> list[int]:
        """The processes whose memory counts as the environment's."""
        if self.keeper_pid:
            return descendants(self.keeper_pid)
        return [self._main_pid, *descendants(self._main_pid)] if self._main_pid else []

    def main_pid(self) -> int:
        """The program's process id as the server counts, 0 when it has none."""
        if not self.namespaces:
            return self._main_pid
        # The keeper forks the program first; whatever else it has are adopted orphans.
        return next(iter(children(self.keeper_pid)), 0) if self.keeper_pid else 0

    def close(self) -> None:
        """Kill everything and let go; the keeper ends by itself."""
        if not self._closed:
            self._closed = True
            self.status.close()
            os.close(self.log_fd)


@dataclass
class FileSystemPlan:
    """The root file system of environments: see ``child/sandbox.py``."""

    root: str
    python: str
    directories: list[str] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    binds: list[tuple[str, str]] = field(default_factory=list)
    late_binds: list[tuple[str, str]] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)


class Launcher:
    """The process that starts environments; restarted when it died, ended by :meth:`close`.

    *plan* None (or a kernel that refuses) means no file systems of their own; ``reason`` then
    says why, and ``namespaces`` which it is.
    """

    def __init__(self, python: str, plan: FileSystemPlan | None) -> None:
        self._python = python
        self._plan = plan
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._socket: socket.socket | None = None
        self.namespaces = False
        self.reason = ""

    def ready(self) -> None:
        """Start the launcher unless it runs; then ``namespaces`` and ``reason`` hold."""
        with self._lock:
            self._ensure()

    def _ensure(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        if self._start(self._plan):
            return
        # The kernel refused: from now on without file systems of their own.
        self._plan = None
        if not self._start(None):
            raise StartError("the launcher of execution environments did not start")

    def _start(self, plan: FileSystemPlan | None) -> bool:
        """Start it with *plan*; False when it refused."""
        if self._socket is not None:
            self._socket.close()
        ours, theirs = socket.socketpair()
        script = Path(__file__).with_name("child") / "launcher.py"
        text = json.dumps(plan.__dict__ if plan else None).encode()
        with theirs:
            self._process = subprocess.Popen(
                [self._python, "-E", "-s", "-S", "-B", str(script), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={"LANG": "C.UTF-8"},
            )
        self._socket = ours
        ours.sendall(struct.pack("!I", len(text)) + text)
        hello = b""
        ours.settimeout(_HELLO_SECONDS)
        try:
            while not hello.endswith(b"\n") and (more := ours.recv(65536)):
                hello += more
        except TimeoutError:
            self._process.kill()
            hello = b""
        ours.settimeout(None)
        answer = json.loads(hello) if hello else {"namespaces": False, "reason": "no answer"}
        self.namespaces = answer["namespaces"]
        self.reason = answer["reason"] or self.reason
        return bool(hello) and (plan is None or self.namespaces)

    def launch(self, program: Program) -> KeptProcess:
        """Prepare an environment for *program*; its ``start`` is still to be called."""
        control, theirs = socket.socketpair()
        if hasattr(socket, "SO_PASSCRED"):
            control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        log_read, log_write = os.pipe()
        os.set_blocking(log_read, False)
        message = {
            "arguments": program.arguments,
            "variables": program.variables,
            "directory": program.directory,
            "code": program.code,
            "layers": program.layers,
            "tmp_mb": program.tmp_mb,
            "log_fd": LOG_FD,
        }
        data = json.dumps(message).encode()
        try:
            with self._lock:
                self._ensure()
                head = struct.pack("!I", len(data))
                socket.send_fds(self._socket, [head], [theirs.fileno(), log_write])
                self._socket.sendall(data)
        except OSError as error:
            control.close()
            os.close(log_read)
            raise StartError(f"the launcher is gone: {error}") from None
        finally:
            theirs.close()
            os.close(log_write)
        return KeptProcess(control, log_read, self.namespaces)

    def close(self) -> None:
        """End the launcher. Environments end when their control sockets close."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            if self._process is not None:
                self._process.wait()
                self._process = None
