"""Patterns of actions, resources, ARNs and strings."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.localaws.iam.matching import ArnLike, Glob, Pattern, resource_pattern, tokenize


def resolve(key):
    return {"aws:username": "bob*", "aws:principaltag/team": "yellow"}.get(key)


def fits(pattern, arn, *, variables=True):
    return resource_pattern(pattern, variables=variables).matches(arn, resolve)


@pytest.mark.parametrize(
    ("pattern", "arn", "expected"),
    [
        ("*", "arn:aws:s3:::b", True),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a/b:c", True),
        ("arn:aws:s3:::b/*.json", "arn:aws:s3:::b/2026-11-22T10:00:00.json", True),
        ("arn:aws:s3:::b", "arn:aws:s3:::B", False),
        # "IAM JSON policy elements: Resource": the objects the two stars do and do not match.
        ("arn:aws:s3:::DOC/*/test/*", "arn:aws:s3:::DOC/1/test/object.jpg", True),
        ("arn:aws:s3:::DOC/*/test/*", "arn:aws:s3:::DOC/1/2/3/test/4/object.jpg", True),
        ("arn:aws:s3:::DOC/*/test/*", "arn:aws:s3:::DOC/1///test///object.jpg", True),
        ("arn:aws:s3:::DOC/*/test/*", "arn:aws:s3:::DOC//test/object.jpg", True),
        ("arn:aws:s3:::DOC/*/test/*", "arn:aws:s3:::DOC/1/test/", True),
        ("arn:aws:s3:::DOC/*/test/*", "arn:aws:s3:::DOC/1-test/object.jpg", False),
        ("arn:aws:s3:::DOC/*/test/*", "arn:aws:s3:::DOC/test/object.jpg", False),
        ("arn:aws:s3:::DOC/*/test/*", "arn:aws:s3:::DOC/1/2/test.jpg", False),
        # A star that ends a segment may reach over the colon, one inside it may not.
        ("arn:aws:sqs:us-east-1:*", "arn:aws:sqs:us-east-1:111122223333:q", True),
        ("arn:aws:dynamodb:*:*:table/T", "arn:aws:dynamodb:us-east-1:1:table/T", True),
        ("arn:aws:dynamodb:us-*-1:1:table/T", "arn:aws:dynamodb:us-east-1:1:table/T", True),
        ("arn:aws:dynamodb:us-*-1:1:table/T", "arn:aws:dynamodb:us-e:1-1:1:table/T", False),
        ("arn:aws:dynamodb:us-east-?:1:table/T", "arn:aws:dynamodb:us-east-1:1:table/T", True),
        ("arn:aws:dynamodb:us-east?1:1:table/T", "arn:aws:dynamodb:us-east:1:1:table/T", False),
        ("arn:aws:s3:::b/?", "arn:aws:s3:::b/", False),
        ("arn:aws:s3:::b/??", "arn:aws:s3:::b/a:", True),
        # Variables, their defaults, and characters that stand for themselves.
        ("arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/bob*/k", True),
        ("arn:aws:s3:::b/${aws:UserName}/*", "arn:aws:s3:::b/bob*/k", True),
        ("arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/bobby/k", False),
        ("arn:aws:s3:::b-${aws:PrincipalTag/team, 'all'}", "arn:aws:s3:::b-yellow", True),
        ("arn:aws:s3:::b-${aws:PrincipalTag/gone, 'company-wide'}", "arn:aws:s3:::b-company-wide", True),
        ("arn:aws:s3:::b-${aws:PrincipalTag/gone}", "arn:aws:s3:::b-", False),
        ("arn:aws:s3:::b/${*}", "arn:aws:s3:::b/*", True),
        ("arn:aws:s3:::b/${*}", "arn:aws:s3:::b/x", False),
        ("arn:aws:s3:::b/${?}${$}", "arn:aws:s3:::b/?$", True),
        # No variable counts before the fifth colon.
        ("arn:aws:sqs:us-east-1:${aws:username}:q", "arn:aws:sqs:us-east-1:bob*:q", False),
    ],
)  # fmt: skip
def test_resources(pattern, arn, expected):
    assert fits(pattern, arn) is expected


def test_variables_are_text_in_the_old_policy_version():
    literal = "arn:aws:s3:::b/${aws:username}"
    assert fits(literal, literal, variables=False)
    assert not fits(literal, "arn:aws:s3:::b/bob*", variables=False)


def test_arn_operators_compare_component_by_component():
    """The guide's example of where StringLike matches and ArnLike does not."""
    pattern = "arn:aws:someservice:*:111122223333:finance/*"
    value = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"
    assert Pattern(pattern, Glob).matches(value, resolve)
    assert not Pattern(pattern, ArnLike).matches(value, resolve)


alphabet = st.text("ab:*?$", max_size=8)


@settings(max_examples=600, deadline=None)
@given(st.text("ab:*?", max_size=8), st.text("ab:", max_size=8))
def test_globs_match_what_regular_expressions_match(pattern, text):
    regex = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    expected = re.fullmatch(regex, text) is not None
    assert Glob(tokenize(pattern, variables=True)).matches(text) is expected


@settings(max_examples=400, deadline=None)
@given(st.lists(st.text("ab*?", max_size=4), min_size=6, max_size=7), st.text("ab:", max_size=12))
def test_resources_match_segment_by_segment(parts, text):
    """Against a regular expression written from the rules."""
    pattern = ":".join(parts)
    segments = pattern.split(":", 5)
    regex = ""
    for number, segment in enumerate(segments):
        regex += ":" if number else ""
        for at, c in enumerate(re.sub(r"\*+", "*", segment)):
            last = at == len(re.sub(r"\*+", "*", segment)) - 1
            if c in "*?":
                regex += ("." if number == 5 or (c == "*" and last) else "[^:]") + "*" * (c == "*")
            else:
                regex += re.escape(c)
    expected = re.fullmatch(regex, text) is not None
    assert resource_pattern(pattern, variables=True).matches(text, resolve) is expected


@pytest.mark.parametrize(
    "pattern", ["*" * 5000, "*a" * 5000 + "b", "?*" * 5000, "*a?" * 3000 + "b"]
)
def test_no_pattern_hangs(pattern):
    text = "a" * 8_000
    started = time.process_time()
    for source in (pattern, "arn:aws:x*y:" + pattern):
        resource_pattern(source, variables=True).matches("arn:aws:xy:" + text, resolve)
        Glob(tokenize(source, variables=True)).matches(text)
    assert time.process_time() - started < 2
