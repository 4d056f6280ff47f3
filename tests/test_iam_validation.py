"""Documents IAM refuses, and the sentence it refuses them with."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moto.iam.exceptions import MalformedPolicyDocument
from moto.iam.policy_validation import IAMPolicyDocumentValidator

from labkit.localaws.iam.positions import statement_spans
from labkit.localaws.iam.validation import (
    INLINE,
    MANAGED,
    TRUST,
    named_identities,
    problem,
    size,
)

GOOD = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"}
LEGACY = "The policy failed legacy parsing"
SYNTAX = "Syntax errors in policy."


def identity(*statements, **top):
    return json.dumps({"Version": "2012-10-17", **top, "Statement": list(statements)})


def changed(**elements):
    statement = {**GOOD, **elements}
    return identity({key: value for key, value in statement.items() if value is not None})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (identity(GOOD), None),
        ("", SYNTAX),
        ("not json", SYNTAX),
        ("[]", SYNTAX),
        ("{}", SYNTAX),
        (identity(), SYNTAX),
        (identity(GOOD, Extra=1), SYNTAX),
        (identity(GOOD, Version="2012-10-18"), SYNTAX),
        (identity(GOOD, Version="2008-10-17"), "Policy document must be version 2012-10-17 or greater."),
        (json.dumps({"Statement": [GOOD]}), "Policy document must be version 2012-10-17 or greater."),
        (changed(Effect=None), SYNTAX),
        (changed(Effect="Permit"), SYNTAX),
        (changed(Effect="allow"), LEGACY),
        (changed(Action=None), "Policy statement must contain actions."),
        (changed(Action=[]), "Policy statement must contain actions."),
        (changed(Action=5), SYNTAX),
        (changed(NotAction="s3:*"), SYNTAX),
        (changed(Action="GetObject"), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (changed(Action="s3:Get:Object"), "Actions/Condition can contain only one colon."),
        (changed(Action="a b:GetObject"), "Vendor a b is not valid"),
        (changed(Resource=None), "Policy statement must contain resources."),
        (changed(Resource="bucket"), 'Resource bucket must be in ARN format or "*".'),
        (changed(Resource="arn:aws:s3::example"), LEGACY),
        (changed(Resource="arn:error:s3:::example"), 'Partition "error" is not valid for resource "arn:error:s3:*:*:example".'),
        (changed(Resource="arn:aws:s3*:::example"), "Resource vendor must be fully qualified and cannot contain regexes."),
        (changed(Resource="arn:aws:s3:us-east-1::example"), "Resource arn:aws:s3:us-east-1::example can not contain region information."),
        (changed(Resource="arn:aws:iam:us-east-1:1:user/x"), "IAM resource arn:aws:iam:us-east-1:1:user/x cannot contain region information."),
        (changed(Principal="*"), "Policy document should not specify a principal."),
        (changed(Condition={"StringEqualz": {"aws:username": "x"}}), SYNTAX),
        (changed(Condition={"DateLessThan": {"aws:CurrentTime": "soon"}}), LEGACY),
        (changed(Condition={"StringEquals": "x"}), SYNTAX),
        (changed(Condition={"NumericLessThan": {"s3:max-keys": 10}}), None),
        (identity({**GOOD, "Sid": "A"}, {**GOOD, "Sid": "A"}), "Statement IDs (SID) in a single policy must be unique."),
        (changed(Sid="with space"), LEGACY),
        ('{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Effect":"Deny","Action":"s3:*","Resource":"*"}]}', SYNTAX),
        ('{"Statement":' + "[" * 100_000 + "]" * 100_000 + "}", SYNTAX),
        (changed(Resource="arn:aws:s3:::b/中").encode().decode("unicode_escape"), SYNTAX),
    ],
)  # fmt: skip
def test_identity_policies(text, message):
    assert problem(text, MANAGED) == message


def test_inline_policies_may_have_the_old_version():
    assert problem(identity(GOOD, Version="2008-10-17"), INLINE) is None
    assert problem(json.dumps({"Statement": GOOD}), INLINE) is None


TRUSTED = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
           "Action": "sts:AssumeRole"}  # fmt: skip


def trust(**elements):
    statement = {**TRUSTED, **elements}
    return identity({key: value for key, value in statement.items() if value is not None})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (trust(), None),
        (json.dumps({"Version": "2008-10-17", "Statement": TRUSTED}), None),
        (trust(Principal={"AWS": "*"}), None),
        (trust(Principal={"AWS": ["123456789012", "arn:aws:iam::123456789012:role/a/b"]}), None),
        (trust(Action=["sts:AssumeRole", "sts:TagSession"]), None),
        ("nope", "This policy contains invalid Json"),
        (json.dumps({"Version": "2012-10-17", "Statement": []}), "Could not parse the policy: Statement is empty!"),
        (trust(Principal=None), "Missing required field Principal"),
        (trust(Principal={}), "Missing required field Principal cannot be empty!"),
        (trust(Principal="*"), 'AssumeRolepolicy contained an invalid principal: "STAR":"*".'),
        (trust(Principal={"AWS": "arn:aws:iam::123456789012:user/*"}), 'Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:user/*"'),
        (trust(Principal={"Service": "lambda"}), 'Invalid principal in policy: "SERVICE":"lambda"'),
        (trust(Action="s3:GetObject"), "AssumeRole policy may only specify STS AssumeRole actions."),
        (trust(Action=None), "Missing required field Action"),
        (trust(Effect=None), "Missing required field Effect"),
        (trust(Resource="*"), "Has prohibited field Resource"),
        (trust(Foo="*"), "Unknown field Foo"),
        (trust(Principal=None, NotPrincipal={"AWS": "*"}), "Allow with NotPrincipal is not allowed."),
        (trust(Condition={"Bogus": {"a:b": "c"}}), "Syntax error in policy."),
    ],
)  # fmt: skip
def test_trust_policies(text, message):
    assert problem(text, TRUST) == message


def test_identities_named_by_a_trust_policy():
    text = trust(Principal={"AWS": ["arn:aws:iam::123456789012:user/a", "123456789012", "*"]})
    assert list(named_identities(text)) == ["arn:aws:iam::123456789012:user/a"]


def test_white_space_does_not_count():
    assert size(' {\n "a" : "b c" }\t') == len('{"a":"bc"}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["Version", "Statement", "Effect", "Action", "Resource", "Condition",
                         "Principal", "Sid", "AWS", "StringEquals"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(json_values)
def test_no_document_breaks_the_checks(value):
    text = json.dumps(value)
    for kind in (MANAGED, INLINE, TRUST):
        assert problem(text, kind) is None or isinstance(problem(text, kind), str)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(list(GOOD)), st.sampled_from(
    ["Allow", "deny", "s3:*", "s3", "a:b:c", "*", "arn:aws:s3:::b", "arn:x:s3:::b", "arn:aws:s3::b", ""]), max_size=3))  # fmt: skip
def test_what_moto_refuses_is_refused(changes):
    """moto's checks were made from recorded answers of IAM: what they refuse is refused here."""
    text = identity({**GOOD, **changes})
    try:
        IAMPolicyDocumentValidator(text).validate()
    except MalformedPolicyDocument:
        assert problem(text, MANAGED) is not None


def test_positions_are_those_of_iam():
    """The AWS CLI's example of simulate-custom-policy: 1:38 to 1:167."""
    text = (
        '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:*",'
        '"Resource":"*","Condition":{"DateGreaterThan":{"aws:CurrentTime":'
        '"2015-08-16T12:00:00Z"}}}}'
    )
    (span,) = statement_spans(text)
    assert (span.start, span.end) == ((1, 38), (1, 167))


def test_positions_in_a_document_of_many_lines():
    text = json.dumps({"Id": 'x"{', "Statement": [GOOD, GOOD], "Version": "2012-10-17"}, indent=2)
    lines = text.split("\n")
    for span in statement_spans(text):
        assert lines[span.start[0] - 1][: span.start[1] - 1].strip() == "{"
        assert lines[span.end[0] - 1][: span.end[1] - 1].strip() == "}"
    assert statement_spans("nothing") == statement_spans('{"Statement": [') == []
