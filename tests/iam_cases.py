"""Generators of policies and requests for property tests: small alphabets, so that things meet.

Everything is drawn from one :class:`random.Random`, which makes ten thousands of cases a matter
of seconds; :func:`case` wraps them for hypothesis.
"""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st

ACCOUNT, OTHER = "111122223333", "444455556666"
USER = f"arn:aws:iam::{ACCOUNT}:user/ann"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/r/s"

ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "sqs:SendMessage"]
ACTION_PATTERNS = [
    "s3:GetObject", "S3:getobject", "s3:Get*", "s3:*", "*", "sqs:*", "s3:?etObject",
    "s3:*Object", "sqs:SendMessage", "kms:*",
]  # fmt: skip
RESOURCES = [
    "arn:aws:s3:::b/k", "arn:aws:s3:::b/ann/k", "arn:aws:s3:::b", "arn:aws:s3:::b/x:y", "*",
    f"arn:aws:sqs:us-east-1:{ACCOUNT}:q", f"arn:aws:sqs:us-east-1:{OTHER}:q",
    "arn:aws:s3:::b/*",
]  # fmt: skip
RESOURCE_PATTERNS = [
    "*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/k", "arn:aws:s3:::b",
    "arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/${aws:nobody, 'ann'}/*",
    "arn:aws:s3:::b/${aws:nobody}/*", "arn:aws:s3:::*", "arn:aws:s3:::b/?", "arn:aws:s3:::b*",
    "arn:aws:sqs:*:*:q", f"arn:aws:sqs:us-east-1:{ACCOUNT}:*", "arn:aws:s3:::b/${*}",
    "arn:aws:s3:::b/*:y", "arn:aws:sqs:us-east-1:*",
]  # fmt: skip
WORDS = ["a", "b", "ab", "A", "a*", "ann"]
NUMBERS = ["1", "2", "2.0", "10"]
DATES = ["2020-01-01", "2020-01-01T00:00:00Z", "1577836800", "2026-06-01T12:00:00Z"]
ADDRESSES = ["10.0.0.1", "10.0.1.1", "192.168.0.7", "2001:db8::1"]
RANGES = ["10.0.0.0/24", "10.0.0.0/8", "192.168.0.7", "2001:db8::/32"]
ARNS = ["arn:aws:sns:us-east-1:1:t", "arn:aws:sns:eu-west-1:1:t:x", "arn:aws:s3:::b"]
ARN_PATTERNS = [
    "arn:aws:sns:*:1:t", "arn:aws:sns:us-east-1:1:*", "arn:aws:sns:*", "*",
    "arn:aws:s3:::${k:w}",
]  # fmt: skip
FLAGS = ["true", "false", "True"]
BLOBS = ["YQ==", "Yg=="]
PATTERNS = ["a", "a*", "?", "*", "${aws:username}", "${k:w}", "${k:gone}", "${*}", "A"]

# Operator family -> keys it is used with, values of the policy.
FAMILIES = [
    (["StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase",
      "StringLike", "StringNotLike"], ["k:w", "K:ws", "k:gone", "aws:username"], PATTERNS),
    (["NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals",
      "NumericGreaterThan", "NumericGreaterThanEquals"], ["k:n", "k:ns", "k:gone"], NUMBERS),
    (["DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan",
      "DateGreaterThanEquals"], ["k:d", "k:gone"], DATES),
    (["Bool"], ["k:f", "k:gone"], FLAGS),
    (["BinaryEquals"], ["k:b", "k:gone"], BLOBS),
    (["IpAddress", "NotIpAddress"], ["k:ip", "k:gone"], RANGES),
    (["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"], ["k:arn", "k:gone"], ARN_PATTERNS),
]  # fmt: skip
NAMES = [
    ACCOUNT, OTHER, f"arn:aws:iam::{ACCOUNT}:root", USER, ROLE, SESSION, "*",
    f"arn:aws:iam::{OTHER}:user/bob",
]  # fmt: skip
CALLERS = [
    {"kind": "user", "account": ACCOUNT, "arn": USER, "entity": USER, "name": ""},
    {"kind": "role", "account": ACCOUNT, "arn": SESSION, "entity": ROLE, "name": ""},
    {"kind": "role", "account": ACCOUNT, "arn": SESSION, "entity": ROLE, "name": ""},
    {"kind": "root", "account": ACCOUNT, "arn": f"arn:aws:iam::{ACCOUNT}:root", "entity": "",
     "name": ""},
    {"kind": "service", "account": "", "arn": "sns.amazonaws.com", "entity": "",
     "name": "sns.amazonaws.com"},
    {"kind": "anonymous", "account": "", "arn": "*", "entity": "", "name": ""},
]  # fmt: skip


def context(r: Random) -> dict:
    """The condition keys of a request; keys with an s are multivalued."""
    keys = {"aws:username": "ann"}
    for key, values in (
        ("k:w", WORDS), ("k:n", NUMBERS), ("k:d", DATES), ("k:f", FLAGS), ("k:b", BLOBS),
        ("k:ip", ADDRESSES), ("k:arn", ARNS),
    ):  # fmt: skip
        if r.random() < 0.5:
            keys[key] = r.choice(values)
    for key, values in (("k:ws", WORDS), ("k:ns", NUMBERS)):
        if r.random() < 0.5:
            keys[key] = tuple(r.choices(values, k=r.randint(0, 3)))
    return keys


def conditions(r: Random) -> dict:
    """A Condition block of one or two conditions."""
    block = {}
    for _ in range(r.randint(1, 2)):
        if r.random() < 0.12:
            block["Null"] = {r.choice(["k:w", "k:gone"]): r.choice(FLAGS).lower()}
            continue
        operators, keys, values = r.choice(FAMILIES)
        operator, key = r.choice(operators), r.choice(keys)
        if key.endswith("s") and r.random() < 0.5:
            operator = r.choice(["ForAllValues:", "ForAnyValue:"]) + operator
        if r.random() < 0.2:
            operator += "IfExists"
        block[operator] = {key: some(r, values, 2)}
    return block


def some(r: Random, values: list, most: int = 3):
    """One value, or a list of a few."""
    chosen = r.choices(values, k=r.randint(1, most))
    return chosen if len(chosen) > 1 else chosen[0]


def principal(r: Random):
    """A Principal element."""
    return r.choice([
        "*",
        {"AWS": some(r, NAMES)},
        {"AWS": some(r, NAMES)},
        {"Service": r.choice(["sns.amazonaws.com", "s3.amazonaws.com"])},
    ])  # fmt: skip


def statement(r: Random, *, resource_policy: bool = False) -> dict:
    """One statement; with Principal or NotPrincipal for a resource policy."""
    made = {"Effect": r.choice(["Allow", "Allow", "Allow", "Deny"])}
    made["NotAction" if r.random() < 0.15 else "Action"] = some(r, ACTION_PATTERNS)
    made["NotResource" if r.random() < 0.15 else "Resource"] = some(r, RESOURCE_PATTERNS)
    if r.random() < 0.35:
        made["Condition"] = conditions(r)
    if resource_policy:
        if r.random() < 0.15:
            made["NotPrincipal"] = {"AWS": some(r, NAMES)}
        else:
            made["Principal"] = principal(r)
    return made


def document(r: Random, *, resource_policy: bool = False) -> dict:
    """One policy document."""
    body = [statement(r, resource_policy=resource_policy) for _ in range(r.randint(1, 3))]
    made = {"Statement": body if len(body) > 1 or r.random() < 0.5 else body[0]}
    if r.random() < 0.87:
        made["Version"] = "2012-10-17"
    return made


def documents(r: Random, most: int = 2, least: int = 0) -> list[dict]:
    """A few documents of identity policies."""
    return [document(r) for _ in range(r.randint(least, most))]


def make(seed: int) -> dict:
    """Everything a decision is made from, as :func:`iam_naive.decide` takes it."""
    r = Random(seed)
    who = r.choice(CALLERS)
    known = who["kind"] in ("user", "role")
    return {
        "who": who,
        "identity": documents(r) if known else [],
        "boundary": documents(r) if known and r.random() < 0.25 else None,
        "session": documents(r) if known and r.random() < 0.25 else None,
        "resource": [document(r, resource_policy=True)] if r.random() < 0.5 else None,
        "owner": r.choice(["", ACCOUNT, ACCOUNT, OTHER]),
        "must": r.random() < 0.2,
        "action": r.choice(ACTIONS),
        "resource_arn": r.choice(RESOURCES),
        "context": context(r),
    }


seeds = st.integers(0, 2**48)
cases = seeds.map(make)
