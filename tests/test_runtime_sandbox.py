"""An environment's own file system and processes, where the kernel makes namespaces."""

from __future__ import annotations

import sys

import pytest
from runtime_support import Lab, function

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("runtime"), isolation="namespaces")
    try:
        made.pool.workshop.ready()
    except RuntimeError as error:
        made.pool.close()
        pytest.skip(f"this kernel makes no namespaces: {error}")
    yield made
    made.pool.close()


def test_the_file_system_is_the_functions_own(sealed):
    version = function(
        """
        import errno, os
        def attempt(path):
            try:
                with open(path, "w") as file:
                    file.write("x")
                return "written"
            except OSError as error:
                return errno.errorcode[error.errno]
        def handler(event, context):
            return {
                "task": attempt("/var/task/new.txt"), "usr": attempt("/usr/new.txt"),
                "root": attempt("/new.txt"), "runtime": attempt("/var/runtime/x"),
                "tmp": attempt("/tmp/new.txt"), "listing": sorted(os.listdir("/tmp")),
                "homes": os.path.exists("/home"), "cwd": os.getcwd(), "file": __file__,
                "null": attempt("/dev/null"), "processes": [
                    name for name in os.listdir("/proc") if name.isdigit()
                ],
            }
    """,
        name="walls",
    )
    seen = sealed.value(version)
    processes = seen.pop("processes")
    assert len(processes) == 2
    assert seen == {
        "task": "EROFS",
        "usr": "EROFS",
        "root": "EROFS",
        "runtime": "EROFS",
        "tmp": "written",
        "listing": ["new.txt"],
        "homes": False,
        "cwd": "/var/task",
        "file": "/var/task/app.py",
        "null": "written",
    }


def test_tmp_has_the_configured_size(sealed):
    version = function(
        """
        import shutil
        def handler(event, context):
            total = shutil.disk_usage("/tmp").total >> 20
            try:
                with open("/tmp/big", "wb") as file:
                    for _ in range(600):
                        file.write(b"x" * (1 << 20))
                return "fitted"
            except OSError as error:
                return [total, error.errno, str(error)]
    """,
        name="fills",
        timeout_seconds=60,
    )
    assert sealed.value(version) == [512, 28, "[Errno 28] No space left on device"]


def test_nothing_of_the_machine_can_be_mounted_or_killed_from_inside(sealed):
    version = function(
        """
        import ctypes, os, signal
        def handler(event, context):
            libc = ctypes.CDLL(None, use_errno=True)
            unmount = libc.umount2(b"/var/task", 2)
            os.kill(1, signal.SIGKILL)
            return [unmount, os.getuid(), os.path.exists("/var/task/app.py")]
    """,
        name="escape",
    )
    assert sealed.value(version) == [-1, 993, True]
