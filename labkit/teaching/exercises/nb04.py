"""The exercises of notebook 04: what a prefix covers, giving up sooner, one event one receiver."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from labkit import reading
from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, Wrong, expect
from labkit.waiting import looks

Rule = tuple[str, str]
# Prefix and suffix of two configurations, and whether S3 refuses the two for one kind of event.
PAIRS: tuple[tuple[Rule, Rule, bool], ...] = (
    (("orders/", ".json"), ("orders/vip/", ".json"), True),
    (("orders/", ".json"), ("orders/", ".jsonl"), False),
    (("orders/", ".json"), ("archive/", ".json"), False),
    (("orders/vip/", ".json"), ("orders/", ".json"), True),
    (("orders/", ""), ("", ".json"), True),
    (("photos/", ".jpg"), ("photos/", ".JPG"), False),
    (("photos/", "big.jpg"), ("photos/", ".jpg"), True),
)


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 04; events are tried three times, as the pipeline is built."""
    awslambda, names = lab.client("lambda"), lab.names
    awslambda.put_function_event_invoke_config(
        FunctionName=names.function,
        MaximumRetryAttempts=2,
        DestinationConfig={"OnFailure": {"Destination": names.dead_letter_queue_arn}},
    )
    return {"lab": lab, "names": names, "s3": lab.client("s3"), "awslambda": awslambda,
            "json": json, "reading": reading}  # fmt: skip


def corrections_are_heard(lab: Lab, key: Any) -> str:
    """Whether the object *key* lies in a folder fix/ and the function has processed it."""
    expect(isinstance(key, str), "the key of an object, as text", repr(key)[:80], "key")
    where = "the prefix and the suffix that the bucket's notification asks for"
    expect("fix/" in key and "fix" in key.split("/")[:-1], "a key in a folder fix/", key, "key")
    try:
        answer = lab.client("s3").get_object(Bucket=lab.names.bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        answer = None
    expect(answer is not None, f"an object {key} in the bucket", "none", "s3.put_object")
    order = json.loads(answer["Body"].read())
    identifier = order["OrderId"]

    def done() -> bool:
        item = reading.items(lab, [identifier]).get(identifier, {})
        return item.get("S3Key") == key

    lab.settle()
    (heard,) = looks(lab, "Waiting for the function", done, 0.5 if lab.control else 60.0)
    expect(heard, f"order {identifier} processed from {key}", "that nothing started", where)
    return f"{key} started the function: a prefix covers everything below it."


def gives_up_at_once(lab: Lab) -> str:
    """Whether a bad order lies in the dead-letter queue after one attempt."""
    awslambda, names = lab.client("lambda"), lab.names
    config = awslambda.get_function_event_invoke_config(FunctionName=names.function)
    where = f"get_function_event_invoke_config of {names.function}"
    retries = config.get("MaximumRetryAttempts", 2)
    expect(retries == 0, "no retries (MaximumRetryAttempts 0)", f"{retries} retries", where)
    target = config.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination", "none")
    expect(
        target == names.dead_letter_queue_arn,
        f"{names.dead_letter_queue} still to be the on-failure destination",
        target,
        "update_function_event_invoke_config, which leaves what you do not name; put replaces all",
    )
    s3, key = lab.client("s3"), f"{names.prefix}hopeless-{uuid.uuid4().hex}.json"
    s3.put_object(Bucket=names.bucket, Key=key, Body=b"no order")

    def rejected() -> list[int]:
        return [one.attempts for one in reading.rejections(lab) if key in one.keys]

    lab.settle()
    (attempts,) = looks(lab, "Waiting for the rejection", rejected, 2.0 if lab.control else 60.0)
    s3.delete_object(Bucket=names.bucket, Key=key)
    expect(
        attempts,
        f"a bad order of the check's own in {names.dead_letter_queue} at once",
        "nothing",
        "the function's log",
    )
    return f"a bad order was rejected after {attempts[0]} attempt, without waiting."


def knows_overlaps(lab: Lab, overlap: Callable[[Rule, Rule], Any]) -> str:
    """Whether ``overlap(one, other)`` says of pairs of rules what S3 says."""
    expect(
        callable(overlap),
        "the function overlap",
        f"a {type(overlap).__name__}",
        "the call of check: hand over overlap itself, without parentheses",
    )
    for one, other, refused in PAIRS:
        found = overlap(one, other)
        expect(
            found is refused,
            f"{refused} for {one} and {other}",
            repr(found),
            "whether one key could fit both: its beginning and its end" if refused
            else "whether any key could begin and end as both want",
        )  # fmt: skip
    return f"right for {len(PAIRS)} pairs: S3 refuses two rules that one object could match."


_FIX = """\
key = f"%s"
order = {"OrderId": f"FIX-{lab.clock.now():%%H%%M%%S%%f}", "Amount": 3}
s3.put_object(Bucket=names.bucket, Key=key, Body=json.dumps(order))
check("04.1", key)"""

_RETRIES = """\
awslambda.%s_function_event_invoke_config(
    FunctionName=names.function, %s
)
check("04.2")"""

_OVERLAP = """\
def overlap(one, other):
    (prefix, suffix), (prefix2, suffix2) = one, other
    begin = %s
    end = %s
    return begin and end


check("04.3", overlap)"""
_BEGIN = "prefix.startswith(prefix2) or prefix2.startswith(prefix)"
_END = "suffix.endswith(suffix2) or suffix2.endswith(suffix)"

EXERCISES = (
    Exercise(
        id="04.1",
        title="A folder for corrections",
        task="The partner will send corrections, and wants them in a folder `fix/` of their own. "
        "The function must hear of them without any change to the bucket. Find a key that does it, "
        "by trying.",
        difficulty=1,
        minutes=5,
        skills=("1.2.5", "3.2.5"),
        hints=(
            "Look again at which of the four keys above started the function.",
            "A prefix is the beginning of the whole key, so deeper folders count.",
        ),
        start=_FIX % "fix/{lab.clock.now():%H%M%S}.json",
        solution=_FIX % "orders/fix/{lab.clock.now():%H%M%S%f}.json",
        wants=("key",),
        look=corrections_are_heard,
        scene=scene,
        wrong=(
            Wrong(_FIX % "orders/fix/{lab.clock.now():%H%M%S%f}.JSON", "that nothing started"),
            Wrong(_FIX % "orders/fix-{lab.clock.now():%H%M%S%f}.json", "a key in a folder fix/"),
            Wrong('key = "orders/fix/none.json"\ncheck("04.1", key)', "s3.put_object"),
            Wrong(
                'dynamodb = lab.client("dynamodb")\n'
                'gone = {"OrderId": {"S": order["OrderId"]}}\n'
                "dynamodb.delete_item(TableName=names.table, Key=gone)\n"
                'check("04.1", key)',
                "that nothing started",
                after_solution=True,
            ),
        ),
    ),
    Exercise(
        id="04.2",
        title="Give up sooner",
        task="An order that cannot be read does not get better by waiting. Have each event tried "
        "once only; rejected orders still belong in `RejectedOrdersQueue`. `check` drops a bad "
        "order and does not move the clock.",
        difficulty=2,
        minutes=10,
        skills=("1.2.3", "3.2.5"),
        hints=(
            "The number of retries and the destination stand in the same configuration.",
            "`update_function_event_invoke_config` changes one setting and leaves the others; "
            "`put_function_event_invoke_config` replaces them all.",
        ),
        start="""\
config = awslambda.get_function_event_invoke_config(FunctionName=names.function)
config["MaximumRetryAttempts"]
check("04.2")""",
        solution=_RETRIES % ("update", "MaximumRetryAttempts=0"),
        remark="The next notebook's first cell puts the two retries back.",
        look=gives_up_at_once,
        scene=scene,
        wrong=(
            Wrong(_RETRIES % ("put", "MaximumRetryAttempts=0"), "which leaves what you do not"),
            Wrong(_RETRIES % ("update", "MaximumEventAgeInSeconds=60"), "found 2 retries"),
            Wrong(_RETRIES % ("update", "MaximumRetryAttempts=1"), "found 1 retries"),
            Wrong(_RETRIES % ("update", "MaximumRetryAttempts=2"), "found 2 retries", True),
        ),
    ),
    Exercise(
        id="04.3",
        title="One event, one receiver",
        task="S3 refuses two configurations for the same kind of event when one object could match "
        "both. Write `overlap`: it takes two rules, each a prefix and a suffix, and returns `True` "
        "if S3 would refuse them. In doubt, ask S3 as above. `check` tries several pairs.",
        difficulty=3,
        minutes=10,
        skills=("1.2.5", "4.1.7"),
        hints=(
            "Could one key begin as both prefixes want, and end as both suffixes want?",
            "A key can begin with both prefixes only if one of them is the beginning of the other.",
            "`startswith` and `endswith`, each tried both ways round.",
        ),
        start="""\
def overlap(one, other):
    return one == other


check("04.3", overlap)""",
        solution=_OVERLAP % (_BEGIN, _END),
        remark="To reach several receivers, send the event to SNS or EventBridge; fan out there.",
        wants=("overlap",),
        look=knows_overlaps,
        scene=scene,
        wrong=(
            Wrong(
                _OVERLAP % ("prefix2.startswith(prefix)", "suffix2.endswith(suffix)"),
                "True for ('orders/vip/', '.json') and ('orders/', '.json')",
            ),
            Wrong(_OVERLAP % (_BEGIN, "True"), "False for ('orders/', '.json') and ('orders/'"),
            Wrong(_OVERLAP % (_BEGIN, "suffix == suffix2"), "('orders/', '') and ('', '.json')"),
            Wrong(
                _OVERLAP
                % (
                    _BEGIN,
                    _END.replace("suffix", "suffix.lower()").replace(
                        "suffix.lower()2", "suffix2.lower()"
                    ),
                ),
                "('photos/', '.JPG')",
            ),
        ),
    ),
)
