"""What an execution environment's file system shows: the plan that the launcher carries out."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from labkit.localaws.runtime.packages import base_python, site_directories
from labkit.localaws.runtime.process import FileSystemPlan

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/nix", "/gnu")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_USERS = (
    "root:x:0:0:root:/:/sbin/nologin\n"
    "sbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n"
)


def shown_site_directories() -> dict[Path, str]:
    """Each directory of installed packages, and where an environment has it."""
    return {path: f"/var/lang/packages/{i}" for i, path in enumerate(site_directories())}


def _below(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots)


def _interpreter_places() -> list[str]:
    """Directories outside the system's own that the interpreter needs: its prefix, libraries."""
    places = [sys.base_prefix, sys.base_exec_prefix, sysconfig.get_path("stdlib")]
    places.append(os.path.dirname(os.path.dirname(base_python())))
    packages = tuple(str(path) for path in site_directories())
    try:
        with open("/proc/self/maps") as maps:
            for line in maps:
                path = line.rstrip("\n").partition("/")[2]
                if ".so" in path and not _below("/" + path, packages):
                    places.append(os.path.dirname("/" + path))
    except OSError:
        pass
    outside = {os.path.abspath(place) for place in places if not _below(place, _SYSTEM)}
    outside |= {os.path.realpath(place) for place in outside}
    outside = {place for place in outside if os.path.isdir(place) and place != "/"}
    return sorted(
        place for place in outside if not _below(os.path.dirname(place), tuple(outside - {place}))
    )


def file_system_plan(root: Path, runtime_directory: Path) -> FileSystemPlan:
    """The file system of all environments, laid out at the empty directory *root*.

    ``/var/task``, ``/opt``, ``/tmp`` and ``/proc`` are completed for each environment.
    """
    plan = FileSystemPlan(root=str(root), python=base_python())
    plan.directories = ["/var/task", "/var/lang/bin", "/opt", "/tmp", "/proc", "/dev", "/run"]
    for path in _SYSTEM:
        if os.path.islink(path):
            plan.links.append((path, os.readlink(path)))
        elif os.path.isdir(path):
            plan.binds.append((path, path))
    for place in _interpreter_places():
        late = _below(place, ("/opt", "/tmp"))
        (plan.late_binds if late else plan.binds).append((place, place))
    plan.binds.append((str(runtime_directory), "/var/runtime"))
    plan.binds += [(str(path), shown) for path, shown in shown_site_directories().items()]
    users = root.with_name("passwd")
    users.write_text(_USERS)
    plan.binds.append((str(users), "/etc/passwd"))
    # Name resolution may be configured outside /etc.
    resolver = os.path.realpath("/etc/resolv.conf")
    if os.path.exists(resolver) and not _below(resolver, _SYSTEM):
        plan.binds.append((resolver, resolver))
    plan.devices = list(_DEVICES)
    plan.links += [("/dev/fd", "/proc/self/fd"), ("/dev/stdin", "/proc/self/fd/0")]
    plan.links += [("/dev/stdout", "/proc/self/fd/1"), ("/dev/stderr", "/proc/self/fd/2")]
    names = ("python", "python3", f"python3.{sys.version_info.minor}")
    plan.links += [(f"/var/lang/bin/{name}", base_python()) for name in names]
    return plan
