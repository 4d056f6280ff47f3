"""Which AWS the lab speaks to, and that nothing of a real account gets into it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from moto import mock_aws

import labkit
from labkit.connection import WhichAws, endpoint_keys, which_aws
from labkit.errors import LabError
from labkit.session import confirm_spending, confirmation_phrase

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (None, WhichAws("local")),
        ("local", WhichAws("local")),
        ("http://localhost:4566/", WhichAws("endpoint", endpoint="http://localhost:4566")),
        ("https://aws.example.com", WhichAws("endpoint", endpoint="https://aws.example.com")),
        (f"account:{ACCOUNT}", WhichAws("account", account_id=ACCOUNT)),
    ],
)
def test_a_setting_names_an_aws(setting, expected):
    assert which_aws(setting, {}) == expected
    assert which_aws(None, {"LABKIT_AWS": setting} if setting else {}) == expected


@pytest.mark.parametrize(
    "setting", ["locla", "account:12345", "account:", "ftp://host", "account:1234567890123", "aws"]
)
def test_a_typing_error_chooses_nothing(setting):
    with pytest.raises(LabError, match="LABKIT_AWS"):
        which_aws(setting, {})


@pytest.mark.parametrize(
    "setting", ["https://s3.amazonaws.com", "https://dynamodb.us-east-1.amazonaws.com"]
)
def test_real_aws_cannot_be_had_as_just_an_endpoint(setting):
    with pytest.raises(LabError, match="account:"):
        which_aws(setting, {})


def test_an_endpoint_gets_the_labs_keys_and_never_those_of_the_machine():
    poisoned = {"AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "real"}
    assert endpoint_keys(poisoned) == ("test", "test")
    own = {**poisoned, "LABKIT_ACCESS_KEY_ID": "mine", "LABKIT_SECRET_ACCESS_KEY": "too"}
    assert endpoint_keys(own) == ("mine", "too")


# Runs in a process of its own, where everything is poisoned; tells what was opened and sent.
PROBE = """
import json, sys
poison = sys.argv[1]
opened = []
def watch(event, arguments):
    if event == "open" and str(arguments[0]).startswith(poison):
        opened.append(str(arguments[0]))
    elif event == "socket.connect":
        connected.append(arguments[1][1])
connected = []
sys.addaudithook(watch)
import labkit
lab = labkit.open(quiet=True)
sent = []
def note(request, **_):
    sent.append([request.url, {k: v.decode() if isinstance(v, bytes) else str(v)
                               for k, v in request.headers.items()}])
clients = [lab.client(s) for s in ("s3", "dynamodb", "sqs", "sts", "kinesis", "lambda")]
table = lab.resource("dynamodb")
for client in (*clients, table.meta.client):
    client.meta.events.register("before-send", note)
bucket = "a-bucket-of-the-isolation-test"
clients[0].create_bucket(Bucket=bucket)
clients[0].put_object(Bucket=bucket, Key="k", Body=b"x")
clients[0].delete_object(Bucket=bucket, Key="k")
clients[0].delete_bucket(Bucket=bucket)
clients[1].list_tables()
clients[2].list_queues()
who = clients[3].get_caller_identity()
list(table.tables.all())
lab.clock.now()
print(json.dumps({"opened": opened, "sent": sent, "connected": connected, "who": who["Account"],
                  "region": clients[0].meta.region_name, "endpoint": lab.endpoint}))
"""


def test_the_local_mode_neither_reads_nor_sends_anything_of_a_real_account(lab, tmp_path):
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    credentials = "[default]\naws_access_key_id=AKIAREALFILE\naws_secret_access_key=realsecret\n"
    config = "[default]\nregion=eu-west-3\nendpoint_url=http://127.0.0.1:9\n[profile prod]\n"
    for folder in (home / ".aws", home):
        (folder / "credentials").write_text(credentials + credentials.replace("default", "prod"))
        (folder / "config").write_text(config)
    nowhere = "http://127.0.0.1:9"
    poisoned = {
        **os.environ,
        "HOME": str(home),
        "USERPROFILE": str(home),
        "AWS_PROFILE": "prod",
        "AWS_DEFAULT_PROFILE": "prod",
        "AWS_ACCESS_KEY_ID": "AKIAREALENVIRONMENT",
        "AWS_SECRET_ACCESS_KEY": "realsecret",
        "AWS_SESSION_TOKEN": "realtoken",
        "AWS_SECURITY_TOKEN": "realtoken",
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
        "AWS_CONFIG_FILE": str(home / "config"),
        "AWS_DEFAULT_REGION": "eu-west-3",
        "AWS_REGION": "eu-west-3",
        "AWS_ENDPOINT_URL": nowhere,
        "AWS_ENDPOINT_URL_S3": nowhere,
        "AWS_ENDPOINT_URL_DYNAMODB": nowhere,
        "AWS_CA_BUNDLE": str(home / "no-such-bundle.pem"),
        "REQUESTS_CA_BUNDLE": str(home / "no-such-bundle.pem"),
        "AWS_RETRY_MODE": "no-such-mode",
        "AWS_DEFAULTS_MODE": "no-such-mode",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_BEARER_TOKEN_BEDROCK": "realtoken",
        **{
            name: nowhere
            for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
            for name in (proxy, proxy.lower())
        },
    }
    poisoned.pop("NO_PROXY", None)
    poisoned.pop("no_proxy", None)
    answer = subprocess.run(
        [sys.executable, "-c", PROBE, str(home)],
        env=poisoned,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    seen = json.loads(answer.stdout)
    assert seen["opened"] == []
    assert (seen["who"], seen["region"]) == (lab.account_id, "us-east-1")
    assert set(seen["connected"]) == {int(lab.endpoint.rsplit(":", 1)[1])}
    assert len(seen["sent"]) >= 8
    for url, headers in seen["sent"]:
        assert url.startswith(lab.endpoint)
        assert "us-east-1" in headers["Authorization"]
        assert "real" not in json.dumps([url, headers]).lower()


def test_the_lab_leaves_the_environment_as_it_was(lab, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "prod")
    before = dict(os.environ)
    labkit.open(quiet=True).client("s3").list_buckets()
    assert dict(os.environ) == before


# -- the real account -----------------------------------------------------------------------------


def test_the_phrase_names_the_account_and_the_cost():
    phrase = confirmation_phrase(ACCOUNT)
    assert ACCOUNT in phrase and "USD" in phrase
    confirm_spending(ACCOUNT, ask=lambda _: phrase, environ={})
    confirm_spending(ACCOUNT, environ={"LABKIT_CONFIRM": phrase})


@pytest.mark.parametrize("answer", ["", "y", "yes", "spend about 0.02 USD an hour in account 1"])
def test_anything_but_the_phrase_is_a_no(answer, capsys):
    with pytest.raises(LabError, match="nothing was created"):
        confirm_spending(ACCOUNT, ask=lambda _: answer, environ={})
    with pytest.raises(LabError, match="nothing was created"):
        confirm_spending(ACCOUNT, environ={"LABKIT_CONFIRM": answer})


def test_where_nobody_can_type_the_lab_says_how_to_agree(monkeypatch):
    monkeypatch.setattr("labkit.session._somebody_types", lambda: False)
    with pytest.raises(LabError, match="LABKIT_CONFIRM"):
        confirm_spending(ACCOUNT, environ={})


@pytest.fixture
def real_account(monkeypatch):
    """What boto3 takes for a real account, with the learner's credentials in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    # A leftover that must not catch calls meant for the real account.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with mock_aws():
        yield


def test_a_confirmed_account_is_opened_and_says_that_it_costs(real_account, capsys):
    lab = labkit.open(f"account:{ACCOUNT}", ask=lambda _: confirmation_phrase(ACCOUNT))
    assert lab.costs_money and lab.account_id == ACCOUNT
    assert "REAL" in capsys.readouterr().out
    assert lab.client("s3").meta.endpoint_url == "https://s3.amazonaws.com"


def test_credentials_of_another_account_are_noticed_before_anything_is_created(real_account):
    other = "999999999999"
    with pytest.raises(LabError, match=f"{other}.*{ACCOUNT}.*Nothing was created"):
        labkit.open(f"account:{other}", ask=lambda _: confirmation_phrase(other))


def test_without_confirmation_not_even_the_account_is_asked(real_account, monkeypatch):
    called = []
    monkeypatch.setattr("labkit.session.learners_own_session", lambda: called.append(1))
    with pytest.raises(LabError):
        labkit.open(f"account:{ACCOUNT}", ask=lambda _: "no")
    assert called == []


# -- other endpoints --------------------------------------------------------------------------------


def test_the_local_aws_can_be_reached_as_an_endpoint_with_its_clock(lab, monkeypatch):
    credentials = lab.client("s3")._request_signer._credentials
    monkeypatch.setenv("LABKIT_ACCESS_KEY_ID", credentials.access_key)
    monkeypatch.setenv("LABKIT_SECRET_ACCESS_KEY", credentials.secret_key)
    other = labkit.open(lab.endpoint, quiet=True)
    assert (other.kind, other.account_id) == ("endpoint", lab.account_id)
    assert other.clock.movable and other.mailbox.readable


def test_an_endpoint_that_does_not_answer_is_named_with_what_to_do():
    with pytest.raises(LabError, match="LABKIT_AWS"):
        labkit.open("http://127.0.0.1:9", quiet=True)


def test_importing_the_lab_is_quick_and_starts_nothing(tmp_path):
    code = "import sys, labkit; assert not {'boto3', 'pandas', 'matplotlib', 'moto'} & set(sys.modules)"
    run = tmp_path / "run"
    environment = {**os.environ, "LABKIT_RUNTIME_DIR": str(run)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not run.exists()


def test_only_three_places_of_the_lab_know_the_local_aws():
    folder = Path(labkit.__file__).parent
    knowing = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if "localaws" not in path.relative_to(folder).parts
        and "labkit.localaws" in path.read_text(encoding="utf-8")
    }
    assert knowing == {"session.py", "cli/server.py", "cli/work.py"}
