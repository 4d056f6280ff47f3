"""Starts execution environments: a small process between the local AWS and the functions' code.

Usage: ``launcher.py FD``. FD is a stream socket to the server. Messages on it are 4 bytes of length
and JSON. The first describes the root file system (``null``: use none) and is answered with a line,
``{"namespaces": ...}``. Each further one comes with two descriptors, a control socket and the write
end of the log pipe, and the launcher forks a *keeper* for it. It ends when the server does.

A keeper owns one environment: process 1 of its PID namespace where there is one. Its control
socket carries the server's commands, one letter each (``R`` run the program, ``S`` stop, i.e.
freeze when nothing follows soon, ``C`` continue, ``K`` kill all processes), and its reports, one line each
(``started PID``, ``exited WAITSTATUS``, ``failed REASON``). When the control socket closes, or the
server dies, it kills everything and ends.
"""

import json
import os
import select
import signal
import socket
import struct
import sys
import time

# An environment is frozen when it has been idle for this long: one that is busy all the time is
# never stopped at all.
FREEZE_AFTER_SECONDS = 0.03
LINUX = sys.platform == "linux"
if LINUX:
    import sandbox


def _descendants(pid):
    """All processes below *pid*, by /proc (Linux only)."""
    found, waiting = [], [pid]
    while waiting:
        current = waiting.pop()
        try:
            with open(f"/proc/{current}/task/{current}/children") as file:
                children = [int(text) for text in file.read().split()]
        except OSError:
            children = []
        found += children
        waiting += children
    return found


class Keeper:
    """The owner of one environment's processes."""

    def __init__(self, message, control, log, namespaces):
        self.message = message
        self.control = control
        self.log = log
        self.namespaces = namespaces
        self.main = None
        # When to freeze, and when that was done: monotonic seconds, or None.
        self.freeze_at = None
        self.frozen_at = None

    def report(self, line):
        """Tell the server; when it is gone the loop notices by itself."""
        try:
            self.control.sendall(line.encode("utf-8", "replace") + b"\n")
        except OSError:
            pass

    def run(self):
        """Serve the server's commands until it hangs up."""
        wakeup_read, wakeup_write = os.pipe()
        os.set_blocking(wakeup_write, False)
        os.set_blocking(wakeup_read, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(wakeup_read, select.POLLIN)
        while True:
            left = None
            if self.freeze_at is not None:
                left = self.freeze_at - time.monotonic()
                if left <= 0:
                    self.freeze()
                    continue
            for descriptor, _ in poll.poll(None if left is None else left * 1000 + 1):
                if descriptor == wakeup_read:
                    try:
                        os.read(wakeup_read, 4096)
                    except BlockingIOError:
                        pass
                    self.reap()
                    continue
                try:
                    commands = self.control.recv(64)
                except OSError:
                    commands = b""
                if not commands:
                    self.kill_all()
                    return
                for command in commands:
                    self.obey(bytes([command]))

    def obey(self, command):
        """One letter of the protocol."""
        if command == b"R":
            self.start()
        elif command == b"S":
            self.freeze_at = time.monotonic() + FREEZE_AFTER_SECONDS
        elif command == b"C":
            self.thaw()
        elif command == b"K":
            self.kill_all()

    def start(self):
        """Start the program, unless it runs."""
        if self.main is not None:
            return
        self.freeze_at = self.frozen_at = None
        pid = os.fork()
        if pid == 0:
            try:
                self.become_program()
            except (OSError, ValueError) as error:
                os.write(2, f"the runtime could not be started: {error}\n".encode())
            finally:
                os._exit(127)
        self.main = pid
        self.report(f"started {pid}")

    def become_program(self):
        """The forked child's way into the interpreter; returns only by an exception."""
        os.setsid()
        if LINUX:
            sandbox.die_with_parent()
            sandbox.no_new_privileges()
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        # Output, errors and the framed log share one pipe: their order is the order of writing.
        framed = self.message["log_fd"]
        for descriptor in (1, 2, framed):
            os.dup2(self.log, descriptor)
        os.closerange(3, framed)
        os.closerange(framed + 1, 256)
        for name in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGXFSZ):
            signal.signal(name, signal.SIG_DFL)
        self.set_limits()
        os.umask(0o022)
        os.chdir(self.message["directory"])
        arguments = self.message["arguments"]
        os.execve(arguments[0], arguments, self.message["variables"])

    def set_limits(self):
        """The limits AWS documents for an environment, as far as this machine has room."""
        import resource

        for name, wanted in ((resource.RLIMIT_NOFILE, 1024), (resource.RLIMIT_CORE, 0)):
            _, hard = resource.getrlimit(name)
            limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(name, (limit, limit))
        try:
            # When the whole machine runs out of memory, a function goes before the lab.
            with open("/proc/self/oom_score_adj", "w") as file:
                file.write("500")
        except OSError:
            pass

    def freeze(self):
        """Stop every process until :meth:`thaw`."""
        self.freeze_at, self.frozen_at = None, time.monotonic()
        self.signal_all(signal.SIGSTOP)

    def thaw(self):
        """Let every process run again, or go on running."""
        self.freeze_at = None
        if self.frozen_at is None:
            return
        # A process that is just being forked while the others are stopped must be there before
        # they are continued, or it alone would stay stopped.
        while time.monotonic() < self.frozen_at + 0.01 and not self.main_has_stopped():
            select.select([], [], [], 0.0005)
        self.frozen_at = None
        self.signal_all(signal.SIGCONT)

    def main_has_stopped(self):
        """Whether the program has come to rest, or has ended."""
        if self.main is None or not hasattr(os, "waitid"):
            return True
        wanted = os.WSTOPPED | os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.main, wanted) is not None
        except ChildProcessError:
            return True

    def signal_all(self, number):
        """Send a signal to every process of the environment."""
        if self.namespaces:
            targets = [-1]
        elif LINUX:
            targets = _descendants(os.getpid())
        else:
            targets = [-self.main] if self.main else []
        for target in targets:
            try:
                os.kill(target, number)
            except OSError:
                pass

    def reap(self):
        """Collect ended processes; the program's own end is reported, and ends the others."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.main:
                self.end_others(status)

    def end_others(self, status):
        """Kill what the program left behind, then report its end."""
        self.signal_all(signal.SIGKILL)
        self.main = None
        while True:
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
            self.signal_all(signal.SIGKILL)
        self.report(f"exited {status}")

    def kill_all(self):
        """Kill the program and all its descendants, and report its end."""
        main = self.main
        if main is None:
            return
        self.signal_all(signal.SIGKILL)
        try:
            _, status = os.waitpid(main, 0)
        except ChildProcessError:
            status = signal.SIGKILL
        self.end_others(status)


def keep(message, control, log, plan):
    """The life of one keeper: prepare the environment, then serve it."""
    keeper = Keeper(message, control, log, plan is not None)
    try:
        if plan is not None:
            sandbox.enter_root(plan, message["code"], message["layers"], message["tmp_mb"])
        elif LINUX:
            sandbox.adopt_orphans()
    except OSError as error:
        keeper.report(f"failed {error}")
        return
    keeper.run()


def try_out(plan):
    """Run the interpreter once the way environments do; OSError when that does not work."""
    report, ours = os.pipe()
    pid = sandbox.fork_with_namespaces()
    if pid == 0:
        try:
            sandbox.enter_root(plan, "/usr", None, 1)
            os.dup2(ours, 2)
            python = plan["python"]
            os.execve(python, [python, "-I", "-S", "-c", "import _socket"], {})
        except OSError as error:
            os.write(ours, str(error).encode())
        finally:
            os._exit(1)
    os.close(ours)
    with open(report, "rb") as reader:
        reason = reader.read().decode("utf-8", "replace").strip()
    _, status = os.waitpid(pid, 0)
    if status:
        raise OSError(reason.splitlines()[-1] if reason else f"the trial ended with {status}")


def _receive(server):
    """One message and its descriptors, or None when the server is gone."""
    head, descriptors, _, _ = socket.recv_fds(server, 4, 2)
    if not head:
        return None
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    while len(head) < 4:
        more = server.recv(4 - len(head))
        if not more:
            return None
        head += more
    size = struct.unpack("!I", head)[0]
    body = b""
    while len(body) < size:
        more = server.recv(size - len(body))
        if not more:
            return None
        body += more
    return json.loads(body), descriptors


def main():
    """Serve until the server hangs up."""
    server = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first = _receive(server)
    if first is None:
        return
    plan, _ = first
    hello = {"namespaces": False, "reason": ""}
    if plan is not None:
        try:
            sandbox.enter_user_namespace()
            sandbox.build_root(plan)
            try_out(plan)
            hello["namespaces"] = True
        except OSError as error:
            hello["reason"] = str(error)
    server.sendall(json.dumps(hello).encode() + b"\n")
    if plan is not None and not hello["namespaces"]:
        return
    # Ended keepers need no attention: the server has their control sockets.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        received = _receive(server)
        if received is None:
            return
        message, descriptors = received
        if plan is None:
            pid = os.fork()
        else:
            try:
                pid = sandbox.fork_with_namespaces()
            except OSError as error:
                os.write(descriptors[0], f"failed {error}\n".encode())
                pid = -1
        if pid == 0:
            server.close()
            try:
                control = socket.socket(fileno=descriptors[0])
                keep(message, control, descriptors[1], plan)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    main()
