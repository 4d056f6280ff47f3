"""The numbers to remember: loadable, quotable, and in agreement with AWS's own API models."""

from __future__ import annotations

import html
import importlib
import json
import re

import botocore.session
import pytest
from botocore.retries import standard

from labkit.teaching.exam_data import EXAM_FOLDER, ExamDataError, read_json
from labkit.teaching.numbers import load_numbers, mentioned

NUMBERS = load_numbers()
WITH_MODEL = [number for number in NUMBERS.values() if number.model]


@pytest.fixture(scope="module")
def model():
    session = botocore.session.get_session()
    known = {}

    def of(service):
        if service not in known:
            known[service] = session.get_service_model(service)
        return known[service]

    return of


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", text))).strip()


def documentation(service_model, place: str) -> str:
    """What the API model says at ``Operation``, ``Shape`` or ``Shape.Member``."""
    shape, _, member = place.partition(".")
    if member:
        return plain(service_model.shape_for(shape).members[member].documentation)
    if shape in service_model.operation_names:
        return plain(service_model.operation_model(shape).documentation)
    return plain(service_model.shape_for(shape).documentation)


def test_there_are_enough_of_them_on_every_service():
    assert len(NUMBERS) >= 120
    services = {number.service for number in NUMBERS.values()}
    pipeline = "lambda s3 dynamodb sqs sns kinesis iam sts cloudwatch logs".split()
    assert services == {*pipeline, "sdk"}
    assert all(len(NUMBERS.of(service)) >= 5 for service in pipeline)


@pytest.mark.parametrize("number", WITH_MODEL, ids=lambda number: number.id)
def test_the_api_model_agrees(number, model):
    told = number.model
    service_model = model(told["service"])
    if "bound" in told:
        bound = service_model.shape_for(told["shape"]).metadata[told["bound"]]
        assert bound == number.value * told.get("times", 1)
    elif "doc" in told:
        assert re.search(told["says"], documentation(service_model, told["doc"]))
    else:
        names = {shape.name for shape in service_model.error_shapes}
        codes = {
            shape.metadata.get("error", {}).get("code") for shape in service_model.error_shapes
        }
        assert number.value == told["error"]
        assert told["error"] in names | codes


def test_most_numbers_are_held_against_a_model():
    assert len(WITH_MODEL) >= 0.7 * len(NUMBERS)


def test_boto3_retries_as_the_table_says(monkeypatch):
    for name in ("AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    client = botocore.session.Session().create_client(
        "sqs", "us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
    )
    assert client.meta.config.retries["mode"] == NUMBERS["sdk.retry.mode"].value
    assert standard.DEFAULT_MAX_ATTEMPTS == NUMBERS["sdk.retry.attempts"].value
    assert standard._SERVICE_MAX_ATTEMPTS["dynamodb"] == NUMBERS["sdk.retry.dynamodb"].value


def test_errors_are_names_and_limits_are_numbers():
    for number in NUMBERS.values():
        if number.kind == "error":
            assert re.fullmatch(r"[A-Z][A-Za-z.]+", str(number)), number.id
        if number.kind == "limit":
            assert isinstance(number.value, int | float), number.id


def test_at_least_fifty_are_seen_in_force_by_a_proof():
    assert sum(bool(number.enforced_by) for number in NUMBERS.values()) >= 50


def test_what_enforces_a_number_exists():
    for number in NUMBERS.values():
        for reference in number.enforced_by:
            module, _, function = reference.partition(":")
            proofs = importlib.import_module(f"labkit.exam_proofs.{module}")
            assert callable(getattr(proofs, function, None)), f"{number.id}: {reference}"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("for {n:sqs.visibility.default}.", "for 30 seconds."),
        ("{n:sqs.visibility.default:value} s", "30 s"),
        ("{n:dynamodb.batch_write.max:value} of {n:lambda.sqs.batch.max}", "25 of 10,000 messages"),
        ("{n:sqs.message.max}, not {n:sqs.message.max:old}", "1 MiB, not 256 KB"),
        ("{n:sts.duration.default}", "1 hour"),
        ("raises {n:lambda.throttle.error}", "raises TooManyRequestsException"),
        ("no placeholder", "no placeholder"),
    ],
)
def test_prose_quotes_them(text, filled):
    assert NUMBERS.fill(text) == filled


@pytest.mark.parametrize(
    "text",
    ["{n:sqs.nothing}", "{n:sqs.wait.max:old}", "{n:sqs.wait.max:both}", "{n: sqs.wait.max}"],
)
def test_a_wrong_placeholder_is_an_error(text):
    with pytest.raises(ExamDataError):
        NUMBERS.fill(text)


def test_mentioned_lists_each_once_in_order():
    text = "{n:sqs.wait.max} {n:s3.list.max:value} {n:sqs.wait.max:value}"
    assert mentioned(text) == ("sqs.wait.max", "s3.list.max")


def test_broken_tables_are_refused(tmp_path):
    raw = read_json(EXAM_FOLDER / "numbers.json")
    raw["numbers"][0]["kind"] = "rumour"
    raw["numbers"][1]["source"] = "somebody said"
    raw["numbers"][2]["id"] = raw["numbers"][3]["id"]
    raw["numbers"][4]["id"] = "sqs.WRONG"
    (tmp_path / "numbers.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(ExamDataError) as wrong:
        load_numbers(tmp_path)
    assert len(wrong.value.problems) == 5
