"""Condition operators: the cases of the IAM User Guide's page, and values that are none."""

from __future__ import annotations

import pytest

from labkit.localaws.iam.conditions import Condition, ConditionSyntax


def holds(operator, key, values, **context):
    known = {name.replace("__", ":").replace("_", "-"): value for name, value in context.items()}
    return Condition(operator, key, values).holds(known)


@pytest.mark.parametrize(
    ("operator", "wanted", "given", "expected"),
    [
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", ["A"], "a", False),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringEqualsIgnoreCase", ["Ab"], "aB", True),
        ("StringNotEqualsIgnoreCase", ["Ab"], "aB", False),
        ("StringLike", ["home/*"], "home/x", True),
        ("StringLike", ["", "home/"], "", True),
        ("StringNotLike", ["home/*"], "work/x", True),
        ("NumericEquals", ["10"], "10.0", True),
        ("NumericLessThanEquals", ["10"], "10", True),
        ("NumericLessThan", ["10"], "9.99", True),
        ("NumericGreaterThan", ["10"], "ten", False),
        ("NumericNotEquals", ["10"], "11", True),
        ("DateLessThan", ["2026-11-22T10:00:00Z"], "2026-11-22T09:59:59Z", True),
        ("DateGreaterThan", ["2026-11-22T10:00:00+02:00"], "2026-11-22T08:00:01Z", True),
        ("DateEquals", ["1577836800"], "2020-01-01T00:00:00Z", True),
        ("DateGreaterThanEquals", ["2020"], "2020-01-01", True),
        ("DateLessThanEquals", ["2020-01-01T00:00:00.5Z"], "2020-01-01T00:00:00.6Z", False),
        ("Bool", ["true"], "True", True),
        ("Bool", ["false"], "true", False),
        ("BinaryEquals", ["QmluYXJ5VmFsdWVJbkJhc2U2NA=="], "QmluYXJ5VmFsdWVJbkJhc2U2NA==", True),
        ("BinaryEquals", ["YQ=="], "not base64!", False),
        ("IpAddress", ["203.0.113.0/24", "2001:DB8:1234:5678::/64"], "203.0.113.9", True),
        ("IpAddress", ["2001:DB8:1234:5678::/64"], "2001:db8:1234:5678::1", True),
        ("IpAddress", ["203.0.113.7"], "203.0.113.7", True),
        ("NotIpAddress", ["203.0.113.0/24"], "203.0.114.9", True),
        ("ArnLike", ["arn:aws:sns:*:1:t*"], "arn:aws:sns:us-east-1:1:topic", True),
        ("ArnEquals", ["arn:aws:sns:*:1:t"], "arn:aws:sns:us-east-1:1:t", True),
        ("ArnNotLike", ["arn:aws:sns:*:1:t"], "arn:aws:sns:us-east-1:2:t", True),
        ("ArnLike", ["arn:aws:sns:*:1:t"], "no arn", False),
    ],
)
def test_operators(operator, wanted, given, expected):
    assert holds(operator, "k:x", wanted, k__x=given) is expected


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("StringEquals", False),
        ("StringNotEquals", True),
        ("StringEqualsIfExists", True),
        ("StringNotEqualsIfExists", True),
        ("ForAllValues:StringEquals", True),
        ("ForAnyValue:StringEquals", False),
        ("ForAnyValue:StringNotEquals", False),
        ("ForAllValues:StringNotEquals", True),
        ("NumericLessThan", False),
        ("NotIpAddress", True),
        ("ArnNotEquals", True),
        ("Bool", False),
        ("BoolIfExists", True),
    ],
)
def test_a_missing_key(operator, expected):
    values = {"NumericLessThan": ["1"], "NotIpAddress": ["10.0.0.0/8"]}.get(operator, ["true"])
    assert holds(operator, "k:x", values) is expected


def test_null_asks_for_presence():
    assert holds("Null", "aws:TokenIssueTime", ["true"])
    assert not holds("Null", "aws:TokenIssueTime", ["false"])
    assert holds("Null", "aws:TokenIssueTime", ["false"], aws__tokenissuetime="2026-01-01")
    # A multivalued key without values is null.
    assert holds("Null", "k:x", ["true"], k__x=())


def test_keys_are_matched_in_any_case():
    assert holds("StringEquals", "AWS:SourceArn", ["x"], aws__sourcearn="x")
    assert holds("StringEquals", "aws:PrincipalTag/Team", ["x"], **{"aws__principaltag/team": "x"})


def test_variables_without_value_equal_nothing():
    """ "Policy variables with no value": equal and like do not match, their opposites do."""
    for operator, expected in (("StringEquals", False), ("StringNotEquals", True)):
        condition = Condition(operator, "s3:ExistingObjectTag/Team", ["${aws:PrincipalTag/Team}"])
        assert condition.holds({"s3:existingobjecttag/team": "a"}) is expected


def test_values_of_variables_are_literal():
    like = Condition("StringLike", "s3:prefix", ["${aws:username}/*"])
    assert like.holds({"s3:prefix": "*/x", "aws:username": "*"})
    assert not like.holds({"s3:prefix": "bob/x", "aws:username": "*"})
    ignoring = Condition("StringEqualsIgnoreCase", "k:x", ["${aws:username}"])
    assert ignoring.holds({"k:x": "BOB", "aws:username": "bob"})


@pytest.mark.parametrize(
    ("operator", "values"),
    [
        ("StringEqual", ["a"]),
        ("ForEach:StringEquals", ["a"]),
        ("NullIfExists", ["true"]),
        ("Null", ["maybe"]),
        ("NumericEquals", ["ten"]),
        ("NumericEquals", ["nan"]),
        ("DateEquals", ["yesterday"]),
        ("DateEquals", ["2026-13-01"]),
        ("IpAddress", ["300.1.1.1"]),
        ("BinaryEquals", ["%%%"]),
    ],
)
def test_what_is_no_condition(operator, values):
    with pytest.raises(ConditionSyntax):
        Condition(operator, "k:x", values)
