"""A file system and a process tree of its own for each execution environment (Linux).

User, mount and PID namespaces, made with plain system calls: the environment sees the package in
``/var/task``, layers in ``/opt``, a ``/tmp`` of its own, the system and the interpreter read-only,
and nothing else of the machine. Everything here raises OSError where the kernel says no.
"""

import ctypes
import os
import platform
import signal

_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT = 1, 2, 4, 32
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MNT_DETACH, _AT_FDCWD, _AT_RECURSIVE = 2, -100, 0x8000
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID = 1, 2
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38
_SYS_MOUNT_SETATTR = 442
# (clone, pivot_root): the calls without a wrapper in every C library.
_SYSCALLS = {
    "x86_64": (56, 155),
    "aarch64": (220, 41),
    "riscv64": (220, 41),
    "loongarch64": (220, 41),
    "ppc64le": (120, 203),
}
# Who a function is on AWS.
USER, GROUP = 993, 990

# PyDLL keeps the interpreter's lock over the call, so that a cloned child owns it.
_libc = ctypes.PyDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def _checked(result, what):
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)
    return result


def _syscalls():
    try:
        return _SYSCALLS[platform.machine()]
    except KeyError:
        raise OSError(38, "no system call numbers for this machine", platform.machine()) from None


def die_with_parent():
    """Have the kernel kill this process when its parent ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def adopt_orphans():
    """Become the parent of descendants whose own parent ends."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def no_new_privileges():
    """Make set-user-id programs harmless in this process and its descendants."""
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def mount(source, target, kind, flags, data=None):
    """mount(2)."""
    encode = lambda value: None if value is None else os.fsencode(value)  # noqa: E731
    arguments = [encode(source), encode(target), encode(kind), ctypes.c_ulong(flags), encode(data)]
    _checked(_libc.mount(*arguments), target)


def _read_only(target):
    """Make a mount, and all below it where the kernel can, read-only."""
    attributes = _MountAttr(_MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    arguments = [os.fsencode(target), _AT_RECURSIVE, ctypes.byref(attributes), size]
    if _libc.syscall(_SYS_MOUNT_SETATTR, _AT_FDCWD, *arguments) == 0:
        return
    # Before Linux 5.12: one mount at a time, repeating the flags that are locked here.
    kept = os.statvfs(target).f_flag & (_MS_NOSUID | _MS_NODEV | 8 | 1024 | 2048)
    mount(None, target, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept)


def bind(source, target, *, read_only=True):
    """Show *source* at *target*, which is made; read-only unless said otherwise."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.lexists(target):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    mount(source, target, None, _MS_BIND | _MS_REC)
    if read_only:
        _read_only(target)


def enter_user_namespace():
    """Move this process into user and mount namespaces of its own, as AWS's function user."""
    user, group = os.geteuid(), os.getegid()
    _syscalls()
    _checked(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{USER} {user} 1"),
        ("gid_map", f"{GROUP} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    mount("none", "/", None, _MS_REC | _MS_PRIVATE)


def build_root(plan):
    """Lay out the root that all environments share, at ``plan["root"]``.

    ``binds`` are (source, path) pairs shown read-only, ``devices`` device nodes, ``links``
    (path, text) pairs, ``directories`` the empty places that an environment mounts on.
    """
    root = plan["root"]
    mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
    for path in plan["directories"]:
        os.makedirs(root + path, exist_ok=True)
    for path, text in plan["links"]:
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(text, root + path)
    for source, path in plan["binds"]:
        bind(source, root + path)
    for path in plan["devices"]:
        if os.path.exists(path):
            bind(path, root + path, read_only=False)
    mount(None, root, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)


def fork_with_namespaces():
    """fork(2) into new mount and PID namespaces: 0 in the child, which is process 1 there."""
    clone, _ = _syscalls()
    flags = _CLONE_NEWNS | _CLONE_NEWPID | signal.SIGCHLD
    zero = ctypes.c_long(0)
    return _checked(_libc.syscall(clone, ctypes.c_long(flags), zero, zero, zero, zero), "clone")


def enter_root(plan, code, layers, tmp_megabytes):
    """Complete the shared root for one environment and make it this process's root."""
    root = plan["root"]
    bind(code, root + "/var/task")
    late = plan["late_binds"]
    if any(path.startswith("/opt/") for _, path in late):
        # The interpreter itself lives below /opt: show it and the layers side by side.
        mount("tmpfs", root + "/opt", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755,size=1m")
        for name in os.listdir(layers) if layers else ():
            bind(os.path.join(layers, name), f"{root}/opt/{name}")
    elif layers:
        bind(layers, root + "/opt")
    options = f"mode=700,size={tmp_megabytes}m"
    mount("tmpfs", root + "/tmp", "tmpfs", _MS_NOSUID | _MS_NODEV, options)
    for source, path in late:
        bind(source, root + path)
    try:
        mount("proc", root + "/proc", "proc", _MS_NOSUID | _MS_NODEV | 8)
    except OSError:
        # Inside some containers only the existing /proc may be shown.
        mount("/proc", root + "/proc", None, _MS_BIND | _MS_REC)
    os.chdir(root)
    _, pivot_root = _syscalls()
    # The old root is stacked over the new one, then taken away.
    _checked(_libc.syscall(pivot_root, b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", _MNT_DETACH), "umount2")
    os.chdir("/")
