"""The event pattern language: what matches, and where AWS notices what is wrong."""

from __future__ import annotations

import json

import pytest

from labkit.localaws.services.event_patterns import Pattern
from labkit.localaws.services.pattern_tokens import PatternError


def matches(pattern: dict, event: dict) -> bool:
    """Whether *pattern* lets *event* through."""
    return Pattern(json.dumps(pattern)).matches(event)


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        ("running", "running", True),
        ("running", "Running", False),
        (300, 300, True),
        (300, 300.0, True),
        (300, "300", False),
        (True, True, True),
        (True, "true", False),
        (True, 1, False),
        (None, None, True),
        (None, "", False),
        ("", "", True),
        ({"prefix": "eu-"}, "eu-west-1", True),
        ({"prefix": {"equals-ignore-case": "EU-"}}, "eu-west-1", True),
        ({"prefix": ""}, "anything", True),
        ({"prefix": "1"}, 12, False),
        ({"suffix": ".png"}, "a.png", True),
        ({"suffix": {"equals-ignore-case": ".PNG"}}, "a.png", True),
        ({"suffix": ".png"}, "a.jpg", False),
        ({"equals-ignore-case": "ALICE"}, "alice", True),
        ({"anything-but": "a"}, "b", True),
        ({"anything-but": "a"}, None, True),
        ({"anything-but": 0}, 789, True),
        ({"anything-but": ["a", "b"]}, "b", False),
        ({"anything-but": [100, 200]}, 300, True),
        ({"anything-but": {"prefix": "init"}}, "initializing", False),
        ({"anything-but": {"prefix": ["init", "x"]}}, "running", True),
        ({"anything-but": {"prefix": "init"}}, 12, True),
        ({"anything-but": {"suffix": ".txt"}}, "a.txt", False),
        ({"anything-but": {"equals-ignore-case": ["A", "B"]}}, "b", False),
        ({"anything-but": {"wildcard": "*/lib/*"}}, "a/lib/b", False),
        ({"anything-but": {"wildcard": "*/lib/*"}}, "a/bin/b", True),
        ({"numeric": ["=", 3.018e2]}, 301.8, True),
        ({"numeric": [">", 0, "<=", 5]}, 5, True),
        ({"numeric": [">", 0, "<", 5]}, 5, False),
        ({"numeric": [">", 100]}, "101", False),
        ({"numeric": [">", 100]}, None, False),
        ({"exists": True}, None, True),
        ({"exists": False}, "x", False),
        ({"wildcard": "arn:*:bus/*"}, "arn:aws:bus/mine", True),
        ({"wildcard": "*"}, "", True),
        ({"wildcard": "a\\*b"}, "a*b", True),
        ({"wildcard": "a\\*b"}, "aXb", False),
        ({"wildcard": "a*b"}, "a\nb", True),
        ({"cidr": "10.0.0.0/24"}, "10.0.0.255", True),
        ({"cidr": "10.0.0.0/24"}, "10.0.1.0", False),
        ({"cidr": "10.0.0.0/24"}, "nowhere", False),
        ({"cidr": "2001:db8::/32"}, "2001:db8:0:1::7", True),
    ],
)
def test_one_condition(condition, value, expected):
    assert matches({"field": [condition]}, {"field": value}) is expected


def test_a_field_that_is_not_there():
    assert not matches({"a": ["x"]}, {})
    assert not matches({"a": [{"anything-but": "x"}]}, {})
    assert matches({"a": [{"exists": False}]}, {"b": 1})
    assert matches({"a": {"b": [{"exists": False}]}}, {})
    assert matches({"a": [{"anything-but": "x"}, {"exists": False}]}, {})
    # Only leaves exist.
    assert not matches({"a": [{"exists": True}]}, {"a": {"b": 1}})
    assert not matches({"a": [{"exists": True}]}, {"a": []})


def test_every_field_of_the_pattern_must_match():
    pattern = {"source": ["s"], "detail": {"state": ["on", "off"]}}
    assert matches(pattern, {"source": "s", "detail": {"state": "off", "more": 1}})
    assert not matches(pattern, {"source": "s", "detail": {"state": "idle"}})
    assert not matches(pattern, {"source": "s", "detail": '{"state":"on"}'})
    assert not matches({"Source": ["s"]}, {"source": "s"})


def test_arrays_match_when_they_share_a_value():
    assert matches({"a": ["x", "y"]}, {"a": ["z", "y"]})
    assert not matches({"a": ["x"]}, {"a": ["z", "y"]})
    assert matches({"a": [None]}, {"a": [None]})
    assert matches({"a": {"b": ["x"]}}, {"a": [[{"b": "x"}], {"b": "y"}]})


def test_fields_in_an_array_must_be_of_one_element():
    pattern = {"a": {"x": [1], "y": [{"prefix": "p"}]}}
    assert matches(pattern, {"a": [{"x": 1, "y": "n"}, {"x": 1, "y": "pp"}]})
    assert not matches(pattern, {"a": [{"x": 1, "y": "n"}, {"x": 2, "y": "pp"}]})
    assert not matches({"a": {"x": [{"exists": False}]}}, {"a": [{"x": 1}, {"y": 1}]})


def test_dots_join_names():
    assert matches({"detail": {"state.status": ["on"]}}, {"detail": {"state": {"status": "on"}}})


def test_either_or():
    pattern = {
        "source": ["s"],
        "$or": [{"a": [1]}, {"detail": {"b": [2]}}, {"$or": [{"c": [3]}, {"c": [4]}]}],
    }
    assert matches(pattern, {"source": "s", "detail": {"b": 2}})
    assert matches(pattern, {"source": "s", "c": 4})
    assert not matches(pattern, {"source": "s", "c": 5})
    assert not matches(pattern, {"source": "t", "a": 1})


# (pattern, reason, column), most of them as AWS answered.
REFUSED = [
    ('{"a": 1}', '"a" must be an object or an array', 8),
    ('{"a": "b"}', '"a" must be an object or an array', 8),
    ('{"a": []}', "Empty arrays are not allowed", 9),
    ('{"a": {}}', "Empty objects are not allowed", 9),
    ('["a"]', "Filter is not an object", 2),
    ('{"a": [{"EXISTS": true}]}', "Unrecognized match type EXISTS", 23),
    ('{"a": [{"numeric": 10}]}', "Value of numeric must be an array.", 22),
    ('{"a": [{"numeric": [">", 0, ">", 0]}]}', "Bad numeric range operator: >", 32),
    ('{"a": [{"wildcard": "a**b"}]}', "Consecutive wildcard characters at pos 2", 27),
    ('{"a": [{"wildcard": 1}]}', "wildcard match pattern must be a string", 22),
    ('{"a": [{"equals-ignore-case": ["x"]}]}', "equals-ignore-case match pattern must be a string", 32),
    ('{"a": [{"anything-but": null}]}', "Value of anything-but must be an array or single string/number value.", 29),
    ('{"a": [{"anything-but": {"prefix": ""}}]}', "Null prefix/suffix not allowed", 38),
    ('{"a": [{"anything-but": {"prefix": 1}}]}', "prefix/suffix match pattern must be a string", 37),
    ('{"$or": [{"a": ["b"]}]}', "There must have at least 2 Objects in $or relationship.", 23),
    ("{'a': 1}", "Unexpected character (''' (code 39)): was expecting double-quote to start field name", 2),
    ('{"a": nope}', "Unrecognized token 'nope': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')", 11),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "reason", "column"), REFUSED)
def test_refused_patterns(pattern, reason, column):
    with pytest.raises(PatternError) as caught:
        Pattern(pattern)
    assert str(caught.value) == (
        f'{reason}\n at [Source: (String)"{pattern}"; line: 1, column: {column}]'
    )


def test_a_list_inside_anything_but_is_complained_of_twice():
    pattern = '{"a": [{"anything-but": ["x", null]}]}'
    with pytest.raises(PatternError) as caught:
        Pattern(pattern)
    where = f'\n at [Source: (String)"{pattern}"; line: 1, column: 35]'
    assert str(caught.value) == (
        "Inside anything but list, start|null|boolean is not supported." + where * 2
    )


@pytest.mark.parametrize(
    ("condition", "reason"),
    [
        ({"cidr": "bad"}, "Malformed CIDR, one '/' required"),
        ({"cidr": "xx.11.xx/8"}, "Nonstandard IP address: xx.11.xx"),
        ({"cidr": "bad/64x"}, "Malformed CIDR, mask bits must be an integer"),
        (
            {"wildcard": "*:*:*:*:*:x/*"},
            "Rule is too complex - try using fewer wildcard characters or fewer repeating "
            "character sequences after a wildcard character",
        ),
    ],
)
def test_refusals_without_a_place(condition, reason):
    with pytest.raises(PatternError) as caught:
        Pattern(json.dumps({"a": [condition]}))
    assert str(caught.value) == reason


def test_places_count_lines_and_long_patterns_are_cut():
    with pytest.raises(PatternError) as caught:
        Pattern('{\n  "a": 1}')
    assert str(caught.value).endswith("line: 2, column: 9]")
    with pytest.raises(PatternError, match=r"\[truncated 12 chars\]"):
        Pattern('{"a": [' + '"x",' * 125 + "{}]}}")
