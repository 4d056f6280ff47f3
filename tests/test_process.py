"""The local AWS as a process: started once, found by all, ended with everything it started."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import boto3
import psutil
import pytest
from botocore.config import Config

from labkit.localaws import process


@pytest.fixture
def own_runtime_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_RUNTIME_DIR", str(tmp_path / "run"))
    yield tmp_path / "run"
    process.stop()


def client(running, service):
    return boto3.client(
        service,
        endpoint_url=running.endpoint,
        region_name=running.region,
        aws_access_key_id=running.access_key_id,
        aws_secret_access_key=running.secret_access_key,
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_it_is_started_found_and_stopped(own_runtime_dir):
    assert process.find() is None
    running = process.ensure(account_id="111122223333")
    assert process.ensure() == running == process.find()
    assert running.endpoint.startswith("http://127.0.0.1:")
    assert client(running, "sts").get_caller_identity()["Account"] == "111122223333"
    assert process.stop()
    assert not psutil.pid_exists(running.pid) or psutil.Process(running.pid).status() == "zombie"
    assert process.find() is None
    assert not process.stop()


def test_two_starters_at_once_share_one(own_runtime_dir):
    code = "from labkit.localaws import process; print(process.ensure().pid)"

    def start(_):
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout

    with ThreadPoolExecutor(3) as pool:
        assert len(set(pool.map(start, range(3)))) == 1


def test_a_stale_state_file_is_replaced(own_runtime_dir):
    running = process.ensure()
    psutil.Process(running.pid).kill()
    psutil.Process(running.pid).wait(5) if psutil.pid_exists(running.pid) else None
    assert process.state_path().exists()
    again = process.ensure()
    assert again.pid != running.pid


def test_asking_for_other_settings_than_the_running_one_has_is_refused(own_runtime_dir):
    process.ensure(account_id="111122223333", access_key_id="AKIAIOSFODNN7EXAMPLE")
    with pytest.raises(process.LocalAwsError, match="python -m labkit down"):
        process.ensure(account_id="444455556666")


def test_the_state_file_is_readable_by_the_user_alone(own_runtime_dir):
    process.ensure()
    if os.name == "posix":
        assert process.state_path().stat().st_mode & 0o077 == 0


def test_the_control_path_needs_the_secret(own_runtime_dir):
    running = process.ensure()
    stranger = process.Running(**{**running.as_dict(), "secret_access_key": "wrong"})
    with pytest.raises(process.LocalAwsError, match="secret"):
        stranger.control("status")
    assert running.control("status")["pid"] == running.pid


@pytest.mark.skipif(os.name == "nt", reason="SIGTERM is not a signal a Windows process receives")
def test_it_ends_on_sigterm_and_removes_its_state(own_runtime_dir):
    running = process.ensure()
    os.kill(running.pid, signal.SIGTERM)
    psutil.wait_procs([p for p in [_process(running.pid)] if p], timeout=10)
    assert not process.state_path().exists()


def test_it_ends_after_being_idle(own_runtime_dir):
    running = process.ensure(idle_minutes=0.005)
    found = _process(running.pid)
    if found:
        gone, _ = psutil.wait_procs([found], timeout=15)
        assert gone or found.status() == psutil.STATUS_ZOMBIE


def test_a_taken_port_is_told_in_one_sentence(own_runtime_dir):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(process.LocalAwsError, match=f"port {port} can't be used"):
            process.ensure(port=port)


def test_nothing_of_the_environments_aws_settings_reaches_it(own_runtime_dir, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    running = process.ensure()
    environment = psutil.Process(running.pid).environ()
    assert "AWS_PROFILE" not in environment
    assert "AWS_ENDPOINT_URL" not in environment
    assert "HTTPS_PROXY" not in environment
    state = json.loads(process.state_path().read_text())
    assert state["pid"] == running.pid


def _process(pid):
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


HANDLER = """
import subprocess, sys, time

def handler(event, context):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    if event.get("hang"):
        while True:
            pass
    return child.pid
"""


def _deploy(running):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("main.py", HANDLER)
    trust = {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        },
    }
    role = client(running, "iam").create_role(
        RoleName="spawns", AssumeRolePolicyDocument=json.dumps(trust)
    )["Role"]["Arn"]
    functions = client(running, "lambda")
    functions.create_function(
        FunctionName="spawns",
        Runtime="python3.13",
        Role=role,
        Handler="main.handler",
        Timeout=60,
        Code={"ZipFile": archive.getvalue()},
    )
    return functions


@pytest.mark.parametrize("how", ["killed hard", "told to stop"])
def test_everything_it_started_ends_with_it(own_runtime_dir, how):
    running = process.ensure()
    functions = _deploy(running)
    answer = functions.invoke(FunctionName="spawns", Payload=b"{}")
    assert json.loads(answer["Payload"].read()) > 0, "the handler's own child was started"
    functions.invoke(FunctionName="spawns", InvocationType="Event", Payload=b'{"hang": true}')
    server = psutil.Process(running.pid)
    # Environments are frozen or busy; none of that may keep them alive.
    family = server.children(recursive=True)
    assert len(family) >= 2
    if how == "killed hard":
        server.kill()
    else:
        process.stop()
    _, alive = psutil.wait_procs(family, timeout=15)
    assert [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
