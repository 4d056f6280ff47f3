"""What a rule's target gets of an event: all of it, a part, a constant, or a template filled in.

Follows the EventBridge User Guide, "Amazon EventBridge input transformation".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_PLACEHOLDER = re.compile(r"<([A-Za-z0-9_.\-]+)>")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\*)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)

_MISSING = object()


class BadTemplate(ValueError):
    """A filled-in template that is not JSON: the target can't be invoked with it."""


def predefined(event: Mapping[str, Any], rule_arn: str, rule_name: str, at: str) -> dict[str, Any]:
    """The variables every template has; *at* is when the event came in."""
    outline = {("detailType" if k == "detail-type" else k): v for k, v in event.items()}
    outline.pop("detail", None)
    return {
        "aws.events.rule-arn": rule_arn,
        "aws.events.rule-name": rule_name,
        "aws.events.event.ingestion-time": at,
        "aws.events.event": outline,
        "aws.events.event.json": dict(event),
    }


def payload(
    event: Mapping[str, Any], target: Mapping[str, Any], variables: Mapping[str, Any]
) -> str:
    """The text that *target* (the API's Target) receives for *event*; raises BadTemplate."""
    if "Input" in target:
        return target["Input"]
    if "InputPath" in target:
        found = select(event, target["InputPath"])
        return compact(None if found is _MISSING else found)
    transformer = target.get("InputTransformer")
    if transformer:
        return fill(
            transformer["InputTemplate"], transformer.get("InputPathsMap") or {}, event, variables
        )
    return compact(event)


def fill(
    template: str,
    paths: Mapping[str, str],
    event: Mapping[str, Any],
    variables: Mapping[str, Any],
) -> str:
    """*template* with its placeholders replaced by parts of *event*.

    A placeholder inside quotes becomes text, one outside becomes JSON; one that is not there
    becomes nothing. Raises BadTemplate when an object does not come out as JSON.
    """
    values: dict[str, Any] = {**variables}
    values.update({name: select(event, path) for name, path in paths.items()})
    is_object = template.lstrip()[:1] in ("{", "[")

    def inside(match: re.Match[str]) -> str:
        return _as_text(values.get(match[1], _MISSING), raw=is_object)

    def outside(match: re.Match[str]) -> str:
        value = values.get(match[1], _MISSING)
        return '""' if value is _MISSING else compact(value)

    parts: list[str] = []
    end = 0
    for string in _STRING.finditer(template):
        parts.append(_PLACEHOLDER.sub(outside, template[end : string.start()]))
        parts.append(_PLACEHOLDER.sub(inside, string.group()))
        end = string.end()
    parts.append(_PLACEHOLDER.sub(outside, template[end:]))
    filled = "".join(parts)
    if is_object:
        try:
            return compact(json.loads(filled))
        except ValueError:
            raise BadTemplate(filled) from None
    for line in filled.splitlines():
        try:
            json.loads(line)
        except ValueError:
            raise BadTemplate(filled) from None
    return filled


def placeholders(template: str) -> list[str]:
    """The names in angle brackets that *template* uses."""
    return _PLACEHOLDER.findall(template)


def select(value: Any, path: str) -> Any:
    """What a JSON path (``$.detail.items[0]['name']``) finds, or a mark for nothing."""
    rest = path.removeprefix("$")
    position = 0
    while position < len(rest):
        step = _STEP.match(rest, position)
        if step is None:
            return _MISSING
        position = step.end()
        name = next((part for part in (step[1], step[3], step[4]) if part is not None), None)
        if name is not None:
            if isinstance(value, list):
                # A name applied to a list selects it from every element.
                value = [one[name] for one in value if isinstance(one, Mapping) and name in one]
                continue
            if not isinstance(value, Mapping) or name not in value:
                return _MISSING
            value = value[name]
        elif not isinstance(value, list):
            return _MISSING
        elif step[2] != "*":
            if int(step[2]) >= len(value):
                return _MISSING
            value = value[int(step[2])]
    return value


def is_missing(value: Any) -> bool:
    """Whether :func:`select` found nothing."""
    return value is _MISSING


def compact(value: Any) -> str:
    """*value* as JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _as_text(value: Any, *, raw: bool) -> str:
    if value is _MISSING or value is None:
        return ""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)[1:-1]
    if raw and isinstance(value, (list, Mapping)):
        # Between quotes in an object that makes no JSON, and AWS does not help.
        return compact(value)
    # In running text the quotes of JSON are left out.
    return compact(value).replace('"', "")
