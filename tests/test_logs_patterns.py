"""Filter patterns of CloudWatch Logs, and what the service refuses as one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.localaws.log_patterns import BadPattern, compile_pattern

EVENT = json.dumps(
    {
        "eventType": "UpdateTrail",
        "sourceIPAddress": "111.111.111.111",
        "someInt": 123,
        "someFloat": 12.34,
        "roundFloat": 12.0,
        "someObject": {},
        "arrayKey": ["value", "another value"],
        "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
        "SomeObject": None,
        "ThisFlag": True,
        "user": {"id": 1, "email": "John.Stiles@example.com"},
        "detail-type": "order",
    }
)
LINE = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


def matches(pattern: str, message: str) -> bool:
    return compile_pattern(pattern).matches(message)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "{ $.sourceIPAddress = 111.111.111.111 }",
        '{ $.sourceIPAddress = "*.111.111.111" }',
        "{ $.sourceIPAddress = 111.* }",
        # An asterisk in the middle is just one.
        "{ $.sourceIPAddress != 111*111 }",
        "{ $.someInt = 123.0 }",
        '{ $.someInt = "123" }',
        '{ $.someInt != "123.0" }',
        "{ $.someInt = *23 }",
        "{ $.roundFloat = 12 }",
        '{ $.roundFloat != "12" }',
        "{ $.someFloat > 1.2e1 && $.someFloat <= 12.34 }",
        "{ $.arrayKey[0] = value }",
        "{ $.objectList[1].id = 2 }",
        "{ $.objectList[*].id = 2 }",
        "{ $.SomeObject IS NULL }",
        "{ $.ThisFlag IS TRUE }",
        "{ $.ThisFlag = true }",
        "{ $.missing NOT EXISTS }",
        "{ $.user EXISTS }",
        '{ ($.user.id = 1) && ($.user.email = "John.Stiles@example.com") }',
        "{ $.user.id = 2 && $.someInt = 1 || $.eventType = UpdateTrail }",
        "{ $.eventType = %^Update% }",
        "{ $.detail-type = order }",
    ],
)
def test_json_patterns_that_match(pattern):
    assert matches(pattern, EVENT)


@pytest.mark.parametrize(
    "pattern",
    [
        "{ $.missing = x }",
        "{ $.missing != x }",
        "{ $.someObject != x }",
        "{ $.arrayKey != x }",
        "{ $.SomeObject != x }",
        "{ $.someInt != 123 }",
        "{ $.sourceIPAddress = 11*1 }",
        "{ $.eventType > 3 }",
        "{ ($.user.id = 2 || $.user.id = 3) && $.someInt = 123 }",
    ],
)
def test_json_patterns_that_do_not(pattern):
    assert not matches(pattern, EVENT)


def test_text_that_is_no_json_matches_no_json_pattern():
    assert not matches("{ $.level NOT EXISTS }", "level=INFO")
    assert not matches("{ $.level NOT EXISTS }", '["level"]')


@pytest.mark.parametrize(
    "pattern, message, expected",
    [
        ("ERROR", "Exiting with ERRORCODE: -1", True),
        ("error", "ERROR", False),
        ("ERROR Exception", "[ERROR] Caught IllegalArgumentException", True),
        ("ERROR WARN", "ERROR message", False),
        ("?ERROR ?WARN", "WARN message", True),
        ("?ERROR ?WARN", "INFO message", False),
        ("ERROR -Exiting", "Exiting with ERRORCODE: -1", False),
        ("ERROR -Exiting", "ERROR message", True),
        ('"INTERNAL SERVER ERROR"', "INTERNAL SERVER ERROR 500", True),
        ('"INTERNAL SERVER ERROR"', "INTERNAL ERROR SERVER", False),
        (r'"say \"no\""', 'they say "no"', True),
        # With other terms around, the optional ones don't count.
        ("ERROR ?WARN", "ERROR only", True),
        ("%ERR[A-Z]+ [0-9]{3}%", "got ERROR 404", True),
        ("%^ERROR%", "an ERROR", False),
    ],
)
def test_terms(pattern, message, expected):
    assert matches(pattern, message) is expected


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("[ip, user, username, timestamp, request, status_code, bytes > 1000]", True),
        ("[ip, user, username, timestamp, request, status_code = 4*, bytes]", True),
        ("[ip, user, username, timestamp, request = *html*, status_code = 4*, bytes]", True),
        ("[..., status_code=404||status_code=410, bytes]", True),
        ("[ip, ..., size]", True),
        ("[ip, user]", False),
        ("[ip, user, username, timestamp, request, status_code != 4*, bytes]", False),
        ("[..., request=%GET|POST%, status, size]", True),
    ],
)
def test_fields_separated_by_spaces(pattern, expected):
    assert matches(pattern, LINE) is expected


def test_what_patterns_extract():
    assert compile_pattern("[..., request=*.html*, status_code=4*,]").extract(LINE) == {
        "$request": "GET /index.html HTTP/1.0",
        "$status_code": "404",
        "$7": "1534",
        "$1": "127.0.0.1",
        "$2": "-",
        "$3": "frank",
        "$4": "10/Oct/2000:13:25:15 -0700",
    }
    assert compile_pattern("{ $.user.id = 1 }").extract(EVENT) == {"$.user.id": "1"}


@pytest.mark.parametrize(
    "pattern, message",
    [
        ("foo:bar", "Invalid character(s) in term ':'"),
        ("level [x]", "Invalid character(s) in term '['"),
        ('{ $."detail-type" = x }', "Invalid character(s) in term '$.\"'"),
        ('{ $.someInt >= "123" }', "Invalid character(s) in term '\"123\"'"),
        ("{ $.level = ERROR", "If a filter pattern starts with '{' it must end with '}'"),
        ("[ip, user", "If a filter pattern starts with '[' it must end with ']'"),
        ('"not closed', "Invalid character(s) in term '\"'"),
        ("%a(b)%", "Invalid character(s) in term '('"),
    ],
)
def test_patterns_that_are_refused(pattern, message):
    with pytest.raises(BadPattern) as caught:
        compile_pattern(pattern)
    assert str(caught.value) == message


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_pattern_and_no_message_breaks_it(pattern, message):
    for text in (pattern, f"{{{pattern}}}", f"[{pattern}]", f"%{pattern}%"):
        try:
            compiled = compile_pattern(text)
        except BadPattern:
            continue
        assert compiled.matches(message) is (compiled.extract(message) is not None)
