"""How functions are named in requests: by name, partial ARN or ARN, each with a qualifier.

AWS Lambda API Reference, "Data types" and every operation's FunctionName parameter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from labkit.localaws.functions.errors import invalid, not_found

LATEST = "$LATEST"
_PARTS = re.compile(
    r"(arn:(?P<partition>aws[a-zA-Z-]*)?:lambda:)?"
    r"((?P<region>(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}):)?"
    r"((?P<account>\d{12}):)?"
    r"(function:)?"
    r"(?P<name>[a-zA-Z0-9-_.]+)"
    r"(:(?P<qualifier>\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)


@dataclass(frozen=True)
class Ref:
    """A function as a request names it; ``qualifier`` is None when none was given."""

    account: str
    region: str
    name: str
    qualifier: str | None = None

    @property
    def function_arn(self) -> str:
        """The unqualified ARN."""
        return f"arn:aws:lambda:{self.region}:{self.account}:function:{self.name}"

    @property
    def arn(self) -> str:
        """The ARN with the qualifier, when there is one."""
        return qualified(self.function_arn, self.qualifier)


def qualified(function_arn: str, qualifier: str | None) -> str:
    """*function_arn* with *qualifier* appended, or as it is without one."""
    return f"{function_arn}:{qualifier}" if qualifier else function_arn


def is_version(qualifier: str) -> bool:
    """Whether *qualifier* is the number of a published version."""
    return qualifier.isascii() and qualifier.isdigit()


def parse(identifier: str, account: str, region: str, qualifier: str | None = None) -> Ref:
    """The function that *identifier* and the Qualifier parameter name, seen from *region*.

    Raises ``InvalidParameterValueException`` when two qualifiers differ and
    ``ResourceNotFoundException`` for a function of another region.
    """
    match = _PARTS.fullmatch(identifier)
    if match is None:
        # The front end has checked the pattern; what is left can name no function.
        raise not_found(f"Function not found: {identifier}")
    found_region = match["region"] or region
    if found_region != region:
        raise not_found(
            f"Functions from '{found_region}' are not reachable in this region ('{region}')"
        )
    derived = match["qualifier"]
    if derived and qualifier and derived != qualifier:
        raise invalid(
            "The derived qualifier from the function name does not match the specified qualifier."
        )
    return Ref(match["account"] or account, region, match["name"], qualifier or derived)


def parse_arn(arn: str) -> Ref | None:
    """The function that an ARN names, or None when it is no function's ARN."""
    match = _PARTS.fullmatch(arn)
    if match is None or not (match["partition"] and match["region"] and match["account"]):
        return None
    return Ref(match["account"], match["region"], match["name"], match["qualifier"])
