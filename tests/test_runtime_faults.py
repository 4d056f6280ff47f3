"""Functions that misbehave: nothing of it may hang or break what runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time

import pytest
from runtime_support import KEEPERS, Lab, function

pytestmark = pytest.mark.skipif(os.name == "nt", reason="made of POSIX processes and signals")


@pytest.fixture(scope="module", params=KEEPERS)
def lab(request, tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("runtime"), isolation=request.param)
    yield made
    made.pool.close()


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    """For what does not depend on how the environment is separated."""
    made = Lab(tmp_path_factory.mktemp("runtime"))
    yield made
    made.pool.close()


def until(condition, seconds=5.0):
    """Wait until *condition* holds, looking."""
    end = time.monotonic() + seconds
    waiting = threading.Event()
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        waiting.wait(0.01)


def processes_with(marker: str) -> list[int]:
    """Processes whose command line holds *marker*."""
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True
    )
    return [
        int(line.split()[0])
        for line in listed.stdout.splitlines()
        if marker in line and "ps -ww" not in line
    ]


def test_fifty_megabytes_of_output(best):
    version = function(
        """
        def handler(event, context):
            line = "x" * 1023
            for _ in range(50 * 1024):
                print(line)
            return "done"
    """,
        name="loud",
        timeout_seconds=60,
    )
    before = len(best.events)
    result = best.invoke(version)
    assert json.loads(result.payload) == "done"
    lines = [text for *_, text in best.events[before:] if text.startswith("x")]
    assert len(lines) == 50 * 1024
    assert set(map(len, lines)) == {1024}
    assert len(result.log_tail) == 4096
    assert result.log_tail.rstrip().split(b"\n")[-1].startswith(b"REPORT RequestId")
    del best.events[before:]


def test_one_line_without_an_end_is_cut_into_events(best):
    version = function("def handler(event, context):\n    print('é' * 400_000, end='')\n")
    result = best.invoke(version)
    pieces = [text for text in best.messages(result) if "é" in text]
    assert "".join(pieces) == "é" * 400_000
    assert max(len(piece.encode()) for piece in pieces) <= 262_144 - 26


def test_memory_over_the_limit_kills(lab):
    version = function(
        """
        kept = []
        def handler(event, context):
            while event:
                kept.append(bytearray(1 << 20))
            return len(kept)
    """,
        name="hungry",
        memory_mb=128,
        timeout_seconds=30,
    )
    assert lab.value(version) == 0
    result = lab.invoke(version, "more")
    assert json.loads(result.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": (
            f"RequestId: {result.request_id} Error: Runtime exited with error: signal: killed"
        ),
    }
    report = lab.messages(result)[-1]
    assert "\tMemory Size: 128 MB\tMax Memory Used: 128 MB\t" in report
    assert report.endswith("\tStatus: error\tError Type: Runtime.OutOfMemory\n")
    assert lab.value(version) == 0


def test_memory_over_the_limit_for_a_moment_only(best):
    version = function(
        """
        def handler(event, context):
            bytearray(b"x" * (200 << 20))
            return "got away with it"
    """,
        name="brief",
        memory_mb=128,
        timeout_seconds=30,
    )
    assert best.error(version)["errorMessage"].endswith("signal: killed")


def test_memory_used_is_the_real_peak(best):
    version = function(
        """
        def handler(event, context):
            held = bytearray(b"x" * (event << 20))
            return len(held)
    """,
        name="peak",
        memory_mb=1024,
        timeout_seconds=30,
    )
    small = best.invoke(version, 1).max_memory_mb
    assert best.invoke(version, 100).max_memory_mb - small >= 95
    # AWS reports the most that the environment ever used.
    assert best.invoke(version, 1).max_memory_mb - small >= 95


def test_memory_of_descendants_counts(lab):
    version = function(
        """
        import subprocess, sys
        def handler(event, context):
            code = "x = bytearray(b'x' * (300 << 20)); print('full', flush=True); input()"
            inner = subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE)
            inner.wait()
    """,
        name="family",
        memory_mb=192,
        timeout_seconds=30,
    )
    assert lab.error(version)["errorMessage"].endswith("signal: killed")


def test_a_handler_that_forks(lab):
    version = function(
        """
        import os, sys
        def handler(event, context):
            pid = os.fork()
            if pid == 0:
                print("child", flush=True)
                os._exit(0)
            os.waitpid(pid, 0)
            return "parent"
    """,
        name="forks",
    )
    result = lab.invoke(version)
    assert json.loads(result.payload) == "parent"
    assert "child\n" in lab.messages(result)


def test_a_fork_that_returns_from_the_handler_too(best):
    version = function(
        """
        import os
        def handler(event, context):
            os.fork()
            return "twice"
    """,
        name="twins",
        timeout_seconds=1,
    )
    # Two runtimes share one connection now, and their answers may mix; whatever becomes of it, it
    # ends, and others work.
    for _ in range(3):
        assert best.invoke(version).payload
    assert best.value(function("def handler(event, context):\n    return 1\n", name="after")) == 1


def test_a_background_thread_goes_on_in_the_next_invocation_and_rests_between(lab):
    version = function(
        """
        import threading, time
        ticks = []
        def count():
            while True:
                ticks.append(1)
                threading.Event().wait(0.01)
        def handler(event, context):
            if event == "start":
                threading.Thread(target=count, daemon=True).start()
                threading.Event().wait(0.05)
            return len(ticks)
    """,
        name="background",
    )
    first = lab.value(version, "start")
    assert first > 0
    threading.Event().wait(0.4)
    # Forty ticks would have fitted in; frozen, it made next to none.
    assert lab.value(version) - first < 15


def test_a_descendant_that_left_its_session_dies_with_the_environment(lab):
    marker = f"marker-{os.getpid()}-{time.monotonic_ns()}"
    version = function(
        f"""
        import subprocess, sys
        def handler(event, context):
            code = "import os, signal; os.fork() and os._exit(0); os.setsid(); signal.pause()"
            subprocess.Popen([sys.executable, "-S", "-c", code, "{marker}"])
            return "left"
    """,
        name="daemon",
    )
    assert lab.value(version) == "left"
    until(lambda: processes_with(marker))
    lab.pool.retire(version.arn)
    until(lambda: not processes_with(marker))


def test_a_process_that_outlives_a_timeout_is_gone(lab):
    marker = f"marker-{os.getpid()}-{time.monotonic_ns()}"
    version = function(
        f"""
        import subprocess, sys, threading
        def handler(event, context):
            subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()",
                              "{marker}"], start_new_session=True)
            threading.Event().wait()
    """,
        name="orphans",
        timeout_seconds=0.5,
    )
    assert lab.error(version)["errorType"] == "Sandbox.Timedout"
    until(lambda: not processes_with(marker))


@pytest.mark.parametrize(
    "statement",
    [
        "sys.stdout.close()",
        "os.close(1)",
        "os.close(2)",
        "os.closerange(3, 200)",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "sys.setrecursionlimit(10**9)",
        "os.environ.clear()",
        "sys.stdout = None",
        "threading.Thread(target=threading.Event().wait).start()",
        "os.kill(os.getppid(), signal.SIGSTOP) if os.getppid() == 1 else None",
    ],
)
def test_odd_handlers_neither_hang_nor_break_anything(best, statement):
    version = function(
        f"""
        import os, signal, sys, threading
        def handler(event, context):
            {statement}
            return "returned"
    """,
        name="odd",
        timeout_seconds=0.4,
    )
    for _ in range(2):
        result = best.invoke(version)
        assert result.function_error or json.loads(result.payload) == "returned"
    assert best.value(function("def handler(event, context):\n    return 1\n", name="even")) == 1


def test_a_handler_that_plays_the_runtime_itself(best):
    version = function(
        """
        import os, urllib.request
        base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/"
        def post(path, body):
            try:
                return urllib.request.urlopen(base + path, data=body).status
            except urllib.error.HTTPError as error:
                return error.code
        def handler(event, context):
            wrong = post("invocation/another/response", b"1")
            first = post(f"invocation/{context.aws_request_id}/response", b'"mine"')
            second = post(f"invocation/{context.aws_request_id}/response", b'"again"')
            unknown = post("nowhere", b"")
            print([wrong, first, second, unknown])
    """,
        name="plays",
    )
    result = best.invoke(version)
    assert json.loads(result.payload) == "mine"
    assert "[400, 202, 403, 404]\n" in best.messages(result)
    assert best.value(function("def handler(event, context):\n    return 1\n", name="honest")) == 1


def test_init_is_retried_at_the_invocation(best):
    version = function(
        """
        import os, tempfile
        mark = os.path.join(tempfile.gettempdir(), "tried")
        if not os.path.exists(mark):
            open(mark, "w").close()
            print("first try")
            os._exit(9)
        def handler(event, context):
            return "second try"
    """,
        name="retry",
    )
    result = best.invoke(version)
    assert json.loads(result.payload) == "second try"
    lines = best.stream(result)
    assert lines[1] == "first try\n"
    assert re.fullmatch(
        r"INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: init\tStatus: error\t"
        r"Error Type: Runtime\.ExitError\n",
        lines[2],
    )
    assert lines[3].startswith("START RequestId")
    assert "Init Duration" not in lines[-1]


def test_an_init_that_fails_twice_is_the_invocations_error(best):
    version = function("import nothing_like_it\n", name="twice")
    result = best.invoke(version)
    assert result.error_type == "Runtime.ImportModuleError"
    lines = best.stream(result)
    kinds = [line.split(" ")[0] for line in lines if not line.startswith("[")]
    assert kinds == ["INIT_START", "INIT_REPORT", "INIT_REPORT", "START", "END", "REPORT"]
    reports = [line for line in lines if line.startswith("INIT_REPORT")]
    assert "\tPhase: init\tStatus: error\tError Type: Runtime.ImportModuleError\n" in reports[0]
    assert "\tPhase: invoke\tStatus: error\tError Type: Runtime.ImportModuleError\n" in reports[1]
    assert lines[-1].endswith("\tStatus: error\tError Type: Runtime.ImportModuleError\n")


def test_init_has_a_limit_of_its_own(best, monkeypatch):
    monkeypatch.setattr("labkit.localaws.runtime.environment.INIT_SECONDS", 0.3)
    version = function(
        "import threading\nthreading.Event().wait()\n", name="stuck", timeout_seconds=0.4
    )
    result = best.invoke(version)
    assert result.timed_out
    lines = best.stream(result)
    assert lines[1] == "INIT_REPORT Init Duration: 300.00 ms\tPhase: init\tStatus: timeout\n"
    assert lines[2] == "INIT_REPORT Init Duration: 400.00 ms\tPhase: invoke\tStatus: timeout\n"


def test_tmp_is_kept_when_the_environment_is_reset(lab):
    version = function(
        """
        import os, tempfile
        path = os.path.join(tempfile.gettempdir(), "kept")
        def handler(event, context):
            if event:
                open(path, "w").close()
                os._exit(1)
            return os.path.exists(path)
    """,
        name="reset",
    )
    assert lab.value(version) is False
    before = lab.invoke(version, "crash").log_stream
    after = lab.invoke(version)
    assert (json.loads(after.payload), after.log_stream) == (True, before)


def test_an_environment_that_died_while_idle_is_not_noticed_by_the_caller(lab):
    version = function(
        "import os\ndef handler(event, context):\n    return os.getpid()\n", name="killed"
    )
    lab.value(version)
    (idle,) = [e for e in lab.pool._shelf.all if e.version is version]
    os.kill(idle._process.main_pid(), 9)
    until(lambda: idle.alive and idle._process.ended is not None)
    assert lab.value(version) > 0


def test_an_environment_whose_keeper_died_is_replaced(lab):
    version = function("def handler(event, context):\n    return 5\n", name="keeperless")
    lab.value(version)
    (idle,) = [e for e in lab.pool._shelf.all if e.version is version]
    os.kill(idle._process.keeper_pid, 9)
    until(lambda: not idle.alive)
    assert lab.value(version) == 5


def test_a_launcher_that_died_is_started_again(lab):
    lab.value(function("def handler(event, context):\n    return 1\n", name="one"))
    lab.pool.workshop._launcher._process.kill()
    lab.pool.workshop._launcher._process.wait()
    assert lab.value(function("def handler(event, context):\n    return 2\n", name="two")) == 2


SERVER = """
import sys, threading
sys.path.insert(0, {tests!r})
from runtime_support import Lab, function
lab = Lab({directory!r}, isolation={isolation!r})
version = function('''
import subprocess, sys
def handler(event, context):
    subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()", {marker!r}],
                     start_new_session=True)
    return 1
''')
lab.value(version)
print("ready", flush=True)
threading.Event().wait()
"""


@pytest.mark.parametrize("mode", [*KEEPERS, "direct"])
def test_everything_dies_with_a_server_that_is_killed(mode, tmp_path):
    marker = f"marker-{os.getpid()}-{time.monotonic_ns()}"
    script = SERVER.format(
        tests=os.path.dirname(__file__), directory=str(tmp_path), isolation=mode, marker=marker
    )
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "ready\n"
        assert processes_with(marker)
        (folder,) = tmp_path.glob("environments-*")
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    if mode != "direct":
        until(lambda: not processes_with(marker))
    until(lambda: not processes_with(str(folder)))
    # What it left on disk goes when the next one starts.
    following = Lab(tmp_path, isolation=mode)
    following.pool.workshop.ready()
    assert not folder.exists()
    following.pool.close()
    assert not list(tmp_path.glob("environments-*"))
    for pid in processes_with(marker):
        os.kill(pid, 9)
