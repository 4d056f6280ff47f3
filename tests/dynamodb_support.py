"""Tables for tests of DynamoDB, and short ways to ask for what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from wiring_support import Wiring


class Tables:
    """A running local AWS and its DynamoDB; what it makes is removed by the fixture."""

    def __init__(self) -> None:
        self.wiring = Wiring()
        self.client = self.wiring.client("dynamodb")
        self.made: list[str] = []

    def make(self, keys: str = "pk", attributes: str = "", **settings: Any) -> str:
        """The name of a new table with these keys (``pk sk``); more *attributes* as ``g:S n:N``."""
        name = self.wiring.name("table")
        kinds = {key: "S" for key in keys.split()}
        kinds |= dict(one.split(":") for one in attributes.split())
        settings.setdefault("BillingMode", "PAY_PER_REQUEST")
        self.client.create_table(
            TableName=name,
            KeySchema=key_schema(keys),
            AttributeDefinitions=[
                {"AttributeName": one, "AttributeType": kind} for one, kind in kinds.items()
            ],
            **settings,
        )
        self.made.append(name)
        return name

    def units(self, call: Callable[..., Any], detail: str = "TOTAL", **params: Any) -> Any:
        """What a call consumed: the units with TOTAL, everything with INDEXES."""
        answer = call(ReturnConsumedCapacity=detail, **params)["ConsumedCapacity"]
        return answer["CapacityUnits"] if detail == "TOTAL" else answer


@pytest.fixture(scope="module")
def tables() -> Iterator[Tables]:
    """Tables on the local AWS of this test session, removed afterwards."""
    found = Tables()
    yield found
    for name in found.made:
        try:
            found.client.delete_table(TableName=name)
        except ClientError as problem:
            assert problem.response["Error"]["Code"] == "ResourceNotFoundException"


def key_schema(keys: str) -> list[dict[str, str]]:
    """``pk sk`` as a key schema."""
    kinds = ("HASH", "RANGE")
    pairs = zip(keys.split(), kinds, strict=False)
    return [{"AttributeName": key, "KeyType": kind} for key, kind in pairs]


def index(name: str, keys: str, projection: str = "ALL", *attributes: str) -> dict[str, Any]:
    """A secondary index as CreateTable takes it."""
    shown: dict[str, Any] = {"ProjectionType": projection}
    if attributes:
        shown["NonKeyAttributes"] = list(attributes)
    return {"IndexName": name, "KeySchema": key_schema(keys), "Projection": shown}


def item(**values: Any) -> dict[str, Any]:
    """Text and numbers as DynamoDB's values."""
    return {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
        for name, value in values.items()
    }


def refused(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    """Code and message of the error that a call ends in."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def invalid(call: Callable[..., Any], **params: Any) -> str:
    """The message of the ValidationException that a call ends in."""
    code, message = refused(call, **params)
    assert code == "ValidationException"
    return message
