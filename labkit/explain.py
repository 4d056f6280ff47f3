"""Why a call was allowed or denied: what was asked, which policies were read, what decided.

The local AWS remembers its latest decisions with everything they were made from. On any other AWS
the policy simulator is asked about the denial's own sentence, as far as that goes.

IAM User Guide, "Policy evaluation logic" and "Troubleshoot access denied error messages".
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from labkit.decisions import ELSEWHERE, REMEMBERED, caller, short
from labkit.diagrams import Diagram, label
from labkit.display import Table
from labkit.errors import LabError
from labkit.session import Lab

IDENTITY, RESOURCE = "identity-based policy", "resource-based policy"
BOUNDARY, SESSION, TRUST = "permissions boundary", "session policy", "role trust policy"

_SENTENCE = re.compile(
    r"User: (?P<principal>\S+) is not authorized to perform: (?P<action>[\w-]+:\w+)"
    r'(?: on resource: "?(?P<resource>arn:[^\s"]+)"?)?'
)
# AWS reads these first to last; a policy that is not there is not asked.
_ORDER = (RESOURCE, TRUST, IDENTITY, BOUNDARY, SESSION)
_DIFFERS = {
    "Action": "is about other actions",
    "Resource": "is about other resources",
    "Principal": "names somebody else",
}
# Condition keys are the same in any case; this is how AWS writes those that calls come with.
_WRITTEN = {
    name.lower(): name
    for name in (
        "aws:CurrentTime", "aws:EpochTime", "aws:MultiFactorAuthAge", "aws:MultiFactorAuthPresent",
        "aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalIsAWSService",
        "aws:PrincipalOrgID", "aws:PrincipalServiceName", "aws:PrincipalType", "aws:Referer",
        "aws:RequestedRegion", "aws:ResourceAccount", "aws:ResourceOrgID", "aws:SecureTransport",
        "aws:SourceAccount", "aws:SourceArn", "aws:SourceIp", "aws:TagKeys", "aws:TokenIssueTime",
        "aws:UserAgent", "aws:userid", "aws:username", "aws:ViaAWSService",
        "dynamodb:Attributes", "dynamodb:LeadingKeys", "dynamodb:ReturnValues", "dynamodb:Select",
        "s3:authType", "s3:ResourceAccount", "s3:signatureAge", "s3:signatureversion",
        "sns:Endpoint", "sns:Protocol", "sts:ExternalId", "sts:RoleSessionName",
    )
}  # fmt: skip
_PREFIXES = ("aws:PrincipalTag/", "aws:RequestTag/", "aws:ResourceTag/")


class Explanation:
    """One decision: shown as a sentence, the policies read, and what would have been enough.

    ``allowed``, ``principal``, ``action``, ``resource`` say what was asked and how it ended, ``by``
    which kind of policy decided, ``context`` the request's condition keys. ``statement`` is the
    smallest statement that would allow the call (the denying one for an explicit deny), ``where``
    the kind of policy it belongs into.
    """

    def __init__(self, told: Mapping[str, Any], note: str = "") -> None:
        self._told = told
        self.note = note
        self.outcome: str = told["outcome"]
        self.allowed = self.outcome == "allowed"
        self.principal: str = told["principal"]
        self.action: str = told["action"]
        self.resource: str = told["resource"]
        self.by: str = told["decided_by"]
        self.context = {_written(key): value for key, value in told["context"].items()}
        suggestion = told.get("suggestion") or {}
        self.statement: dict[str, Any] | None = suggestion.get("statement")
        self.where: str | None = suggestion.get("where")

    @property
    def sentence(self) -> str:
        """What happened and why, in one sentence."""
        asked = f"{caller(self.principal)}, {self.action} on {self.resource}"
        if self.allowed:
            found = [f"{d['policy']} ({d['kind']})" for d in self._told["deciding"]]
            return f"ALLOWED: {asked}; by {', '.join(found) or self.by}."
        if self.outcome == "explicitDeny":
            found = [d["policy"] for d in self._told["deciding"]]
            return f"DENIED: {asked}; {', '.join(found)} ({self.by}) has an explicit deny."
        if self.by == TRUST:
            return f"DENIED: {asked}; the {self.by} does not allow it."
        return f"DENIED: {asked}; no {self.by} allows it."

    @property
    def advice(self) -> str:
        """What would have to change for a denied call to be allowed; empty for an allowed one."""
        if self.statement is None:
            return ""
        if self.outcome == "explicitDeny":
            return f"No allow can repair this. Narrow or remove this statement of the {self.where}:"
        text = f"Enough would be this statement in the {_owner(self.where or '', self)}"
        if self._crosses:
            text += "; between accounts the resource's own policy and the caller's must both allow"
        elif self.by == IDENTITY and any(p["kind"] == RESOURCE for p in self._told["policies"]):
            text += ", or in the resource's own policy with the caller as Principal"
        unmet = [one for one in self._statements(self.by) if one["differs"] == "Condition"]
        if any(one["effect"] == "Allow" for one in unmet):
            text += ", or a request that meets the condition above"
        return f"{text}:"

    @property
    def request(self) -> Table:
        """The request as the front door saw it: who, action, resource, and its condition keys."""
        rows: list[list[Any]] = [
            ["principal", self.principal],
            ["action", self.action],
            ["resource", self.resource],
        ]
        rows += [[key, _value(value)] for key, value in sorted(self.context.items())]
        return Table(["the request", "value"], rows)

    @property
    def policies(self) -> Table:
        """Each policy in the order it was read, and what its statements came to."""
        rows: list[list[Any]] = []
        for policy in self._policies():
            name = short(policy["policy"])
            elsewhere = [one for one in policy["statements"] if one["differs"] == "Action"]
            for one in policy["statements"]:
                if one not in elsewhere:
                    rows.append([policy["kind"], name, _named(one), _came_to(one)])
            if elsewhere:
                count = len(elsewhere)
                words = "1 statement" if count == 1 else f"{count} statements"
                rows.append([policy["kind"], name, words, _DIFFERS["Action"]])
        numbered = [[number, *row] for number, row in enumerate(rows, 1)]
        return Table(["#", "kind", "policy", "statement", "came to"], numbered)

    @property
    def picture(self) -> Diagram:
        """The way of the call through the policies, as a diagram."""
        steps = self._steps()
        end = "ALLOWED" if self.allowed else "DENIED"
        who = caller(self.principal).partition(" (")[0]
        asked = f"{who}\n{self.action}\n{short(self.resource)}"
        text = "; ".join(f"{number}. {words}" for number, (words, _) in enumerate(steps, 1))
        lines = ["flowchart LR", "  accTitle: How the call was decided"]
        lines += [f"  accDescr: {_plain(text)}. {end}", f"  asked[{label(asked)}]"]
        before = "asked"
        for number, (words, decides) in enumerate(steps, 1):
            shown = words.replace(": ", ":\n")
            shape = f"{{{{{label(shown)}}}}}" if decides else f"[{label(shown)}]"
            lines.append(f"  {before} --> step{number}{shape}")
            before = f"step{number}"
        lines.append(f"  {before} ==> result([{label(end)}])")
        return Diagram("\n".join(lines), f"{asked.replace(chr(10), ', ')}. {text}. {end}.")

    def __repr__(self) -> str:
        parts = [self.sentence, str(self.policies)]
        if self.statement is not None:
            parts.append(f"{self.advice}\n{json.dumps(self.statement, indent=2)}")
        return "\n\n".join([*parts, self.note] if self.note else parts)

    def _repr_html_(self) -> str:
        text = f"<p><strong>{html.escape(self.sentence)}</strong></p>{self.policies._repr_html_()}"
        if self.statement is not None:
            statement = html.escape(json.dumps(self.statement, indent=2))
            text += f"<p>{html.escape(self.advice)}</p><pre>{statement}</pre>"
        if self.note:
            text += f"<p>{html.escape(self.note)}</p>"
        return (
            f"{text}<details><summary>The request as it was seen</summary>"
            f"{self.request._repr_html_()}</details>"
        )

    def _policies(self) -> list[Mapping[str, Any]]:
        return sorted(self._told["policies"], key=lambda policy: _ORDER.index(policy["kind"]))

    def _statements(self, kind: str) -> list[Mapping[str, Any]]:
        policies = (policy for policy in self._told["policies"] if policy["kind"] == kind)
        return [one for policy in policies for one in policy["statements"]]

    @property
    def _crosses(self) -> bool:
        """Whether caller and resource belong to different accounts."""
        ours, theirs = (self.context.get(f"aws:{one}Account") for one in ("Principal", "Resource"))
        return bool(ours and theirs) and ours != theirs and self.by != TRUST

    def _steps(self) -> list[tuple[str, bool]]:
        """What was asked one after the other, each with whether it decided."""
        denies = self.outcome == "explicitDeny"
        steps = [(f"explicit deny: {'yes, ' + self.by if denies else 'none'}", denies)]
        if denies:
            return steps
        deciding = {found["kind"] for found in self._told["deciding"]} or {self.by}
        for kind in _ORDER:
            found = [policy for policy in self._policies() if policy["kind"] == kind]
            if not found and kind != self.by:
                continue
            allows = any(one["applies"] for policy in found for one in policy["statements"])
            words = "allows" if allows else "does not allow" if found else "there is none"
            steps.append((f"{kind}: {words}", kind in deciding))
        return steps


def explain(
    lab: Lab,
    what: ClientError | str | int | None = None,
    *,
    request_id: str | None = None,
    principal: str | None = None,
) -> Explanation:
    """Why a call was decided as it was: the last denied one, or the one that *what* tells of.

    *what* is an error of boto3, AWS's sentence (*User: ... is not authorized to perform ...*) as
    it stands in a log, or the number of a decision; *request_id* names a call that may have been
    allowed, *principal* a part of the caller's ARN. On an AWS that is not the local one only the
    sentence helps: IAM's simulator is asked about it. Raises LabError when there is nothing to tell.
    """
    if isinstance(what, ClientError):
        request_id = request_id or what.response.get("ResponseMetadata", {}).get("RequestId")
    sentence = _SENTENCE.search("" if what is None else str(what))
    if lab.control is None:
        if sentence is None:
            raise LabError(ELSEWHERE)
        return _simulated(lab, sentence)
    number = what if isinstance(what, int) else _number(lab, sentence, request_id, principal)
    if number is None:
        asked_for = any(part is not None for part in (what, request_id, principal))
        raise LabError(
            "The local AWS remembers no such decision. Was it refused by IAM, and not for another "
            "reason?" if asked_for else "No call was denied so far."
        )  # fmt: skip
    return Explanation(lab.control.ask("iam/explain", {"number": number}))


def _number(
    lab: Lab, sentence: re.Match[str] | None, request_id: str | None, principal: str | None
) -> int | None:
    """The decision that is meant: of the request, or else of the sentence, or else the last denial."""
    assert lab.control is not None
    asked = {"limit": REMEMBERED, "principal": principal}
    found = list(reversed(lab.control.ask("iam/decisions", asked)))
    if request_id:
        # A call may ask for several things; the one that was refused came last.
        for one in found:
            if one["request_id"] == request_id:
                return one["number"]
    denied = [one for one in found if one["outcome"] != "allowed"]
    if sentence is not None:
        wanted = (sentence["principal"], sentence["action"].lower())
        alike = [one for one in denied if (one["principal"], one["action"].lower()) == wanted]
        same = [one for one in alike if sentence["resource"] in (None, one["resource"])]
        return (same or alike or [{"number": None}])[0]["number"]
    return denied[0]["number"] if denied and not request_id else None


def _simulated(lab: Lab, sentence: re.Match[str]) -> Explanation:
    """What IAM's simulator says of the denied call, with the policies as they are now."""
    iam = lab.client("iam")
    principal, action = sentence["principal"], sentence["action"]
    source = principal
    if ":assumed-role/" in principal:
        source = iam.get_role(RoleName=principal.split("/")[1])["Role"]["Arn"]
    service, _, name = action.partition(":")
    asked = {"PolicySourceArn": source, "ActionNames": [f"{service.lower()}:{name}"]}
    if sentence["resource"]:
        asked["ResourceArns"] = [sentence["resource"]]
    result = iam.simulate_principal_policy(**asked)["EvaluationResults"][0]
    outcome = result["EvalDecision"]
    limit = result.get("PermissionsBoundaryDecisionDetail", {})
    bounded = limit.get("AllowedByPermissionsBoundary", True) is False
    effect = "Deny" if outcome == "explicitDeny" else "Allow"
    matched = [
        {"policy": found["SourcePolicyId"], "kind": IDENTITY, "source": found["SourcePolicyType"],
         "statement": {},
         "statements": [{"index": 0, "sid": "", "effect": effect, "applies": True,
                         "differs": None, "conditions": []}]}
        for found in result.get("MatchedStatements", [])
    ]  # fmt: skip
    statement = {"Effect": "Allow", "Action": result["EvalActionName"]}
    statement["Resource"] = result.get("EvalResourceName", "*")
    by = BOUNDARY if bounded else IDENTITY
    told = {
        "outcome": outcome, "principal": principal, "action": result["EvalActionName"],
        "resource": statement["Resource"], "decided_by": by, "context": {},
        "policies": matched, "deciding": matched,
        "suggestion": {"where": by, "statement": statement} if outcome == "implicitDeny" else None,
    }  # fmt: skip
    missing = ", ".join(result.get("MissingContextValues", []))
    note = (
        "IAM's simulator said this of the principal's policies as they are now; it sees neither "
        "session policies nor the resource's own policy"
    )
    return Explanation(told, f"{note}, nor the request's {missing}." if missing else f"{note}.")


def _owner(where: str, told: Explanation) -> str:
    """Where a suggested statement belongs: the kind of policy, and whose."""
    if where in (TRUST, RESOURCE):
        return f"{where} of {short(told.resource)}"
    return f"{where} of {caller(told.principal).partition(' (')[0]}"


def _named(statement: Mapping[str, Any]) -> str:
    name = statement["sid"] or f"number {statement['index'] + 1}"
    return f"{statement['effect']}, {name}"


def _came_to(statement: Mapping[str, Any]) -> str:
    if statement["applies"]:
        return "applies: denies" if statement["effect"] == "Deny" else "applies: allows"
    if statement["differs"] == "Resource" and statement.get("statement", {}).get("Resource"):
        about = statement["statement"]["Resource"]
        named = [about] if isinstance(about, str) else about
        return f"{_DIFFERS['Resource']}: {', '.join(map(short, named))}"
    if statement["differs"] != "Condition":
        return _DIFFERS[statement["differs"]]
    unmet = [
        f"{one['key']} is {_value(one['given'])}, {one['operator']} wants {_value(one['wanted'])}"
        for one in statement["conditions"]
        if not one["met"]
    ]
    return f"condition not met: {'; '.join(unmet)}"


def _value(value: Any) -> str:
    if value is None:
        return "not in the request"
    if isinstance(value, (list, tuple)):
        return " or ".join(map(str, value)) if value else "empty"
    return str(value)


def _written(key: str) -> str:
    for prefix in _PREFIXES:
        if key.startswith(prefix.lower()):
            return prefix + key[len(prefix) :]
    return _WRITTEN.get(key, key)


def _plain(text: str) -> str:
    """*text* in one line, without what mermaid would read as its own signs."""
    return re.sub(r"[{};\n]+", ",", text)
