"""Any other service: the action AWS lists for the operation, and resources found by ARN template.

A parameter that is an ARN of the service counts as it is; else the variable parts of the listed
ARN templates (``${StateMachineName}``) are filled from parameters of like names; what remains
unknown is a star, as in the wildcard resource AWS checks when it creates something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from labkit.localaws.call import Call
from labkit.localaws.iam import catalog
from labkit.localaws.iam.asks.ask import Ask, Facts, request_tags, strings, tag_keys
from labkit.localaws.protocol import service_model


def read(call: Call, facts: Facts) -> Iterator[Ask]:
    """What a call to a service without a reader of its own asks for."""
    prefix = action_prefix(call)
    known = catalog.action(prefix, call.operation)
    name = known.name if known is not None else call.operation
    context = tag_context(call.params)
    for resource in resources(call, prefix, known):
        yield Ask(f"{prefix}:{name}", resource, context)


def action_prefix(call: Call) -> str:
    """The prefix of the actions of the service called."""
    model = service_model(call.service)
    return catalog.prefix_of(str(model.signing_name) if model is not None else call.service)


def tag_context(params: Mapping[str, Any]) -> dict[str, Any]:
    """``aws:RequestTag`` and ``aws:TagKeys`` of whatever a call names as tags."""
    context: dict[str, Any] = {}
    for name, value in params.items():
        low = name.lower()
        if low in ("tags", "tagslist", "taglist", "hostedzonetags", "userpooltags"):
            context |= request_tags(value)
        elif low in ("tagkeys", "tagkeylist"):
            context |= tag_keys(value)
    return context


def resources(call: Call, prefix: str, known: catalog.Action | None) -> list[str]:
    """The ARNs a call is about by AWS's templates, ``*`` when the action knows no resources."""
    if known is None or not known.resources:
        return ["*"]
    given = [
        text
        for value in call.params.values()
        for text in strings(value)
        if text.startswith("arn:") and text.count(":") >= 5
    ]
    best: tuple[int, list[str]] | None = None
    for kind in known.resources:
        shape = _shape(kind.template)
        fitting = [text for text in given if shape.fullmatch(text)]
        if fitting:
            return fitting
        filled, unknown = _fill(call, kind)
        score = unknown * 2 + (0 if kind.required else 1)
        if best is None or score < best[0]:
            best = (score, filled)
    assert best is not None
    if best[0] >= 2 and not any(kind.required for kind in known.resources):
        # Nothing of the call names a resource, and the action does not need one.
        return ["*"]
    return best[1]


def _shape(template: str) -> re.Pattern[str]:
    """A pattern of the ARNs a template makes."""
    parts = re.split(r"\$\{\w+\}", template)
    return re.compile(".+".join(re.escape(part) for part in parts).replace(":.+:", ":.*:"))


def _fill(call: Call, kind: catalog.ResourceType) -> tuple[list[str], int]:
    """The ARNs of a template with the parameters of the call, and how many parts stayed open."""
    values: dict[str, list[str]] = {
        "Partition": ["aws"],
        "Region": [call.region],
        "Account": [call.account_id],
    }
    unknown = 0
    for name in kind.names:
        found = _parameter(call.params, name, kind.name)
        values[name] = found or ["*"]
        unknown += not found
    arns = [kind.template]
    for name, choices in values.items():
        arns = [arn.replace(f"${{{name}}}", choice) for arn in arns for choice in choices]
    return arns, unknown


def _parameter(params: Mapping[str, Any], name: str, kind: str) -> list[str]:
    """The values of the parameter that goes by a template's *name*, if any does."""
    wanted = _plain(name)
    base = _plain(kind)
    candidates = {wanted, f"{wanted}s", f"{wanted}list"}
    for suffix in ("name", "id", "arn"):
        if wanted.endswith(suffix):
            candidates |= {wanted[: -len(suffix)], f"{base}{suffix}"}
    for parameter, value in params.items():
        plain = _plain(parameter)
        if plain in candidates or (plain in ("name", "id") and wanted.endswith(plain)):
            found = strings(value)
            if found:
                return [text.rsplit("/", 1)[-1] if "arn:" in text[:4] else text for text in found]
    return []


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
