"""What IAM checks before it takes a policy document, and the sentence it refuses one with.

:func:`problem` answers None or the message of ``MalformedPolicyDocument``. The order of the checks
and the sentences are those IAM answers with: one set for identity policies, one for role trust
policies. Follows the IAM User Guide, "Grammar of the IAM JSON policy language", and "IAM and AWS
STS quotas" for the sizes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from labkit.localaws.iam.conditions import Condition, ConditionSyntax
from labkit.localaws.iam.policy import LATEST, OLD, condition_entries, statement_list

MANAGED, INLINE, TRUST, SESSION = "managed", "inline", "trust", "session"

MANAGED_LIMIT = 6144
TRUST_LIMIT = 2048
INLINE_LIMITS = {"user": 2048, "group": 5120, "role": 10240}

_SYNTAX = "Syntax errors in policy."
_LEGACY = "The policy failed legacy parsing"
ELEMENTS = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource",
    "NotResource", "Condition",
}  # fmt: skip
# Letters, digits and the white space of JSON, up to Latin-1, as the quotas page has it.
_CHARACTERS = re.compile(r"[\t\n\r\x20-\xff]*")
_SID = re.compile(r"[A-Za-z0-9]*")
_VENDOR = re.compile(r"[A-Za-z0-9.-]+")
_PARTITION = re.compile(r"aws(-[a-z0-9]+)*|\*")
_IAM_PATHS = (
    "user/", "federated-user/", "role/", "group/", "instance-profile/", "mfa/",
    "server-certificate/", "policy/", "sms-mfa/", "saml-provider/", "oidc-provider/", "report/",
    "access-report/",
)  # fmt: skip
SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]*\.(amazonaws\.com(\.cn)?|amazon\.com|aws\.internal)")


class _DuplicateKey(ValueError):
    pass


def size(text: str) -> int:
    """The size of a document as quotas count it: characters besides white space."""
    return len("".join(text.split()))


def problem(text: str, kind: str) -> str | None:
    """Why IAM would not take the document *text* as a policy of *kind*, or None.

    Kinds are MANAGED, INLINE, TRUST and SESSION.
    """
    if kind == TRUST:
        return _trust_problem(text)
    document = _read(text)
    if document is None:
        return _SYNTAX
    statements = statement_list(document)
    if not _top_is_sound(document) or not statements:
        return _SYNTAX
    for statement in statements:
        if not _is_sound(statement):
            return _SYNTAX
    if kind == MANAGED and document.get("Version") != LATEST:
        return f"Policy document must be version {LATEST} or greater."
    for check in (_legacy_problem, sid_problem, _missing_actions, _resource_problem,
                  _action_problem, _missing_resources, _principal_problem):  # fmt: skip
        message = check(statements)
        if message:
            return message
    return None


def _read(text: str) -> Mapping[str, Any] | None:
    if not _CHARACTERS.fullmatch(text):
        return None
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateKey
    return result


def _top_is_sound(document: Mapping[str, Any]) -> bool:
    return (
        set(document) <= {"Version", "Id", "Statement"}
        and document.get("Version", LATEST) in (LATEST, OLD)
        and isinstance(document.get("Id", ""), str)
        and isinstance(document.get("Statement"), dict | list)
    )


def _is_sound(statement: Any) -> bool:
    """Whether a statement has the elements of the grammar, each of the right type."""
    if not isinstance(statement, dict) or not set(statement) <= ELEMENTS:
        return False
    if ("Action" in statement and "NotAction" in statement) or (
        "Resource" in statement and "NotResource" in statement
    ):
        return False
    effect = statement.get("Effect")
    if not isinstance(effect, str) or effect.lower() not in ("allow", "deny"):
        return False
    if not isinstance(statement.get("Sid", ""), str):
        return False
    for name in ("Action", "NotAction", "Resource", "NotResource"):
        value = statement.get(name, "")
        if not isinstance(value, str) and not (
            isinstance(value, list) and all(isinstance(entry, str) for entry in value)
        ):
            return False
    return conditions_are_sound(statement)


def conditions_are_sound(statement: Mapping[str, Any]) -> bool:
    """Whether the Condition block of a statement is one."""
    if "Condition" not in statement:
        return True
    block = statement["Condition"]
    if not isinstance(block, dict):
        return False
    for keys in block.values():
        if not isinstance(keys, dict):
            return False
        for values in keys.values():
            entries = values if isinstance(values, list) else [values]
            if not all(isinstance(entry, str | bool | int | float) for entry in entries):
                return False
    for operator, key, values in condition_entries(statement):
        # An operator IAM does not know is an error of syntax, a bad value one of parsing.
        try:
            Condition(operator, key, values)
        except ConditionSyntax as error:
            if str(error) == operator:
                return False
    return True


def _legacy_problem(statements: list[Any]) -> str | None:
    for statement in statements:
        if statement["Effect"] not in ("Allow", "Deny"):
            return _LEGACY
        if not _SID.fullmatch(statement.get("Sid", "")):
            return _LEGACY
        for operator, key, values in condition_entries(statement):
            try:
                Condition(operator, key, values)
            except ConditionSyntax:
                return _LEGACY
        for resource in entries_of(statement, "Resource", "NotResource"):
            if resource.startswith("arn:") and resource.count(":") < 5 and "::" in resource:
                return _LEGACY
            if resource.count(":") >= 2 and resource.split(":")[2] == "":
                return _LEGACY
    return None


def sid_problem(statements: list[Any]) -> str | None:
    """IAM's sentence when two statements have the same id."""
    sids = [statement["Sid"] for statement in statements if statement.get("Sid")]
    if len(set(sids)) != len(sids):
        return "Statement IDs (SID) in a single policy must be unique."
    return None


def _missing_actions(statements: list[Any]) -> str | None:
    if all(entries_of(statement, "Action", "NotAction") for statement in statements):
        return None
    return "Policy statement must contain actions."


def _missing_resources(statements: list[Any]) -> str | None:
    if all(entries_of(statement, "Resource", "NotResource") for statement in statements):
        return None
    return "Policy statement must contain resources."


def _principal_problem(statements: list[Any]) -> str | None:
    if any("Principal" in each or "NotPrincipal" in each for each in statements):
        return "Policy document should not specify a principal."
    return None


def _action_problem(statements: list[Any]) -> str | None:
    for statement in statements:
        for action in entries_of(statement, "Action", "NotAction"):
            if action == "*":
                continue
            vendor, colon, rest = action.partition(":")
            if not colon:
                return "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
            if ":" in rest:
                return "Actions/Condition can contain only one colon."
            if vendor != "*" and not _VENDOR.fullmatch(vendor):
                return f"Vendor {vendor} is not valid"
    return None


def _resource_problem(statements: list[Any]) -> str | None:
    for statement in statements:
        for resource in entries_of(statement, "Resource", "NotResource"):
            message = _arn_problem(resource)
            if message:
                return message
    return None


def _arn_problem(resource: str) -> str | None:
    if resource == "*":
        return None
    if ":" not in resource or not resource.startswith("arn:"):
        return f'Resource {resource} must be in ARN format or "*".'
    parts = resource.split(":", 5)
    partition = parts[1]
    if not _PARTITION.fullmatch(partition):
        shown = [*parts[2:6], *"****"][:4]
        return (
            f'Partition "{partition}" is not valid for resource '
            f'"arn:{partition}:{":".join(part or "*" for part in shown)}".'
        )
    vendor = parts[2] if len(parts) > 2 else ""
    if not vendor or re.search(r"[*?]", vendor) or len(parts) < 4:
        return "Resource vendor must be fully qualified and cannot contain regexes."
    region, rest = parts[3], parts[5] if len(parts) > 5 else ""
    if vendor == "iam":
        if region:
            return f"IAM resource {resource} cannot contain region information."
        if rest not in ("*", "root") and not rest.startswith((*_IAM_PATHS, "*")):
            paths = ", ".join(_IAM_PATHS)
            return f'IAM resource path must either be "*" or start with {paths}.'
    known = rest.startswith(("accesspoint/", "job/", "access-grants/", "storage-lens/", "*"))
    if vendor == "s3" and region and not known:
        return f"Resource {resource} can not contain region information."
    return None


def entries_of(statement: Mapping[str, Any], *names: str) -> list[str]:
    """The entries of the first element of these names that a statement has."""
    for name in names:
        if name in statement:
            value = statement[name]
            return [value] if isinstance(value, str) else list(value)
    return []


# -- role trust policies -----------------------------------------------------------------------


def _trust_problem(text: str) -> str | None:
    document = _read(text)
    if document is None:
        return "This policy contains invalid Json"
    for name in document:
        if name not in ("Version", "Id", "Statement"):
            return f"Unknown field {name}"
    if document.get("Version", OLD) not in (LATEST, OLD):
        return "The policy must contain a valid version string"
    statements = statement_list(document)
    if not statements:
        return "Could not parse the policy: Statement is empty!"
    for statement in statements:
        message = _trust_statement_problem(statement)
        if message:
            return message
    if sid_problem(statements):
        return "The Statement Ids in the policy are not unique"
    return None


def _trust_statement_problem(statement: Any) -> str | None:
    if not isinstance(statement, dict):
        return "Syntax error in policy."
    for name in statement:
        if name not in ELEMENTS:
            return f"Unknown field {name}"
    effect = statement.get("Effect")
    if effect is None:
        return "Missing required field Effect"
    if effect not in ("Allow", "Deny"):
        return f"Invalid effect: {effect}"
    if "NotPrincipal" in statement:
        if effect == "Allow":
            return "Allow with NotPrincipal is not allowed."
        return "AssumeRole policy must not contain NotPrincipal field."
    message = _trust_principal_problem(statement)
    if message:
        return message
    if not _is_sound({**statement, "Principal": {}}):
        return "Syntax error in policy."
    for operator, key, values in condition_entries(statement):
        try:
            Condition(operator, key, values)
        except ConditionSyntax:
            return "Syntax error in policy."
    actions = entries_of(statement, "Action", "NotAction")
    if not actions:
        return "Missing required field Action"
    if any(not action.lower().startswith("sts:") for action in actions):
        return "AssumeRole policy may only specify STS AssumeRole actions."
    if "Resource" in statement:
        return "Has prohibited field Resource"
    if "NotResource" in statement:
        return "AssumeRole policy must not contain resources."
    return None


def _trust_principal_problem(statement: Mapping[str, Any]) -> str | None:
    if "Principal" not in statement:
        return "Missing required field Principal"
    element = statement["Principal"]
    if element == "*":
        return 'AssumeRolepolicy contained an invalid principal: "STAR":"*".'
    if not isinstance(element, dict):
        return "Principal must be a JSON object."
    if not element:
        return "Missing required field Principal cannot be empty!"
    for kind, names in element.items():
        if kind not in ("AWS", "Service", "Federated"):
            return f'Invalid principal in policy: "{kind.upper()}"'
        for name in names if isinstance(names, list) else [names]:
            if not isinstance(name, str):
                return "Syntax error in policy."
            if kind == "Service" and not SERVICE_NAME.fullmatch(name):
                return f'Invalid principal in policy: "SERVICE":"{name}"'
            if kind == "AWS" and not is_aws_principal(name):
                return f'Invalid principal in policy: "AWS":"{name}"'
    return None


_AWS_PRINCIPAL = re.compile(
    r"\*|\d{12}|arn:aws[a-z-]*:(iam::\d{12}:(root|(user|role)/[!-~]+)"
    r"|sts::\d{12}:(assumed-role|federated-user)/[^*]+)|A(ID|RO)A[A-Z0-9]{12,}"
)


def is_aws_principal(name: str) -> bool:
    """Whether *name* can stand for an AWS principal: an account, identity, session or star."""
    # A star stands for everybody or for nothing: never for a part of an ARN.
    return bool(_AWS_PRINCIPAL.fullmatch(name)) and (name == "*" or "*" not in name)


def named_identities(text: str) -> Iterator[str]:
    """The ARNs of users and roles that a trust policy names as principals."""
    document = _read(text) or {}
    for statement in statement_list(document):
        element = statement.get("Principal") if isinstance(statement, dict) else None
        names = element.get("AWS", []) if isinstance(element, dict) else []
        for name in names if isinstance(names, list) else [names]:
            if isinstance(name, str) and re.fullmatch(r"arn:aws:iam::\d{12}:(user|role)/.+", name):
                yield name
