"""``python -m labkit``: what each command prints, and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import labkit
from labkit.cli import main, parser

pytestmark = pytest.mark.xdist_group("lab")

COMMANDS = ["lab", "up", "down", "status", "build", "run", "verify", "clean", "clock"]


@pytest.fixture
def orders(tmp_path) -> Path:
    good = [{"OrderId": f"CLI-{n}", "Amount": amount} for n, amount in enumerate([12.3, 300, 450])]
    (tmp_path / "good.jsonl").write_text("\n".join(map(json.dumps, good)))
    (tmp_path / "bad.json").write_text('{"OrderId": "CLI-bad"}')
    return tmp_path


def test_help_names_every_command_and_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(f"\n    {command} " in text for command in COMMANDS)
    assert "exit codes" in text and "LABKIT_AWS" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0 and command in capsys.readouterr().out


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["up", "--port", "x"], ["run", "--orders"], ["up", "-x"]]
)
def test_what_is_not_understood_is_code_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and "usage" in capsys.readouterr().err


def test_up_prints_what_other_programs_need(lab, capsys):
    assert main(["up", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {
        "endpoint",
        "region",
        "account_id",
        "access_key_id",
        "secret_access_key",
        "pid",
    }
    assert main(["up"]) == 0
    lines = capsys.readouterr().out.splitlines()
    exports = dict(line.removeprefix("export ").split("=", 1) for line in lines if "export" in line)
    assert exports["AWS_ENDPOINT_URL"] == found["endpoint"] == lab.endpoint
    assert exports["AWS_SECRET_ACCESS_KEY"] == found["secret_access_key"]


def test_the_exports_serve_any_boto3_program(lab, capsys):
    main(["up"])
    lines = capsys.readouterr().out.splitlines()
    exports = dict(line.removeprefix("export ").split("=", 1) for line in lines if "export" in line)
    code = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **exports},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == lab.account_id


def test_up_with_other_settings_than_the_running_one_says_what_to_do(lab, capsys):
    assert main(["up", "--account-id", "999999999999"]) == 3
    assert "labkit down" in capsys.readouterr().err


def test_status_tells_where_and_what_time(lab, capsys):
    assert main(["status"]) == 0
    assert lab.endpoint in capsys.readouterr().out
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["running"] is True


def test_the_clock_can_be_shown_and_moved(lab, capsys):
    before = lab.clock.now()
    assert main(["clock", "advance", "--minutes", "5"]) == 0
    assert "Moved the clock 5 minutes" in capsys.readouterr().out
    assert 300 <= (lab.clock.now() - before).total_seconds() < 360
    assert main(["clock"]) == 0
    assert "UTC" in capsys.readouterr().out
    assert main(["clock", "advance"]) == 3
    assert "--minutes" in capsys.readouterr().err


def test_build_says_what_it_built(lab, capsys):
    assert main(["build", "--through", "02"]) == 0
    assert "Built: table." in capsys.readouterr().out
    assert main(["build", "--through", "x"]) == 3


def test_run_processes_orders_and_reports(lab, orders, capsys):
    assert main(["run", "--orders", str(orders), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [len(result["steps"]), len(result["confirmations"])] == [10, 7]
    for found in [*result["steps"], *result["confirmations"]]:
        assert set(found) == {"name", "ok", "evidence"} and found["ok"] is True
    assert result["orders"]["done"] == 3 and result["orders"]["unfinished"] == []
    (rejected,) = result["rejected"]
    assert rejected["sources"] == ["bad.json"] and "Amount is missing" in rejected["reason"]
    assert result["resources"]["table"] == "OrdersTable"
    assert result["resources"]["bucket"] == lab.names.bucket
    # It stays up, can be verified and run again, and be removed.
    assert main(["verify"]) == 0
    assert "17 of 17 hold" in capsys.readouterr().out
    assert main(["run", "--orders", str(orders / "good.jsonl")]) == 0
    shown = capsys.readouterr().out
    assert "Verify Kinesis stream record" in shown and "3 orders done" in shown
    assert main(["clean"]) == 0
    assert "removed 9, left 0" in capsys.readouterr().out


def test_verify_fails_on_what_is_not_there(lab, capsys):
    main(["clean"])
    capsys.readouterr()
    assert main(["verify", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is False
    assert not any(found["ok"] for found in result["steps"])


def test_clean_exits_with_1_when_something_is_left(pipeline, monkeypatch, capsys):
    monkeypatch.setattr("labkit.kinds.Kind.remove", lambda *_: None)
    assert main(["clean"]) == 1
    assert "LEFT" in capsys.readouterr().out
    monkeypatch.undo()
    labkit.build(pipeline)


@pytest.mark.parametrize("path", ["no/such/file.json", "text.txt"])
def test_run_says_which_orders_it_takes(path, tmp_path, capsys):
    (tmp_path / "text.txt").write_text("x")
    assert main(["run", "--orders", str(tmp_path / path)]) == 3
    assert "--orders takes" in capsys.readouterr().err


def test_an_aws_that_does_not_answer_is_explained(monkeypatch, capsys):
    monkeypatch.setenv("LABKIT_AWS", "http://127.0.0.1:9")
    assert main(["verify"]) == 3
    assert "LABKIT_AWS" in capsys.readouterr().err


def test_without_a_local_aws_there_is_nothing_to_clean_or_stop(tmp_path):
    environment = {**os.environ, "LABKIT_RUNTIME_DIR": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    for words, expected in (
        (["clean"], "nothing to remove"),
        (["down"], "No local AWS was running"),
        (["status"], "not running"),
    ):
        answer = subprocess.run(
            [sys.executable, "-m", "labkit", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert expected in answer.stdout


def test_jupyterlab_is_opened_without_news_and_without_a_way_to_a_real_account(
    lab, monkeypatch, capsys
):
    monkeypatch.setenv("AWS_PROFILE", "prod")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "real")
    started = {}

    def run(command, env, check):
        started.update(command=command, env=env)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("labkit.cli.server.subprocess.run", run)
    monkeypatch.setattr("labkit.cli.server.FIRST_NOTEBOOK", "pyproject.toml")
    assert main(["lab", "--no-browser"]) == 0
    assert started["command"][-1] == "--no-browser"
    settings = next(
        word.split("=", 1)[1]
        for word in started["command"]
        if word.startswith("--LabApp.app_settings_dir=")
    )
    overrides = json.loads((Path(settings) / "overrides.json").read_text(encoding="utf-8"))
    assert overrides["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"
    assert started["env"]["AWS_ENDPOINT_URL"] == lab.endpoint
    assert not {"AWS_PROFILE", "AWS_SESSION_TOKEN"} & set(started["env"])


def test_every_command_is_described():
    assert parser().format_help().count("\n") > 20
