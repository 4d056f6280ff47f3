"""Where environments are made: directories, the runtime's packages, the launcher.

One :class:`Workshop` belongs to one pool. It decides, once, how isolated environments can be on
this machine, and turns a function version into a prepared process.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labkit.localaws.runtime.archive import CodeStore
from labkit.localaws.runtime.direct import DirectProcess
from labkit.localaws.runtime.packages import (
    base_python,
    build_runtime_directory,
    compile_missing,
    native_client_installed,
)
from labkit.localaws.runtime.process import (
    LOG_FD,
    FileSystemPlan,
    KeptProcess,
    Launcher,
    Program,
)
from labkit.localaws.runtime.variables import environment_variables
from labkit.localaws.runtime.version import FunctionVersion

# What differs from AWS in every environment, and where namespaces are not to be had.
DIFFERENCES = (
    "Functions of every Python runtime run on the Python that the lab itself runs on.",
    "AWS_ENDPOINT_URL points a function's clients at the local AWS; on AWS it is not set.",
    "The JSON log format's own timestamps, and time.time() in a function, are the machine's "
    "time, not the lab clock's.",
    "AWS_EC2_METADATA_DISABLED and AWS_ACCOUNT_ID_ENDPOINT_MODE are set, which they are not on AWS.",
    "CPU power does not grow with the memory size; environments share the machine's cores.",
    "Memory is looked at every 25 ms and at the end of an invocation, not by the kernel.",
    "aws-lambda-powertools is there without its layer; extensions and response streaming are not.",
)
DIFFERENCES_WITHOUT_NAMESPACES = (
    "The package does not lie in /var/task: LAMBDA_TASK_ROOT names its true place. Stack traces "
    "name /var/task all the same.",
    "/tmp is the machine's own and shared: tempfile and TMPDIR name a private directory, whose "
    "size is not limited.",
    "The package is not read-only, and the machine's other files can be seen.",
    "Outside Linux a descendant that leaves its process group outlives its environment.",
    "On Windows nothing is frozen between invocations, and a message of the logging module that "
    "spans lines becomes several events.",
)

# How an environment can be separated from the machine; "auto" takes the first that works.
NAMESPACES, KEPT, DIRECT = "namespaces", "kept", "direct"


class Workshop:
    """Prepares processes. *isolation* is ``auto``, ``namespaces``, ``kept`` or ``direct``.

    ``kept`` runs the program under a keeper without a file system of its own, ``direct`` is the
    way of systems without POSIX processes. *own_client* forces our pure-Python Runtime API
    client.
    """

    def __init__(
        self, directory: Path, *, isolation: str = "auto", own_client: bool = False
    ) -> None:
        self._base = directory
        self._lock = threading.Lock()
        self._directory: Path | None = None
        self._alive: Any = None
        self._launcher: Launcher | None = None
        self._runtime_directory: Path | None = None
        self._code: CodeStore | None = None
        self._wanted = isolation
        self._own_client = own_client or not native_client_installed()
        self.isolation = ""
        self.reason = ""

    def ready(self) -> None:
        """Make directories and launcher at first use; cheap afterwards."""
        with self._lock:
            if self._directory is None:
                self._build()

    def _build(self) -> None:
        self._base.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self._base)
        directory = self._base / f"environments-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        directory.mkdir(mode=0o700)
        self._alive = _hold(directory / "alive")
        self._code = CodeStore(directory / "code")
        (directory / "tmp").mkdir()
        self._choose(directory)
        self._directory = directory
        threading.Thread(target=compile_missing, name="compile-packages", daemon=True).start()

    def _choose(self, directory: Path) -> None:
        """Settle on the best isolation that works here."""
        if self._wanted == DIRECT or sys.platform == "win32":
            self.isolation = DIRECT
        else:
            plan = None
            if self._wanted in ("auto", NAMESPACES) and sys.platform == "linux":
                plan = self._plan(directory)
            self._launcher = Launcher(base_python(), plan)
            self._launcher.ready()
            self.reason = self._launcher.reason
            self.isolation = NAMESPACES if self._launcher.namespaces else KEPT
            if self.isolation == NAMESPACES:
                return
            if self._wanted == NAMESPACES:
                raise RuntimeError(f"no namespaces here: {self.reason or sys.platform}")
        self._runtime_directory = build_runtime_directory(
            directory / "runtime", own_client=self._own_client
        )

    def _plan(self, directory: Path) -> FileSystemPlan:
        from labkit.localaws.runtime.filesystem import file_system_plan, shown_site_directories

        runtime = build_runtime_directory(
            directory / "var-runtime",
            own_client=self._own_client,
            shown_at=shown_site_directories(),
        )
        root = directory / "root"
        root.mkdir()
        return file_system_plan(root, runtime)

    @property
    def differences(self) -> tuple[str, ...]:
        """What differs from AWS here, one sentence each."""
        self.ready()
        extra = () if self.isolation == NAMESPACES else DIFFERENCES_WITHOUT_NAMESPACES
        return DIFFERENCES + extra

    def prepare(
        self,
        version: FunctionVersion,
        *,
        environment_id: str,
        log_stream: str,
        runtime_api: str,
        endpoint_url: str,
        initialization_type: str,
        credentials: Mapping[str, object],
    ) -> KeptProcess | DirectProcess:
        """A process for *version*, ready to be started. Raises ArchiveError, StartError."""
        self.ready()
        assert self._code is not None and self._directory is not None
        code = self._code.code(version.code)
        layers = self._code.layers(version.layers) if version.layers else None
        given = {
            "credentials": credentials,
            "endpoint_url": endpoint_url,
            "runtime_api": runtime_api,
            "log_stream": log_stream,
            "initialization_type": initialization_type,
        }
        python = [base_python(), "-s", "-S", "-X", "utf8"]
        if self.isolation == NAMESPACES:
            variables = environment_variables(version, **given)
            variables["_LAMBDA_TELEMETRY_LOG_FD"] = str(LOG_FD)
            arguments = [*python, "/var/runtime/bootstrap.py"]
            wrapper = version.environment.get("AWS_LAMBDA_EXEC_WRAPPER")
            if wrapper:
                arguments.insert(0, wrapper)
            layer = str(layers) if layers else None
            program = Program(
                arguments, variables, "/var/task", str(code), layer, version.ephemeral_mb
            )
            return self._launched(program)
        private_tmp = self._directory / "tmp" / environment_id
        private_tmp.mkdir(mode=0o700)
        opt = str(layers) if layers else str(self._directory / "no-layers")
        variables = environment_variables(
            version,
            **given,
            task_root=str(code),
            runtime_dir=str(self._runtime_directory),
            layers=opt,
            private_tmp=str(private_tmp),
        )
        direct = self.isolation == DIRECT
        places = {"task": str(code), "opt": opt, "lifeline": direct}
        bootstrap = f"{self._runtime_directory}/bootstrap.py"
        arguments = [*python, "-B", bootstrap, json.dumps(places)]
        program = Program(arguments, variables, str(code), str(code), opt, version.ephemeral_mb)
        if direct:
            return DirectProcess(program, self._directory / "tmp" / f"{environment_id}.log")
        program.variables["_LAMBDA_TELEMETRY_LOG_FD"] = str(LOG_FD)
        return self._launched(program)

    def _launched(self, program: Program) -> KeptProcess:
        assert self._launcher is not None
        return self._launcher.launch(program)

    def discard(self, environment_id: str) -> None:
        """Remove what an environment left on disk."""
        if self._directory is not None and self.isolation != NAMESPACES:
            shutil.rmtree(self._directory / "tmp" / environment_id, ignore_errors=True)

    def close(self) -> None:
        """End the launcher and remove all directories."""
        with self._lock:
            if self._launcher is not None:
                self._launcher.close()
                self._launcher = None
            if self._directory is not None:
                self._alive.close()
                shutil.rmtree(self._directory, ignore_errors=True)
                self._directory = None


def _hold(path: Path) -> Any:
    """Open *path* and lock it for as long as this process lives; OSError when another has it."""
    file = open(path, "a+b")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def remove_leftovers(base: Path) -> int:
    """Remove directories of servers that are no more; how many there were."""
    removed = 0
    for directory in base.glob("environments-*"):
        try:
            _hold(directory / "alive").close()
        except FileNotFoundError:
            # Being made or being removed at this moment by another server.
            continue
        except OSError:
            continue
        shutil.rmtree(directory, ignore_errors=True)
        removed += 1
    return removed
