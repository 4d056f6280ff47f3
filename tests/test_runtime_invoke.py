"""An environment runs a function's code as AWS does, in every kind of isolation."""

from __future__ import annotations

import json
import os
import re
import threading
import time

import pytest
from runtime_support import ACCOUNT, MODES, REGION, Lab, function, zipped

from labkit.localaws.runtime import Layer


@pytest.fixture(scope="module", params=MODES)
def lab(request, tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("runtime"), isolation=request.param)
    yield made
    made.pool.close()


def test_the_event_goes_in_and_the_result_comes_out(lab):
    version = function("def handler(event, context):\n    return {'got': event}\n")
    result = lab.invoke(version, {"text": "Grüße, 世界", "n": [1, None, 2.5]})
    assert json.loads(result.payload) == {"got": {"text": "Grüße, 世界", "n": [1, None, 2.5]}}
    assert "Grüße".encode() in result.payload
    assert result.function_error is None
    assert result.cold and result.init_ms > 0


def test_module_state_survives_warm_invocations(lab):
    version = function("""
        count = 0
        def handler(event, context):
            global count
            count += 1
            return count
    """)
    assert [lab.value(version) for _ in range(3)] == [1, 2, 3]
    assert lab.invoke(version).cold is False


def test_a_new_revision_runs_new_code_at_the_next_invocation(lab):
    old = function("def handler(event, context):\n    return 'old'\n")
    new = function("def handler(event, context):\n    return 'new'\n")
    assert lab.value(old) == "old"
    assert lab.value(new) == "new"


def test_tmp_survives_and_is_the_environments_own(lab):
    version = function("""
        import os, tempfile
        def handler(event, context):
            path = os.path.join(tempfile.gettempdir(), "kept")
            before = os.path.exists(path)
            open(path, "w").close()
            return before
    """)
    assert lab.value(version) is False
    assert lab.value(version) is True
    other = function(
        """
        import os, tempfile
        def handler(event, context):
            return os.path.exists(os.path.join(tempfile.gettempdir(), "kept"))
    """,
        name="other",
    )
    assert lab.value(other) is False


def test_the_documented_variables_are_there_and_the_servers_are_not(lab, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("SECRET_OF_THE_LEARNER", "yes")
    version = function(
        "import os\ndef handler(event, context):\n    return dict(os.environ)\n",
        name="variables",
        environment={"TABLE": "Orders", "TZ": "Europe/Berlin", "AWS_REGION": "mars-1"},
        version="7",
    )
    seen = lab.value(version, trace_id="Root=1-5759e988-bd862e3fe1be46a994272793")
    assert "AWS_PROFILE" not in seen
    assert "HTTPS_PROXY" not in seen
    assert "SECRET_OF_THE_LEARNER" not in seen
    expected = {
        "_HANDLER": "app.handler",
        "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
        "AWS_LAMBDA_FUNCTION_NAME": "variables",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "7",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/variables",
        "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "TABLE": "Orders",
        "TZ": "Europe/Berlin",
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[7\][0-9a-f]{32}", seen["AWS_LAMBDA_LOG_STREAM_NAME"])
    assert {"LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "PATH", "LD_LIBRARY_PATH", "LANG"} <= set(
        seen
    )
    assert re.fullmatch(r"127\.0\.0\.1:\d+", seen["AWS_LAMBDA_RUNTIME_API"])


def test_the_context_is_complete(lab):
    version = function(
        """
        def handler(event, context):
            return {
                "request": context.aws_request_id, "arn": context.invoked_function_arn,
                "name": context.function_name, "version": context.function_version,
                "memory": context.memory_limit_in_mb, "group": context.log_group_name,
                "stream": context.log_stream_name,
                "remaining": context.get_remaining_time_in_millis(),
                "client": context.client_context.custom,
                "app": context.client_context.client.app_title,
                "identity": context.identity.cognito_identity_id,
            }
    """,
        name="context",
        timeout_seconds=7,
    )
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:context:live"
    seen = lab.invoke(
        version,
        request_id="8b2c4b2e-1111-4222-8333-123456789abc",
        invoked_arn=arn,
        client_context='{"custom": {"k": "v"}, "client": {"app_title": "shop"}}',
        cognito_identity='{"cognitoIdentityId": "id-1", "cognitoIdentityPoolId": "pool"}',
    )
    context = json.loads(seen.payload)
    remaining = context.pop("remaining")
    assert 6000 < remaining <= 7000
    assert context == {
        "request": "8b2c4b2e-1111-4222-8333-123456789abc",
        "arn": arn,
        "name": "context",
        "version": "$LATEST",
        "memory": "256",
        "group": "/aws/lambda/context",
        "stream": seen.log_stream,
        "client": {"k": "v"},
        "app": "shop",
        "identity": "id-1",
    }


def test_the_deadline_is_in_the_functions_time_when_the_labs_clock_is_ahead(lab):
    version = function(
        "def handler(event, context):\n    return context.get_remaining_time_in_millis()\n",
        timeout_seconds=5,
    )
    lab.ahead = 86_400.0
    try:
        assert 3000 < lab.value(version) <= 5000
    finally:
        lab.ahead = 0.0


def test_the_package_is_whole_and_beside_the_code(lab):
    version = function(
        """
        import os, sys
        from helpers.text import shout
        def handler(event, context):
            root = os.environ["LAMBDA_TASK_ROOT"]
            here = os.path.dirname(__file__)
            with open(os.path.join(here, "data", "note.txt")) as file:
                note = file.read()
            files = sorted(
                os.path.relpath(os.path.join(where, name), root)
                for where, _, names in os.walk(root) for name in names
            )
            return [shout(note), files, os.getcwd() == root, sys.path[0] == root]
    """,
        files={
            "helpers/__init__.py": "",
            "helpers/text.py": "def shout(text):\n    return text.upper() + '!'\n",
            "data/note.txt": "hello",
        },
    )
    expected = ["app.py", "data/note.txt", "helpers/__init__.py", "helpers/text.py"]
    for _ in range(2):
        value, files, in_root, first = lab.value(version)
        assert value == "HELLO!"
        assert [name.replace(os.sep, "/") for name in files] == expected
        assert in_root and first


def test_handlers_in_folders_and_packages(lab):
    files = {"src/orders/main.py": "def run(event, context):\n    return __name__\n"}
    slashes = function("", files=files, handler="src/orders/main.run", name="slashes")
    dots = function("", files=files, handler="src.orders.main.run", name="dots")
    assert lab.value(slashes) == "src.orders.main"
    assert lab.value(dots) == "src.orders.main"


def test_layers_are_laid_over_one_another_in_opt(lab):
    lower = Layer("arn:1", zipped({"python/shared.py": "value = 'lower'\n", "python/low.py": ""}))
    upper = Layer("arn:2", zipped({"python/shared.py": "value = 'upper'\n"}))
    version = function(
        """
        import shared, low
        def handler(event, context):
            return shared.value
    """,
        layers=(lower, upper),
        name="layered",
    )
    assert lab.value(version) == "upper"
    site = Layer("arn:3", zipped({"python/lib/python3.12/site-packages/deep.py": "value = 3\n"}))
    version = function(
        "import deep\ndef handler(event, context):\n    return deep.value\n", layers=(site,)
    )
    assert lab.value(version) == 3


def test_boto3_and_powertools_are_there_and_the_labs_other_packages_are_not(lab):
    version = function(
        """
        import importlib.util, subprocess, sys
        import boto3, aws_lambda_powertools
        def handler(event, context):
            client = boto3.client("sqs")
            found = [importlib.util.find_spec(n) is not None for n in ("moto", "pytest", "labkit")]
            inner = subprocess.run([sys.executable, "-c", "import boto3"], capture_output=True)
            credentials = boto3.Session().get_credentials()
            return [client.meta.endpoint_url, client.meta.region_name, found, inner.returncode,
                    credentials.method, credentials.access_key]
    """,
        name="packages",
        timeout_seconds=30,
    )
    assert lab.value(version) == [
        "http://127.0.0.1:9",
        REGION,
        [False, False, False],
        0,
        "env",
        "ASIAEXAMPLE",
    ]


def test_a_raised_exception_is_awss_envelope_and_the_environment_is_kept(lab):
    version = function(
        """
        count = 0
        def handler(event, context):
            global count
            count += 1
            if event == "fail":
                check(event)
            return count

        def check(event):
            raise ValueError(f"bad order: {event}")
    """,
        name="raises",
    )
    assert lab.value(version) == 1
    result = lab.invoke(version, "fail")
    assert result.function_error == "Unhandled"
    assert result.error_type == "ValueError"
    error = json.loads(result.payload)
    trace = error.pop("stackTrace")
    assert error == {
        "errorMessage": "bad order: fail",
        "errorType": "ValueError",
        "requestId": result.request_id,
    }
    assert [line.rstrip() for line in "".join(trace).splitlines() if "^" not in line] == [
        '  File "/var/task/app.py", line 7, in handler',
        "    check(event)",
        '  File "/var/task/app.py", line 11, in check',
        '    raise ValueError(f"bad order: {event}")',
    ]
    logged = next(text for text in lab.messages(result) if text.startswith("[ERROR]"))
    assert logged.startswith("[ERROR] ValueError: bad order: fail")
    assert lab.value(version) == 3


@pytest.mark.parametrize(
    ("source", "handler", "kind", "message"),
    [
        (
            "import missing_thing\n",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'missing_thing'",
        ),
        (
            "",
            "nowhere.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'nowhere': No module named 'nowhere'",
        ),
        ("", "app.other", "Runtime.HandlerNotFound", "Handler 'other' missing on module 'app'"),
        (
            "",
            "handler",
            "Runtime.MalformedHandlerName",
            "Bad handler 'handler': not enough values to unpack (expected 2, got 1)",
        ),
        (
            "def handler(:\n",
            "app.handler",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app': invalid syntax (app.py, line 1)",
        ),
        ("raise KeyError('at import')\n", "app.handler", "KeyError", "'at import'"),
    ],
    ids=["import", "module", "handler", "name", "syntax", "raise"],
)
def test_what_goes_wrong_at_import(lab, source, handler, kind, message):
    error = lab.error(function(source, handler=handler, name="broken"))
    assert (error["errorType"], error["errorMessage"]) == (kind, message)
    if kind == "Runtime.UserCodeSyntaxError":
        assert error["stackTrace"][0].startswith('  File "/var/task/app.py" Line 1')


def test_results_that_are_not_json(lab):
    error = lab.error(function("def handler(event, context):\n    return object()\n"))
    assert error["errorType"] == "Runtime.MarshalError"
    assert error["errorMessage"].startswith("Unable to marshal response: ")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("sys.exit(1)", "exited with error: exit status 1"),
        ("sys.exit(0)", "exited without providing a reason"),
        ("os._exit(3)", "exited with error: exit status 3"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "exited with error: signal: killed"),
        ("ctypes.string_at(0)", "exited with error: signal: segmentation fault"),
        ("os.abort()", "exited with error: signal: aborted"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_a_process_that_ends_is_reported_and_replaced(lab, statement, reason):
    version = function(
        f"""
        import ctypes, os, signal, sys
        count = 0
        def handler(event, context):
            global count
            count += 1
            if event:
                print("last words", flush=True)
                {statement}
            return [count, os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]]
    """,
        name="ends",
    )
    assert lab.value(version)[0] == 1
    result = lab.invoke(version, "now")
    assert json.loads(result.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {result.request_id} Error: Runtime {reason}",
    }
    messages = lab.messages(result)
    assert "last words\n" in messages
    assert messages[-1].endswith("Status: error\tError Type: Runtime.ExitError\n")
    assert lab.value(version)[0] == 1


def test_a_timeout_ends_the_process_and_says_so(lab):
    version = function(
        """
        import threading
        count = 0
        def handler(event, context):
            global count
            count += 1
            if event:
                print("waiting")
                threading.Event().wait()
            return count
    """,
        name="slow",
        timeout_seconds=0.5,
    )
    assert lab.value(version) == 1
    began = time.monotonic()
    result = lab.invoke(version, "hang")
    assert 0.4 < time.monotonic() - began < 3
    assert result.timed_out
    assert json.loads(result.payload) == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {result.request_id} Error: Task timed out after 0.50 seconds",
    }
    start, waiting, late, end, report = lab.messages(result)
    assert start == f"START RequestId: {result.request_id} Version: $LATEST\n"
    assert waiting == "waiting\n"
    assert re.fullmatch(
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z {result.request_id} "
        r"Task timed out after 0\.50 seconds\n\n",
        late,
    )
    assert end == f"END RequestId: {result.request_id}\n"
    assert "\tDuration: 500.00 ms\tBilled Duration: 500 ms\t" in report
    assert report.endswith("\tStatus: timeout\n")
    assert lab.value(version) == 1


def test_responses_over_the_limit_are_refused_and_just_below_are_not(lab):
    version = function(
        "def handler(event, context):\n    return 'x' * event\n", name="large", timeout_seconds=30
    )
    assert len(lab.invoke(version, 6_291_554).payload) == 6_291_556
    assert lab.error(version, 6_291_555) == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": (
            "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
        ),
    }
    assert lab.value(version, 3) == "xxx"


def test_large_events_arrive(lab):
    version = function("def handler(event, context):\n    return len(event)\n", memory_mb=512)
    assert lab.value(version, "x" * 6_000_000) == 6_000_000


def test_invocations_at_once_have_environments_of_their_own(lab):
    version = function(
        """
        import os, threading
        def handler(event, context):
            threading.Event().wait(0.3)
            return os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
    """,
        name="parallel",
    )
    streams: list[str] = []
    threads = [
        threading.Thread(target=lambda: streams.append(lab.value(version))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(streams)) == 3


def test_the_log_has_awss_lines_in_order(lab):
    version = function(
        """
        import logging, sys
        logger = logging.getLogger()
        logger.setLevel("INFO")
        print("at import")
        def handler(event, context):
            print("first")
            print("to stderr", file=sys.stderr)
            logger.info("third")
            print("last, without a newline", end="")
    """,
        name="logs",
    )
    result = lab.invoke(version)
    request = result.request_id
    lines = lab.stream(result)
    assert re.fullmatch(
        r"INIT_START Runtime Version: python:3\.12\.v\d+\t"
        r"Runtime Version ARN: arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}\n",
        lines[0],
    )
    assert lines[1:5] == [
        "at import\n",
        f"START RequestId: {request} Version: $LATEST\n",
        "first\n",
        "to stderr\n",
    ]
    assert re.fullmatch(
        rf"\[INFO\]\t\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z\t{request}\tthird\n", lines[5]
    )
    assert lines[6:8] == ["last, without a newline", f"END RequestId: {request}\n"]
    assert re.fullmatch(
        rf"REPORT RequestId: {request}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
        r"Memory Size: 256 MB\tMax Memory Used: \d+ MB\tInit Duration: \d+\.\d\d ms\t\n",
        lines[8],
    )
    assert "".join(lines[2:]).encode() == result.log_tail
    warm = lab.invoke(version)
    assert "Init Duration" not in lab.messages(warm)[-1]
    assert warm.max_memory_mb > 5
    stamps = [when for stream, _, when, _ in lab.events if stream == result.log_stream]
    assert stamps == sorted(stamps)
    assert abs(stamps[-1] - lab.now() * 1000) < 5000


def test_log_lines_carry_the_labs_time(lab):
    version = function(
        """
        import logging
        def handler(event, context):
            logging.error("framed")
            print("plain")
    """,
        name="later",
    )
    lab.ahead = 3_600.0
    try:
        result = lab.invoke(version)
    finally:
        lab.ahead = 0.0
    moments = [when for _, request, when, _ in lab.events if request == result.request_id]
    assert all(abs(moment / 1000 - time.time() - 3600) < 10 for moment in moments)


def test_powertools_logs_with_the_request(lab):
    version = function(
        """
        from aws_lambda_powertools import Logger
        logger = Logger(service="orders")
        @logger.inject_lambda_context
        def handler(event, context):
            logger.info("stored", order_id="A-1")
    """,
        name="powertools",
        timeout_seconds=30,
    )
    result = lab.invoke(version)
    record = json.loads(next(text for text in lab.messages(result) if text.startswith("{")))
    assert record["message"] == "stored"
    assert record["order_id"] == "A-1"
    assert record["function_request_id"] == result.request_id
    assert record["cold_start"] is True
