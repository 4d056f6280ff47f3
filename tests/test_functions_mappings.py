"""Event source mappings: checked, kept, and passed through their states."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from functions_support import ACCOUNT, ARN, Bench, bench, create, refusal

from labkit.localaws.functions import filters

__all__ = ["bench"]

INVALID = ("InvalidParameterValueException", 400)
NOT_FOUND = ("ResourceNotFoundException", 404, "The resource you requested does not exist.")
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:orders"
FIFO = f"{QUEUE}.fifo"
STREAM = f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/orders"
TABLE = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/Orders/stream/2026-01-01T00:00:00.000"


@pytest.fixture
def client(bench: Bench):
    """A client with the function ``f`` (timeout 3 s), its version 1 and two kinds of queue."""
    bench.sources = {
        QUEUE: {"VisibilityTimeout": "30"},
        FIFO: {"VisibilityTimeout": "30", "FifoQueue": "true"},
        STREAM: {},
        TABLE: {},
    }
    client = bench.client()
    create(client, Publish=True)
    return client


def _map(client, source: str = QUEUE, function: str = "f", **more: Any) -> dict[str, Any]:
    if source in (STREAM, TABLE):
        more.setdefault("StartingPosition", "TRIM_HORIZON")
    more = {name: value for name, value in more.items() if value is not None}
    return client.create_event_source_mapping(
        FunctionName=function, EventSourceArn=source, **more
    )


def test_a_queue_is_mapped_with_its_defaults(bench: Bench, client) -> None:
    bench.hold = True
    heard: list[tuple[str, bool]] = []
    bench.functions.on_mapping_changed.append(lambda m: heard.append((m.state, m.deleted)))
    created = _map(client)
    assert created.pop("ResponseMetadata")["HTTPStatusCode"] == 202
    mapping_id = created.pop("UUID")
    assert isinstance(created.pop("LastModified"), datetime.datetime)
    assert created == {
        "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0,
        "EventSourceArn": QUEUE,
        "FunctionArn": f"{ARN}:function:f",
        "State": "Creating",
        "StateTransitionReason": "USER_INITIATED",
        "FunctionResponseTypes": [],
        "EventSourceMappingArn": f"{ARN}:event-source-mapping:{mapping_id}",
    }
    for work in (client.update_event_source_mapping, client.delete_event_source_mapping):
        code, status, message = refusal(work, UUID=mapping_id)
        assert (code, status) == ("ResourceInUseException", 400)
        assert str(message).endswith("the event source mapping because it is in use.")
    bench.run_deferred()
    assert client.get_event_source_mapping(UUID=mapping_id)["State"] == "Enabled"
    deleting = client.delete_event_source_mapping(UUID=mapping_id)
    assert deleting["State"] == "Deleting"
    assert client.get_event_source_mapping(UUID=mapping_id)["State"] == "Deleting"
    bench.run_deferred()
    for work in (
        client.get_event_source_mapping,
        client.update_event_source_mapping,
        client.delete_event_source_mapping,
    ):
        assert refusal(work, UUID=mapping_id) == NOT_FOUND
    assert heard == [("Enabled", False), ("Deleting", True)]


@pytest.mark.parametrize("source", [STREAM, TABLE])
def test_a_stream_is_mapped_with_its_defaults(client, source: str) -> None:
    created = _map(client, source)
    for member in ("ResponseMetadata", "UUID", "EventSourceMappingArn", "LastModified"):
        created.pop(member)
    assert created == {
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 0,
        "ParallelizationFactor": 1,
        "MaximumRecordAgeInSeconds": -1,
        "BisectBatchOnFunctionError": False,
        "MaximumRetryAttempts": -1,
        "TumblingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
        "DestinationConfig": {"OnFailure": {}},
        "LastProcessingResult": "No records processed",
        "StartingPosition": "TRIM_HORIZON",
        "EventSourceArn": source,
        "FunctionArn": f"{ARN}:function:f",
        "State": "Creating",
        "StateTransitionReason": "User action",
    }


def test_everything_given_is_kept(bench: Bench, client) -> None:
    pattern = json.dumps({"data": {"amount": [{"numeric": [">", 300]}]}})
    given = {
        "BatchSize": 7,
        "MaximumBatchingWindowInSeconds": 3,
        "ParallelizationFactor": 2,
        "StartingPosition": "AT_TIMESTAMP",
        "StartingPositionTimestamp": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC),
        "MaximumRecordAgeInSeconds": 120,
        "BisectBatchOnFunctionError": True,
        "MaximumRetryAttempts": 5,
        "TumblingWindowInSeconds": 30,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "DestinationConfig": {"OnFailure": {"Destination": QUEUE}},
        "FilterCriteria": {"Filters": [{"Pattern": pattern}]},
    }
    created = _map(client, STREAM, **given)
    read = client.get_event_source_mapping(UUID=created["UUID"])
    for name, value in given.items():
        assert read[name] == value, name
    [mapping] = bench.functions.mappings()
    assert (mapping.kind, mapping.source_arn, mapping.enabled) == ("kinesis", STREAM, True)
    bench.functions.note_result(mapping, "OK")
    assert client.get_event_source_mapping(UUID=created["UUID"])["LastProcessingResult"] == "OK"


def test_a_queue_with_filters_and_a_cap(client) -> None:
    created = _map(
        client,
        Enabled=False,
        ScalingConfig={"MaximumConcurrency": 2},
        FilterCriteria={"Filters": [{"Pattern": '{"body": {"kind": ["order"]}}'}]},
        Tags={"team": "orders"},
    )
    mapping_id = created["UUID"]
    read = client.get_event_source_mapping(UUID=mapping_id)
    assert (read["State"], read["ScalingConfig"]) == ("Disabled", {"MaximumConcurrency": 2})
    assert client.list_tags(Resource=created["EventSourceMappingArn"])["Tags"] == {"team": "orders"}
    for params, state in (
        ({"Enabled": True}, "Enabling"),
        ({"BatchSize": 3}, "Updating"),
        ({"Enabled": False, "ScalingConfig": {}, "FilterCriteria": {}}, "Disabling"),
    ):
        assert client.update_event_source_mapping(UUID=mapping_id, **params)["State"] == state
    read = client.get_event_source_mapping(UUID=mapping_id)
    assert read["BatchSize"] == 3 and read["State"] == "Disabled"
    assert "ScalingConfig" not in read and "FilterCriteria" not in read


def test_functions_are_named_as_they_were_given(client) -> None:
    client.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    wanted = {}
    for name, suffix in (
        ("f", ""),
        (f"{ACCOUNT}:function:f:$LATEST", ":$LATEST"),
        (f"{ARN}:function:f:1", ":1"),
        ("f:live", ":live"),
    ):
        created = _map(client, function=name)
        assert created["FunctionArn"] == f"{ARN}:function:f{suffix}"
        wanted[suffix] = created["UUID"]
    listed = client.list_event_source_mappings(FunctionName="f:live")["EventSourceMappings"]
    assert [m["UUID"] for m in listed] == [wanted[":live"]]
    assert len(client.list_event_source_mappings(EventSourceArn=QUEUE)["EventSourceMappings"]) == 4
    assert client.list_event_source_mappings(FunctionName="nope")["EventSourceMappings"] == []
    pages = client.get_paginator("list_event_source_mappings").paginate(
        PaginationConfig={"PageSize": 3}
    )
    assert [len(page["EventSourceMappings"]) for page in pages] == [3, 1]
    # A mapping outlives its function, as in AWS.
    client.delete_function(FunctionName="f")
    assert client.get_event_source_mapping(UUID=wanted[""])["State"] == "Enabled"
    client.delete_event_source_mapping(UUID=wanted[""])


def _unsupported(member: str) -> tuple[str, int, str]:
    return (*INVALID, f"Unsupported {member} parameter for given event source mapping type.")


@pytest.mark.parametrize(
    ("source", "given", "expected"),
    [
        (None, {}, (*INVALID, "Unrecognized event source.")),
        ("arn:aws:s3:::orders", {}, (*INVALID, "Unrecognized event source.")),
        (QUEUE, {"FunctionName": "nope"}, (*INVALID, "Function does not exist")),
        (
            f"{QUEUE}2",
            {},
            (
                *INVALID,
                "Error occurred while ReceiveMessage. SQS Error Code: "
                "AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: The specified queue "
                "does not exist.",
            ),
        ),
        (
            f"{STREAM}2",
            {"StartingPosition": "LATEST"},
            (*INVALID, f"Stream not found: {STREAM}2"),
        ),
        (
            QUEUE,
            {"DestinationConfig": {"OnSuccess": {"Destination": QUEUE}}},
            _unsupported("DestinationConfig"),
        ),
        (QUEUE, {"ParallelizationFactor": 2}, _unsupported("ParallelizationFactor")),
        (QUEUE, {"TumblingWindowInSeconds": 10}, _unsupported("TumblingWindowInSeconds")),
        (
            QUEUE,
            {"StartingPosition": "LATEST"},
            (*INVALID, "StartingPosition is not valid for SQS event sources."),
        ),
        (STREAM, {"ScalingConfig": {"MaximumConcurrency": 2}}, _unsupported("ScalingConfig")),
        (
            STREAM,
            {"StartingPosition": None},
            (
                *INVALID,
                "1 validation error detected: Value null at 'startingPosition' failed to satisfy "
                "constraint: Member must not be null.",
            ),
        ),
        (
            STREAM,
            {"StartingPosition": "invalid"},
            (
                "ValidationException",
                400,
                "1 validation error detected: Value 'invalid' at 'startingPosition' failed to "
                "satisfy constraint: Member must satisfy enum value set: [LATEST, AT_TIMESTAMP, "
                "TRIM_HORIZON]",
            ),
        ),
        (STREAM, {"StartingPosition": "AT_TIMESTAMP"}, (*INVALID, "Need to specify a timestamp")),
        (
            TABLE,
            {"StartingPosition": "AT_TIMESTAMP"},
            (*INVALID, f"Unsupported starting position for arn type: {TABLE}"),
        ),
        (
            QUEUE,
            {"BatchSize": 11},
            (
                *INVALID,
                "Maximum batch window in seconds must be greater than 0 if maximum batch size is "
                "greater than 10",
            ),
        ),
        (
            FIFO,
            {"BatchSize": 11},
            (*INVALID, "Maximum batch size must be between 1 and 10 inclusive"),
        ),
        (
            FIFO,
            {"MaximumBatchingWindowInSeconds": 1},
            (*INVALID, "Batching window is not supported for FIFO queues"),
        ),
        (
            QUEUE,
            {"BatchSize": 10_001},
            (
                "ValidationException",
                400,
                "1 validation error detected: Value '10001' at 'batchSize' failed to satisfy "
                "constraint: Member must have value less than or equal to 10000",
            ),
        ),
        (
            QUEUE,
            {"ScalingConfig": {"MaximumConcurrency": 1}},
            (
                "ValidationException",
                400,
                "1 validation error detected: Value '1' at 'scalingConfig.maximumConcurrency' "
                "failed to satisfy constraint: Member must have value greater than or equal to 2",
            ),
        ),
        (
            QUEUE,
            {"FilterCriteria": {"Filters": [{"Pattern": '{"eventSource": "aws:sqs"}'}]}},
            (*INVALID, "Invalid filter pattern definition."),
        ),
    ],
)
def test_what_can_not_be_mapped(
    client, source: str | None, given: dict[str, Any], expected: tuple[str, int, str]
) -> None:
    params: dict[str, Any] = {"FunctionName": "f", "EventSourceArn": source}
    if source in (STREAM, TABLE):
        params["StartingPosition"] = "TRIM_HORIZON"
    params = {name: v for name, v in {**params, **given}.items() if v is not None}
    assert refusal(client.create_event_source_mapping, **params) == expected


def test_a_message_must_stay_hidden_while_it_is_worked_on(client) -> None:
    client.update_function_configuration(FunctionName="f", Timeout=60)
    assert refusal(lambda: _map(client)) == (
        *INVALID,
        "Queue visibility timeout: 30 seconds is less than Function timeout: 60 seconds",
    )
    # The version that is mapped counts.
    _map(client, function="f:1")


def test_the_role_must_be_able_to_read(bench: Bench, client) -> None:
    bench.refused = {"sqs:ReceiveMessage"}
    assert refusal(lambda: _map(client)) == (
        *INVALID,
        "The function execution role does not have permissions to call ReceiveMessage on SQS",
    )
    bench.refused = {"kinesis:GetRecords"}
    assert refusal(lambda: _map(client, STREAM)) == (
        *INVALID,
        f"Cannot access stream {STREAM}. Please ensure the role can perform the GetRecords, "
        "GetShardIterator, DescribeStream, ListShards, and ListStreams Actions on your stream in "
        "IAM.",
    )
    bench.refused = {"sns:Publish"}
    topic = {"OnFailure": {"Destination": f"arn:aws:sns:us-east-1:{ACCOUNT}:failed"}}
    assert refusal(lambda: _map(client, STREAM, DestinationConfig=topic))[2] == (
        "The function execution role does not have permissions to call Publish on SNS"
    )


def test_one_source_goes_to_one_function_once(client) -> None:
    queue, stream = _map(client)["UUID"], _map(client, STREAM)["UUID"]
    assert refusal(lambda: _map(client)) == (
        "ResourceConflictException",
        409,
        f'An event source mapping with SQS arn (" {QUEUE} ") and function (" f ") already '
        f"exists. Please update or delete the existing mapping with UUID {queue}",
    )
    assert refusal(lambda: _map(client, STREAM)) == (
        "ResourceConflictException",
        409,
        f'The event source arn (" {STREAM} ") and function (" f ") provided mapping already '
        f"exists. Please update or delete the existing mapping with UUID {stream}",
    )


def test_kafka_and_others_are_refused_clearly(client) -> None:
    given = {
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka:1000"]}},
        "Topics": ["orders"],
    }
    code, _, message = refusal(client.create_event_source_mapping, FunctionName="f", **given)
    assert code == INVALID[0] and "Kafka" in str(message)


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        ({"body": {"a": ["x", 1, None, True]}}, True),
        ({"body": {"a": [{"prefix": "x"}, {"suffix": "y"}, {"exists": False}]}}, True),
        ({"body": {"a": [{"numeric": [">", 0, "<=", 5]}, {"numeric": ["=", 7]}]}}, True),
        ({"body": {"a": [{"anything-but": ["x", "y"]}, {"anything-but": {"prefix": "z"}}]}}, True),
        # The rule engine takes texts or numbers there, not both.
        ({"body": {"a": [{"anything-but": ["x", 1]}]}}, False),
        ({"body": {"a": [{"equals-ignore-case": "X"}, {"prefix": {"equals-ignore-case": "x"}}]}}, True),
        ({"$or": [{"a": ["x"]}, {"b": {"c": ["y"]}}]}, True),
        ({"a": "x"}, False),
        ({"a": []}, False),
        ({"a": {}}, False),
        ({}, False),
        ([], False),
        (None, False),
        ("x", False),
        ({"a": [{"unknown": "x"}]}, False),
        ({"a": [{"prefix": "x", "suffix": "y"}]}, False),
        ({"a": [{"numeric": ["~", 1]}]}, False),
        ({"a": [{"numeric": [">", 5, "<", 1]}]}, False),
        ({"a": [{"exists": "yes"}]}, False),
        ({"a": [["x"]]}, False),
        ({"$or": [{"a": ["x"]}]}, False),
    ],
)
def test_filter_patterns(pattern: Any, good: bool) -> None:
    assert filters.well_formed(json.dumps(pattern)) is good


def test_filter_patterns_that_are_no_json() -> None:
    assert not filters.well_formed("simple string")
    assert not filters.well_formed('[{"eventName": ["INSERT"=123}]')
    assert not filters.well_formed("[" * 100_000)
