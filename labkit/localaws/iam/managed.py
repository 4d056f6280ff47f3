"""AWS managed policies, taken one by one out of moto's copy of them when somebody names them.

moto would build all sixteen hundred for every account at start (19 MB and a tenth of a second);
most labs name three.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from moto.iam import models
from moto.iam.aws_managed_policies import aws_managed_policies_data

PREFIX = "arn:aws:iam::aws:policy/"
_NAME = re.compile(r"[\w+=,.@-]+")


@lru_cache(maxsize=256)
def entry(name: str) -> dict[str, Any] | None:
    """moto's record of the AWS managed policy *name*: ``Document``, ``Path``, dates; or None."""
    if not _NAME.fullmatch(name):
        return None
    text = aws_managed_policies_data
    found = text.find(f'\n "{name}":{{')
    if found < 0:
        return None
    start = text.index("{", found)
    return json.JSONDecoder().raw_decode(text, start)[0]


def document(arn: str) -> str | None:
    """The policy document behind an AWS managed policy's ARN, as JSON, or None."""
    record = entry(arn.rsplit("/", 1)[-1])
    if record is None or arn != PREFIX[:-1] + record.get("Path", "/") + arn.rsplit("/", 1)[-1]:
        return None
    return json.dumps(record["Document"])


class ManagedPolicies(dict):
    """An account's managed policies by ARN; AWS's own appear when they are first named."""

    def __init__(self, backend: Any) -> None:
        super().__init__()
        self._backend = backend
        self._all = False

    def __missing__(self, arn: str) -> Any:
        if isinstance(arn, str) and arn.startswith(PREFIX):
            name = arn.rsplit("/", 1)[-1]
            record = entry(name)
            if record is not None:
                policy = self._make(name, record)
                if policy.arn == arn:
                    self[arn] = policy
                    return policy
        raise KeyError(arn)

    def __contains__(self, arn: object) -> bool:
        return self.get(arn) is not None

    def get(self, arn: Any, default: Any = None) -> Any:
        """The policy, or *default*."""
        try:
            return self[arn]
        except KeyError:
            return default

    def values(self) -> Any:
        """Every policy there is, AWS's included."""
        self._load_all()
        return super().values()

    def items(self) -> Any:
        """Every policy there is with its ARN."""
        self._load_all()
        return super().items()

    def __iter__(self) -> Iterator[str]:
        self._load_all()
        return super().__iter__()

    def __len__(self) -> int:
        self._load_all()
        return super().__len__()

    def _make(self, name: str, record: dict[str, Any]) -> Any:
        backend = self._backend
        return models.AWSManagedPolicy.from_data(
            name, backend.account_id, backend.region_name, record
        )

    def _load_all(self) -> None:
        if self._all:
            return
        for name, record in json.loads(aws_managed_policies_data).items():
            policy = self._make(name, record)
            self.setdefault(policy.arn, policy)
        self._all = True


class AwsPolicies:
    """AWS's part of an account's managed policies, for the listings that tell them apart."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __iter__(self) -> Iterator[Any]:
        policies = self._backend.managed_policies.values()
        return (each for each in policies if isinstance(each, models.AWSManagedPolicy))
