"""Transactions: all of up to a hundred actions, or none, and each token once.

Follows the Amazon DynamoDB API Reference, TransactWriteItems and TransactGetItems, and the
Developer Guide, "DynamoDB transactions: how it works". moto copies whole tables before each
transaction, reads 25 items at most and ignores tokens.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moto.dynamodb.comparisons import get_filter_expression

from labkit.localaws.call import AwsError, Call
from labkit.localaws.constraints import java
from labkit.localaws.tables import rules, store
from labkit.localaws.tables.capacity import Usage, write_usage
from labkit.localaws.tables.values import ITEM_BYTES, item_size

TOKEN_SECONDS = 600.0
MOST_ACTIONS = 100
MOST_BYTES = 4 * 1024 * 1024
INDEX_KEY_TYPE = (
    "The update expression attempted to update the secondary index key to unsupported type"
)
_KINDS = ("ConditionCheck", "Put", "Delete", "Update")


class Tokens:
    """Which requests were made with which token within the last ten minutes."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, str], tuple[float, str]] = {}

    def repeated(self, call: Call, now: float) -> bool:
        """Whether this very request was made already; raises when another one was."""
        known = self._seen.get(self._key(call))
        if known is None or now - known[0] > TOKEN_SECONDS:
            return False
        if known[1] != _digest(call.params["TransactItems"]):
            raise AwsError(
                "IdempotentParameterMismatchException",
                "Idempotent parameter mismatch: the token was used with another request",
            )
        return True

    def keep(self, call: Call, now: float) -> None:
        """Remember a request that succeeded."""
        if not call.params.get("ClientRequestToken"):
            return
        # In the order they came, so the oldest are first.
        for key, (at, _) in list(self._seen.items()):
            if now - at <= TOKEN_SECONDS:
                break
            del self._seen[key]
        self._seen[self._key(call)] = (now, _digest(call.params["TransactItems"]))

    @staticmethod
    def _key(call: Call) -> tuple[str, str, str]:
        return call.account_id, call.region, call.params.get("ClientRequestToken") or ""


def _digest(items: Any) -> str:
    text = json.dumps(items, sort_keys=True, default=lambda data: bytes(data).hex())
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Action:
    """One action of a transaction on one item."""

    kind: str
    params: Mapping[str, Any]
    table_name: str
    table: Any
    key: dict[str, Any]
    problem: str | None = None
    before: Any = None
    usage: Usage = field(default_factory=Usage)


def check_count(items: Sequence[Any] | None) -> None:
    """Refuse an empty transaction and one of more than a hundred actions."""
    count = len(items or ())
    if 1 <= count <= MOST_ACTIONS:
        return
    relation, bound = ("greater", 1) if not count else ("less", MOST_ACTIONS)
    raise rules.invalid(
        f"1 validation error detected: Value '{java(list(items or ()))}' at 'transactItems' failed "
        f"to satisfy constraint: Member must have length {relation} than or equal to {bound}"
    )


def write_actions(call: Call) -> list[Action]:
    """The actions of a TransactWriteItems, each on an item of its own."""
    items = call.params.get("TransactItems")
    check_count(items)
    actions = []
    for item in items:
        given = [kind for kind in _KINDS if item.get(kind) is not None]
        if len(given) != 1:
            raise rules.invalid(
                "TransactItems can only contain one of Check, Put, Update or Delete"
            )
        params = item[given[0]]
        rules.check_expressions(params, ("ConditionExpression", "UpdateExpression"))
        table = store.need_table(call, params["TableName"])
        actions.append(Action(given[0], params, params["TableName"], table, {}))
    size = 0
    for action in actions:
        found = action.params.get("Item") if action.kind == "Put" else action.params.get("Key")
        found = found or {}
        try:
            if action.kind == "Put":
                rules.check_item(action.table, found)
            else:
                rules.check_key(action.table, found)
        except AwsError as problem:
            action.problem = problem.message
            continue
        action.key = rules.key_of(action.table, found)
        size += item_size(found)
    if size > MOST_BYTES:
        raise rules.invalid("Collection size of all items in a transaction exceeds 4 MB")
    check_actions(actions)
    check_distinct(actions)
    return actions


def check_distinct(actions: Sequence[Action]) -> None:
    """Refuse two actions on one item."""
    marks = {(id(one.table), str(sorted(one.key.items()))) for one in actions}
    if len(marks) < len(actions):
        raise rules.invalid("Transaction request cannot include multiple operations on one item")


def check_actions(actions: Sequence[Action]) -> None:
    """Cancel a transaction of which single actions are impossible whatever is stored."""
    if any(action.problem for action in actions):
        raise cancelled(
            [
                {"Code": "ValidationError", "Message": action.problem} if action.problem else {}
                for action in actions
            ]
        )


def apply(call: Call, actions: Sequence[Action]) -> None:
    """Carry all actions out, or none and raise TransactionCanceledException.

    Leaves in each action what its item was before and what it cost. The caller holds the lock.
    """
    reasons: list[dict[str, Any]] = []
    for action in actions:
        action.before = store.copied(store.stored(action.table, action.key))
        reasons.append(_unmet(action) or {})
    done: list[Action] = []
    with store.unrecorded(*(action.table for action in actions)):
        try:
            if not any(reasons):
                for number, action in enumerate(actions):
                    done.append(action)
                    reasons[number] = _carry_out(call, action) or {}
            if any(reasons):
                raise cancelled(reasons)
        except BaseException:
            for action in done:
                store.put_back(action.table, action.key, action.before)
            raise


def cancelled(reasons: Sequence[Mapping[str, Any]]) -> AwsError:
    """TransactionCanceledException with a reason for each action; an empty one for none."""
    listed = [dict(reason) if reason else {"Code": "None"} for reason in reasons]
    return AwsError(
        "TransactionCanceledException",
        "Transaction cancelled, please refer cancellation reasons for specific reasons "
        f"[{', '.join(reason['Code'] for reason in listed)}]",
        CancellationReasons=listed,
    )


def _unmet(action: Action) -> dict[str, Any] | None:
    """Why an action's condition does not hold, or None when it does."""
    params = action.params
    if params.get("ConditionExpression") is None:
        return None
    with store.motos_errors():
        condition = get_filter_expression(
            params["ConditionExpression"],
            params.get("ExpressionAttributeNames"),
            params.get("ExpressionAttributeValues"),
        )
        if condition.expr(action.before):
            return None
    reason: dict[str, Any] = {
        "Code": "ConditionalCheckFailed",
        "Message": "The conditional request failed",
    }
    wanted = params.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
    if wanted and action.before is not None:
        reason["Item"] = store.written(action.before.attrs)
    return reason


def _carry_out(call: Call, action: Action) -> dict[str, Any] | None:
    """Do what an action says; the reason why it can't be done, or None."""
    tables = store.backend(call.account_id, call.region)
    params = action.params
    try:
        with store.motos_errors():
            if action.kind == "Put":
                tables.put_item(action.table.name, dict(params["Item"]))
            elif action.kind == "Delete":
                store.put_back(action.table, action.key, None)
            elif action.kind == "Update":
                tables.update_item(
                    action.table.name,
                    action.key,
                    update_expression=params["UpdateExpression"],
                    expression_attribute_names=params.get("ExpressionAttributeNames") or {},
                    expression_attribute_values=params.get("ExpressionAttributeValues") or {},
                )
                after = store.stored(action.table, action.key)
                check_updated(action.table, after)
    except AwsError as problem:
        if problem.code != "ValidationException":
            raise
        if _syntax(problem.message):
            raise
        return {"Code": "ValidationError", "Message": problem.message}
    before, after = (
        store.attributes(item) for item in (action.before, store.stored(action.table, action.key))
    )
    action.usage = write_usage(action.table, before, after)
    return None


def _syntax(message: str) -> bool:
    """Whether a message is about the request as such, whatever the items are."""
    return message.startswith("Invalid ") or "Cannot update attribute" in message


def check_updated(table: Any, item: Any) -> None:
    """Refuse what an update made of an item when it is too large or no longer fits an index."""
    if item is None:
        return
    if item_size(item.attrs) > ITEM_BYTES:
        raise rules.invalid("Item size to update has exceeded the maximum allowed size")
    if rules.index_key_mismatch(table, item.attrs):
        raise rules.invalid(INDEX_KEY_TYPE)
