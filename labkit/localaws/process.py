"""Start, find and stop the one background process that is the local AWS.

Used by notebooks, the command line and tests. Only light imports: opening the lab must be quick.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

START_TIMEOUT_SECONDS = 60.0
DEFAULT_IDLE_MINUTES = 240.0


class LocalAwsError(Exception):
    """The local AWS could not be started, found or stopped; the message says what to do."""


@dataclass(frozen=True)
class Running:
    """Where the local AWS is and how to sign in as its administrator."""

    endpoint: str
    region: str
    account_id: str
    access_key_id: str
    secret_access_key: str
    pid: int

    def as_dict(self) -> dict[str, Any]:
        """The same as a plain dict, with exactly these keys."""
        return asdict(self)

    def control(self, path: str, body: dict[str, Any] | None = None, timeout: float = 300.0) -> Any:
        """Ask the local AWS's own control path (not AWS API); JSON in, JSON out."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.endpoint}/_localaws/{path}",
            data=data,
            headers={"X-Localaws-Key": self.secret_access_key, "Content-Type": "application/json"},
        )
        # Never through a proxy of the environment: this is loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as problem:
            raise LocalAwsError(problem.read().decode(errors="replace")) from problem


def runtime_dir() -> Path:
    """The folder with this user's state file; made when missing, readable by the user alone.

    ``LABKIT_RUNTIME_DIR`` names another one, which is how tests get a server of their own.
    """
    named = os.environ.get("LABKIT_RUNTIME_DIR")
    if named:
        folder = Path(named)
    elif os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "dva-c02-lab"
    else:
        user = f"-{os.getuid()}" if hasattr(os, "getuid") else ""
        folder = Path(tempfile.gettempdir()) / f"dva-c02-lab{user}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise LocalAwsError(
            f"{folder} belongs to somebody else; set LABKIT_RUNTIME_DIR to a folder of your own"
        )
    return folder


def state_path() -> Path:
    """Where the running process says how to reach it."""
    return runtime_dir() / "localaws.json"


def log_path() -> Path:
    """Where the process writes what it could not tell anybody else."""
    return runtime_dir() / "localaws.log"


def find() -> Running | None:
    """The running local AWS, or None; a stale state file is recognised and removed."""
    running = _read_state()
    if running is None:
        return None
    try:
        status = running.control("status", timeout=10)
        if status.get("pid") == running.pid:
            return running
    except (OSError, LocalAwsError, ValueError):
        pass
    if not _alive(running.pid):
        with contextlib.suppress(OSError):
            state_path().unlink()
    return None


def ensure(
    port: int | None = None,
    idle_minutes: float | None = None,
    access_key_id: str | None = None,
    secret_access_key: str | None = None,
    account_id: str | None = None,
) -> Running:
    """The running local AWS, started when there is none.

    Settings apply when it starts; asking for others than the running one has is an error that
    says so. Two that start at once end up sharing one.
    """
    wanted = {
        "port": port,
        "access_key_id": access_key_id,
        "secret_access_key": secret_access_key,
        "account_id": account_id,
    }
    with _starting():
        running = find()
        if running is not None:
            _check_same(running, wanted)
            return running
        return _start(wanted, idle_minutes)


def stop() -> bool:
    """End the local AWS and everything it started; False when none was running."""
    running = find()
    if running is None:
        return False
    process_gone = _exit_watch(running.pid)
    with contextlib.suppress(OSError, LocalAwsError):
        running.control("shutdown", {}, timeout=30)
    process_gone()
    with contextlib.suppress(OSError):
        state_path().unlink()
    return True


def _start(wanted: dict[str, Any], idle_minutes: float | None) -> Running:
    settings = {name: value for name, value in wanted.items() if value is not None}
    settings["idle_minutes"] = DEFAULT_IDLE_MINUTES if idle_minutes is None else idle_minutes
    with open(log_path(), "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "labkit.localaws.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=_server_environment(),
            cwd=str(runtime_dir()),
            **_detached(),
        )
    # Secrets go through the pipe: a command line can be read by others.
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(json.dumps(settings).encode() + b"\n")
        child.stdin.close()
    except OSError:
        pass
    line = child.stdout.readline()
    child.stdout.close()
    if not line.strip():
        child.wait(10)
        raise LocalAwsError(
            f"the local AWS did not start; the reason is at the end of {log_path()}:\n{_tail()}"
        )
    answer = json.loads(line)
    if "error" in answer:
        child.wait(10)
        raise LocalAwsError(answer["error"])
    return Running(**answer)


def _server_environment() -> dict[str, str]:
    """The environment of the process: nothing of the learner's AWS settings or proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("AWS_", "BOTO", "MOTO_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"))
    }
    kept["PYTHONUNBUFFERED"] = "1"
    # moto leaves AWS-managed policies (AdministratorAccess, ...) out unless asked.
    kept["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"
    # The package this module came from, also where it is not installed.
    root = str(Path(__file__).resolve().parents[2])
    kept["PYTHONPATH"] = os.pathsep.join(p for p in (root, kept.get("PYTHONPATH", "")) if p)
    # What the server may need of its own boto3 clients: never a real credential or profile.
    kept["AWS_CONFIG_FILE"] = kept["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    kept["AWS_EC2_METADATA_DISABLED"] = "true"
    return kept


def _detached() -> dict[str, Any]:
    """Popen settings for a process that outlives the kernel or terminal that started it."""
    if os.name == "nt":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW  # type: ignore[attr-defined]
        return {"creationflags": flags}
    return {"start_new_session": True}


def _check_same(running: Running, wanted: dict[str, Any]) -> None:
    has = {**running.as_dict(), "port": int(running.endpoint.rsplit(":", 1)[1])}
    for name, value in wanted.items():
        if value is not None and has[name] != value:
            shown = "another one" if name == "secret_access_key" else has[name]
            raise LocalAwsError(
                f"the local AWS is already running with {name.replace('_', ' ')} {shown}; "
                "stop it first: python -m labkit down"
            )


def _read_state() -> Running | None:
    try:
        return Running(**json.loads(state_path().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """One starter at a time, across processes; the lock goes with the process that holds it."""
    with open(runtime_dir() / "starting.lock", "a+b") as handle:
        if os.name == "nt":
            import msvcrt

            handle.seek(0)
            msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if os.name == "nt":
                handle.seek(0)
                msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined]


def _alive(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _exit_watch(pid: int) -> Any:
    """A function that waits until process *pid* is gone, killing it when it will not go."""
    import psutil

    try:
        process = psutil.Process(pid)
    except psutil.Error:
        return lambda: None

    def wait() -> None:
        try:
            process.wait(15)
        except psutil.TimeoutExpired:
            for child in process.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    child.kill()
            with contextlib.suppress(psutil.Error):
                process.kill()
                process.wait(5)

    return wait


def _tail(lines: int = 15) -> str:
    try:
        return "\n".join(log_path().read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
