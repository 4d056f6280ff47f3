"""Short ways to write the policy documents that proofs need."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

Statement = dict[str, Any]


def allow(actions: str, resources: str | Iterable[str] = "*", **more: Any) -> Statement:
    """A statement that allows *actions* (apart by blanks) on *resources*."""
    return _statement("Allow", actions, resources, more)


def deny(actions: str, resources: str | Iterable[str] = "*", **more: Any) -> Statement:
    """A statement that denies *actions* (apart by blanks) on *resources*."""
    return _statement("Deny", actions, resources, more)


def policy(*statements: Statement) -> str:
    """The policy document with these statements, as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(principal: Any, **more: Any) -> str:
    """A trust policy that lets *principal* assume the role; a text names a service."""
    who = {"Service": principal} if isinstance(principal, str) else principal
    return policy(
        {"Effect": "Allow", "Principal": who, "Action": "sts:AssumeRole", **more},
    )


def _statement(
    effect: str, actions: str, resources: str | Iterable[str], more: dict[str, Any]
) -> Statement:
    listed = [resources] if isinstance(resources, str) else list(resources)
    return {"Effect": effect, "Action": actions.split(), "Resource": listed, **more}
