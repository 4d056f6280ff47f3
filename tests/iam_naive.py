"""A second evaluator of policies, written from the IAM User Guide alone and for clarity alone.

It works on the JSON as it stands, knows nothing of the engine under test and shares no code with
it: whole policies are looked at again for every question, wildcards are matched by recursion.
"""

from __future__ import annotations

import base64
import ipaddress
from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=200_000)
def like(pattern: str, text: str) -> bool:
    if pattern == "":
        return text == ""
    if pattern[0] == "*":
        return like(pattern[1:], text) or (text != "" and like(pattern, text[1:]))
    if text == "":
        return False
    if pattern[0] == "?" or pattern[0] == text[0]:
        return like(pattern[1:], text[1:])
    return False


def as_list(value):
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def fill_in(text, context, version):
    """The text with policy variables replaced, and which characters are literal; None if one
    has no value. Wildcards of the text itself are marked \\x00 (star) and \\x01 (question mark)."""
    out = ""
    while text:
        if version == "2012-10-17" and text.startswith("${") and "}" in text:
            name = text[2 : text.index("}")]
            text = text[text.index("}") + 1 :]
            default = None
            if ", '" in name and name.endswith("'"):
                name, default = name[:-1].split(", '", 1)
            if name in ("*", "?", "$"):
                out += name
                continue
            value = {key.lower(): v for key, v in context.items()}.get(name.lower())
            if isinstance(value, tuple):
                value = None
            value = default if value is None else value
            if value is None:
                return None
            out += value
        else:
            out += {"*": "\x00", "?": "\x01"}.get(text[0], text[0])
            text = text[1:]
    return out


@lru_cache(maxsize=200_000)
def like_marked(pattern: str, text: str) -> bool:
    if pattern == "":
        return text == ""
    if pattern[0] == "\x00":
        return like_marked(pattern[1:], text) or (text != "" and like_marked(pattern, text[1:]))
    if text == "":
        return False
    if pattern[0] == "\x01" or pattern[0] == text[0]:
        return like_marked(pattern[1:], text[1:])
    return False


def resource_fits(pattern, resource, context, version):
    if pattern == "*":
        return True
    marked = fill_in(pattern, context, version)
    return marked is not None and like_marked(marked, resource)


def to_seconds(text):
    if text.isdigit() and len(text) != 4:
        return int(text)
    for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d", "%Y"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
        except ValueError:
            pass
    return None


def arn_like(marked, text):
    if marked == "\x00":
        return True
    left, right = marked.split(":", 5), text.split(":", 5)
    return (
        len(left) == len(right) == 6
        and sum(like_marked(a, b) for a, b in zip(left, right, strict=True)) == 6
    )


def one_value_fits(operator, wanted, given, context, version):
    """One policy value against one request value for a positive operator (lower case)."""
    if operator.startswith("string"):
        marked = fill_in(wanted, context, version)
        if marked is None:
            return False
        if operator == "stringlike":
            return like_marked(marked, given)
        plain = marked.replace("\x00", "*").replace("\x01", "?")
        if operator == "stringequalsignorecase":
            return plain.lower() == given.lower()
        return plain == given
    if operator in ("arnlike", "arnequals"):
        marked = fill_in(wanted, context, version)
        return marked is not None and arn_like(marked, given)
    if operator == "bool":
        return wanted.lower() == given.lower()
    if operator == "binaryequals":
        return base64.b64decode(wanted) == base64.b64decode(given)
    if operator == "ipaddress":
        return ipaddress.ip_address(given) in ipaddress.ip_network(wanted, strict=False)
    if operator.startswith("date"):
        a, b = to_seconds(given), to_seconds(wanted)
        comparison = operator[4:]
    else:
        a, b = float(given), float(wanted)
        comparison = operator[7:]
    if comparison == "equals":
        return a == b
    if comparison == "lessthan":
        return a < b
    if comparison == "lessthanequals":
        return a <= b
    if comparison == "greaterthan":
        return a > b
    return a >= b


def condition_met(written_operator, key, wanted, context, version):
    operator = written_operator.lower()
    quantifier = ""
    if ":" in operator:
        quantifier, operator = operator.split(":")
    if_exists = operator.endswith("ifexists")
    operator = operator.replace("ifexists", "")
    given = {name.lower(): value for name, value in context.items()}.get(key.lower())
    if operator == "null":
        return all((given is None) == (str(want).lower() == "true") for want in as_list(wanted))
    negative = "not" in operator
    positive = operator.replace("not", "")
    if given is None or given == ():
        if quantifier == "foranyvalue":
            return if_exists
        return negative or if_exists or quantifier == "forallvalues"

    def fits(value):
        hit = False
        for want in as_list(wanted):
            hit = hit or one_value_fits(positive, want, value, context, version)
        return hit

    values = list(given) if isinstance(given, tuple) else [given]
    results = [fits(value) for value in values]
    if quantifier == "forallvalues":
        return (not any(results)) if negative else all(results)
    if quantifier == "foranyvalue":
        return (not all(results)) if negative else any(results)
    return (not any(results)) if negative else any(results)


def statement_matches(statement, version, action, resource, context):
    if "Action" in statement:
        if not any(like(p.lower(), action.lower()) for p in as_list(statement["Action"])):
            return False
    elif any(like(p.lower(), action.lower()) for p in as_list(statement["NotAction"])):
        return False
    if "Resource" in statement:
        patterns = as_list(statement["Resource"])
        if not any(resource_fits(p, resource, context, version) for p in patterns):
            return False
    elif "NotResource" in statement:
        patterns = as_list(statement["NotResource"])
        if any(resource_fits(p, resource, context, version) for p in patterns):
            return False
    for operator, keys in statement.get("Condition", {}).items():
        for key, wanted in keys.items():
            if not condition_met(operator, key, wanted, context, version):
                return False
    return True


def how_named(element, who):
    """'' | 'account' | 'entity' | 'self' for a Principal element and a caller (a dict)."""
    if element == "*":
        return "self"
    best = ""
    for kind, names in element.items():
        for name in as_list(names):
            if kind == "AWS" and name == "*":
                return "self"
            if who["kind"] in ("service", "anonymous"):
                if kind == "Service" and who["kind"] == "service" and name == who["name"]:
                    return "self"
                continue
            if kind != "AWS":
                continue
            if name == who["arn"]:
                return "self"
            if name == who["entity"]:
                best = "entity"
            elif name in (who["account"], f"arn:aws:iam::{who['account']}:root") and best == "":
                best = "self" if who["kind"] == "root" else "account"
    return best


def not_named(element, who, effect):
    """Whether a NotPrincipal statement concerns the caller."""
    names = {name for names in element.values() for name in as_list(names)}
    if element == "*" or "*" in names:
        return False
    if who["kind"] == "service":
        return who["name"] not in names
    if who["kind"] == "anonymous":
        return True
    account = bool({who["account"], f"arn:aws:iam::{who['account']}:root"} & names)
    identities = [account]
    if who["kind"] != "root":
        identities += [who["arn"] in names]
        if who["entity"] and who["entity"] != who["arn"]:
            identities += [who["entity"] in names]
    if effect == "Deny":
        return not all(identities)
    return not any(identities)


def statements_of(documents):
    for document in documents:
        version = document.get("Version", "2008-10-17")
        for statement in as_list(document["Statement"]):
            yield version, statement


def decide(case):
    """'allowed', 'explicitDeny' or 'implicitDeny' for a case: a dict with ``identity``,
    ``boundary``, ``session``, ``resource`` (lists of documents, or None), ``who``, ``action``,
    ``resource_arn``, ``owner``, ``must`` (resource policy must allow) and ``context``."""
    who, context = case["who"], case["context"]
    action, arn = case["action"], case["resource_arn"]

    def denied(documents, by_principal):
        for version, statement in statements_of(documents or []):
            if statement["Effect"] != "Deny":
                continue
            if by_principal and not concerned(statement):
                continue
            if statement_matches(statement, version, action, arn, context):
                return True
        return False

    def concerned(statement):
        if "Principal" in statement:
            return how_named(statement["Principal"], who) != ""
        if "NotPrincipal" in statement:
            return not_named(statement["NotPrincipal"], who, statement["Effect"])
        return False

    def allowed(documents):
        return any(
            statement["Effect"] == "Allow"
            and statement_matches(statement, version, action, arn, context)
            for version, statement in statements_of(documents)
        )

    def granted():
        """How the resource policy grants: the strongest way it names the caller."""
        order = ["", "account", "entity", "self"]
        best = ""
        for version, statement in statements_of(case["resource"] or []):
            if statement["Effect"] != "Allow":
                continue
            if not statement_matches(statement, version, action, arn, context):
                continue
            if "Principal" in statement:
                way = how_named(statement["Principal"], who)
            elif "NotPrincipal" in statement:
                way = "self" if not_named(statement["NotPrincipal"], who, "Allow") else ""
            else:
                way = ""
            if order.index(way) > order.index(best):
                best = way
        return best

    for name in ("identity", "boundary", "session"):
        if denied(case[name], False):
            return "explicitDeny"
    if denied(case["resource"], True):
        return "explicitDeny"

    way = granted()
    same = case["owner"] in ("", who["account"])
    if who["kind"] in ("service", "anonymous"):
        return "allowed" if way == "self" else "implicitDeny"
    if who["kind"] == "root":
        if same and not case["must"]:
            return "allowed"
        return "allowed" if way else "implicitDeny"
    if same and way == "self":
        return "allowed"
    by_identity = allowed(case["identity"]) or (same and way == "entity")
    within = all(allowed(case[name]) for name in ("boundary", "session") if case[name] is not None)
    by_resource = way != "" or (same and not case["must"])
    return "allowed" if by_identity and within and by_resource else "implicitDeny"
