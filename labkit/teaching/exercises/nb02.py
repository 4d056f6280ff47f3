"""The exercises of notebook 02: the border of high value, rules without AWS, stopping in time."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from typing import Any

from labkit import orders, reading, traffic
from labkit.session import Lab
from labkit.teaching.exercises.model import Exercise, NotYet, Wrong, expect
from labkit.waiting import despite

PRACTICE = "PracticeFunction"
_ROLE = f"{PRACTICE}-role"
_REFUSED = ("no id", "a negative amount", "an amount in quotes", "an empty file", "not JSON")


def scene(lab: Lab) -> dict[str, Any]:
    """The names of notebook 02, and its practice function."""
    awslambda, iam = lab.client("lambda"), lab.client("iam")

    def package(text):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("app.py", text)
        return buffer.getvalue()

    def deploy(text):
        awslambda.update_function_code(FunctionName=PRACTICE, ZipFile=package(text))
        awslambda.get_waiter("function_updated_v2").wait(FunctionName=PRACTICE)

    def call(**event):
        answer = awslambda.invoke(FunctionName=PRACTICE, Payload=json.dumps(event))
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())

    _practice_function(lab, package("def handler(event, context): return {}"))
    awslambda.update_function_configuration(FunctionName=PRACTICE, Timeout=1)
    awslambda.get_waiter("function_updated_v2").wait(FunctionName=PRACTICE)
    return {"lab": lab, "names": lab.names, "awslambda": awslambda, "iam": iam, "json": json,
            "package": package, "deploy": deploy, "call": call, "traffic": traffic,
            "practice": PRACTICE}  # fmt: skip


def on_the_line(lab: Lab, answer: Any, announced: Any) -> str:
    """Whether the answer is the function's, to a new order of exactly 300, and well read."""
    told = answer.get("orders") if isinstance(answer, dict) else None
    expect(
        isinstance(told, list) and len(told) == 1 and isinstance(told[0], dict),
        "the function's answer about one order",
        repr(answer)[:80],
        "traffic.invoke(lab, mine).payload",
    )
    identifier = told[0].get("OrderId")
    item = reading.items(lab, [identifier]).get(identifier) if identifier else None
    expect(item, f"order {identifier} in the table", "none", "the OrderId you sent")
    amount = item["Order"]["Amount"]
    expect(amount == 300, "an order of exactly 300", f"one of {amount}", "Amount in mine")
    expect(
        announced is False,
        "announced = False",
        f"announced = {announced}",
        f"highValue in the answer, which is {told[0].get('highValue')}: the rule is above 300",
    )
    return "300 is not above 300: the order was stored and streamed, and not announced."


def bodies_refused(lab: Lab, bodies: Any) -> str:
    """Whether *bodies* are five that the rules refuse, one of each kind."""
    expect(
        isinstance(bodies, list | tuple) and all(isinstance(one, bytes) for one in bodies),
        "a list of bodies, each of them bytes",
        repr(bodies)[:80],
        'the letter b before the quotes: b"..."',
    )
    kinds: dict[str, bytes] = {}
    for body in bodies:
        if not orders.judge(body).reasons:
            raise NotYet("bodies that are refused", f"{body!r} is a good order", "what is wrong")
        kinds.setdefault(_kind(body), body)
    missing = [kind for kind in _REFUSED if kind not in kinds]
    expect(
        not missing,
        f"one body of each of the five kinds: {', '.join(_REFUSED)}",
        f"none for: {missing[0]}" if missing else "",
        "data/rejected, which has one of each kind",
    )
    return "five bodies, five reasons, and not one call to AWS."


def stops_in_time(lab: Lab) -> str:
    """Whether PracticeFunction does what it can of ten items, and says what is left."""
    few, many = list("ab"), [str(number) for number in range(10)]
    done = _work(lab, few)
    expect(
        done == few,
        "two items to be done: there is time for them",
        f"{len(done)} done",
        "the loop: one item after the other while there is time",
    )
    done = _work(lab, many)
    expect(
        0 < len(done) < len(many),
        "some of ten items done and the rest left: a second is too short for all",
        f"{len(done)} done",
        "threading.Event().wait(0.2), which stands for the work on each item",
    )
    return f"{len(done)} of ten items done within the timeout, the others handed back."


def _work(lab: Lab, items: list[str]) -> list[str]:
    """What the practice function says it has done of *items*."""
    awslambda = lab.client("lambda")
    seconds = awslambda.get_function_configuration(FunctionName=PRACTICE)["Timeout"]
    expect(seconds == 1, "a timeout of 1 second, as it was", f"{seconds} seconds", "Timeout")
    answer = awslambda.invoke(FunctionName=PRACTICE, Payload=json.dumps({"items": items}))
    payload = json.loads(answer["Payload"].read())
    failed = answer.get("FunctionError")
    where = f"the code of {PRACTICE}, deployed"
    if failed:
        message = payload.get("errorMessage", "")
        raise NotYet(f"an answer to {len(items)} items", f"{failed}: {message}", where)
    sound = isinstance(payload, dict) and all(
        isinstance(payload.get(name), list) for name in ("done", "left")
    )
    expect(sound, "the lists done and left", repr(payload)[:80], where)
    expect(
        payload["done"] + payload["left"] == items,
        "each item once, in done or in left, in order",
        f"{payload['done']} and {payload['left']}",
        where,
    )
    return payload["done"]


def _kind(body: bytes) -> str:
    """Which of the five kinds a refused body is."""
    try:
        order = json.loads(body)
    except ValueError:
        return "not JSON" if body.strip() else "an empty file"
    if not isinstance(order, dict):
        return "something else"
    if "OrderId" not in order:
        return "no id"
    if isinstance(order.get("Amount"), str):
        return "an amount in quotes"
    if isinstance(order.get("Amount"), int | float) and order["Amount"] < 0:
        return "a negative amount"
    return "something else"


def _practice_function(lab: Lab, code: bytes) -> None:
    awslambda, iam = lab.client("lambda"), lab.client("iam")
    principal = {"Service": "lambda.amazonaws.com"}
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with contextlib.suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=_ROLE, AssumeRolePolicyDocument=trust)
    role = iam.get_role(RoleName=_ROLE)["Role"]["Arn"]
    settings = {"FunctionName": PRACTICE, "Runtime": "python3.13", "Handler": "app.handler",
                "Role": role, "Timeout": 1, "MemorySize": 128}  # fmt: skip
    with contextlib.suppress(awslambda.exceptions.ResourceConflictException):
        despite(lab, "Waiting for the role", {"InvalidParameterValueException"},
                lambda: awslambda.create_function(**settings, Code={"ZipFile": code}))  # fmt: skip
    awslambda.get_waiter("function_active_v2").wait(FunctionName=PRACTICE)


_LINE = """\
mine = {"OrderId": f"MINE-{lab.clock.now():%%H%%M%%S%%f}", "Amount": %s}
answer = traffic.invoke(lab, mine).payload
announced = %s
check("02.1", answer, announced)"""

_BODIES = """\
bodies = [
    b'{"Amount": 1}',
    b'{"OrderId": "A-1", "Amount": -1}',
    b'{"OrderId": "A-1", "Amount": "1"}',
    b"",
    b"an order",
]
check("02.2", bodies)"""

_POLITE = """\
polite = '''
import threading

def handler(event, context):
    left, done = list(event["items"]), []
    while left and context.get_remaining_time_in_millis() > 300:
        threading.Event().wait(0.2)
        done.append(left.pop(0))
    return {"done": done, "left": left}
'''
deploy(polite)
check("02.3")"""

EXERCISES = (
    Exercise(
        id="02.1",
        title="On the line",
        task="A customer orders for exactly 300. Is that announced as a high-value order? Send an "
        "order of 300, read the answer, and set `announced` to `True` or `False`.",
        difficulty=1,
        minutes=5,
        skills=("1.2.4", "3.3.1"),
        hints=(
            "The event decides the amount, and each order needs an `OrderId` of its own.",
            'The answer has `highValue`. The rule is "above 300".',
        ),
        start=_LINE % ("10", "None"),
        solution=_LINE % ("300", "False"),
        remark="Where a rule has a border, test the border: most mistakes sit there.",
        wants=("answer", "announced"),
        look=on_the_line,
        scene=scene,
        wrong=(
            Wrong(_LINE % ("300", "True"), "the rule is above 300"),
            Wrong(_LINE % ("300.01", "True"), "found one of 300.01"),
            Wrong(_LINE % ("299", "False"), "found one of 299"),
            Wrong('answer = 300\ncheck("02.1", answer, announced)', "the function's answer", True),
        ),
    ),
    Exercise(
        id="02.2",
        title="Test without AWS",
        task="The rules for orders call nothing, so they can be tested in a millisecond: "
        "`orders.judge(body).reasons` says why a body is refused. Write five bodies that must be "
        "refused: no id, a negative amount, an amount in quotes, an empty file, not JSON.",
        difficulty=2,
        minutes=10,
        skills=("1.1.7",),
        hints=(
            "An empty list of reasons means that the order is good.",
            "A body is what lies in the bucket: bytes, written `b'...'`.",
            "`data/rejected` has one of each kind, and more.",
        ),
        start="""\
from labkit import orders

bodies = [b'{"OrderId": "A-1", "Amount": 19.99}']
check("02.2", bodies)""",
        solution=_BODIES,
        wants=("bodies",),
        look=bodies_refused,
        scene=scene,
        wrong=(
            Wrong(_BODIES.replace('"Amount": "1"', '"Amount": 1'), "is a good order"),
            Wrong(_BODIES.replace('    b"",\n', ""), "none for: an empty file"),
            Wrong(_BODIES.replace('    b"",\n', "    b'{}',\n"), "none for: an empty file"),
            Wrong(_BODIES.replace("b'", "'").replace('b"', '"'), "each of them bytes"),
        ),
    ),
    Exercise(
        id="02.3",
        title="Stop in time",
        task='A function gets `event["items"]`, needs 0.2 seconds for each, and has one second. '
        "Write a handler that returns what it has `done` and what is `left` as soon as fewer than "
        "300 milliseconds remain, and deploy it as `PracticeFunction`. `check` calls it with two "
        "items and with ten.",
        difficulty=3,
        minutes=15,
        skills=("1.1.5", "1.2.2"),
        hints=(
            "The context knows how much time is left: ask it before each item.",
            "`context.get_remaining_time_in_millis()`; `threading.Event().wait(0.2)` stands for "
            "the work.",
        ),
        start="""\
polite = '''
def handler(event, context):
    return {"done": [], "left": event["items"]}
'''
deploy(polite)
check("02.3")""",
        solution=_POLITE,
        look=stops_in_time,
        scene=scene,
        wrong=(
            Wrong(
                _POLITE.replace(
                    "while left and context.get_remaining_time_in_millis() > 300:", "while left:"
                ),
                "Task timed out after 1.00 seconds",
            ),
            Wrong(
                _POLITE.replace("        threading.Event().wait(0.2)\n", ""),
                "a second is too short for all",
            ),
            Wrong(_POLITE.replace("left.pop(0)", "left.pop()"), "each item once"),
            Wrong(
                _POLITE.replace(
                    "while left and context.get_remaining_time_in_millis() > 300:",
                    "for _ in range(1):",
                ),
                "two items to be done",
            ),
            Wrong(
                "awslambda.update_function_configuration(FunctionName=practice, Timeout=30)\n"
                'awslambda.get_waiter("function_updated_v2").wait(FunctionName=practice)\n'
                'check("02.3")',
                "a timeout of 1 second",
                after_solution=True,
            ),
        ),
    ),
)
