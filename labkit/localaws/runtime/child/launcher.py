"""Starts execution environments: a small process between the local AWS and the functions' code.

Usage: ``launcher.py FD PLAN``. FD is a stream socket to the server, PLAN the JSON description of
the root file system, or ``null`` to use none. The launcher says ``{"namespaces": ...}`` once, then
takes messages (4 bytes length, JSON, and with them two descriptors: a control socket and the
write end of the log pipe) and forks one *keeper* for each. It ends when the server does.

A keeper owns one environment: process 1 of its PID namespace where there is one. Its control
socket carries the server's commands, one letter each (``R`` run the program, ``S`` stop, i.e.
freeze, ``C`` continue, ``K`` kill all processes), and its reports, one line each
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
            for descriptor, _ in poll.poll():
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
            self.signal_all(signal.SIGSTOP)
        elif command == b"C":
            self.signal_all(signal.SIGCONT)
        elif command == b"K":
            self.kill_all()

    def start(self):
        """Start the program, unless it runs."""
        if self.main is not None:
            return
        pid = os.fork()
        if pid == 0:
            try:
                self.become_program()
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
        main, self.main = self.main, self.main
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
    plan = json.loads(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    hello = {"namespaces": False, "reason": ""}
    if plan is not None:
        try:
            sandbox.enter_user_namespace()
            sandbox.build_root(plan)
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
            finally:
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    main()
