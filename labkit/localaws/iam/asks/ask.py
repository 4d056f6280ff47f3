"""The terms the readers work in: an :class:`Ask`, and the facts a reader may look up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from labkit.localaws.call import Call

Values = "str | tuple[str, ...]"
# Condition keys that cost a look-up: asked when a policy reads a key with one of the prefixes.
Later = Mapping[str, Callable[[], Mapping[str, str]]]


@dataclass(frozen=True)
class Ask:
    """One thing a call must be allowed to do.

    ``resource`` is a full ARN, or ``*`` for actions that know no resources. ``context`` holds the
    condition keys (lower case) that this one sets; ``later`` those that need a look-up first, by
    the beginning of the key. ``policy_of`` is the ARN whose resource policy counts when it is not
    ``resource`` itself (a bucket's for an object). ``shown`` is how denials name the resource when
    not by ARN.
    """

    action: str
    resource: str
    context: Mapping[str, Any] = field(default_factory=dict)
    later: Later = field(default_factory=dict)
    policy_of: str | None = None
    shown: str | None = None


class Facts(Protocol):
    """What readers may want to know of the state of the account; never changes anything."""

    def table_keys(self, call: Call, table: str, index: str | None) -> tuple[str, ...]:
        """The names of the key attributes of a DynamoDB table or index, partition key first."""

    def bucket_exists(self, bucket: str) -> bool:
        """Whether there is such a bucket in any account."""

    def object_tags(self, bucket: str, key: str, version: str | None) -> Mapping[str, str]:
        """The tags of an object."""

    def object_key_id(self, bucket: str, key: str, version: str | None) -> str | None:
        """The customer managed KMS key an object is encrypted with."""

    def bucket_key_id(self, bucket: str) -> str | None:
        """The customer managed KMS key new objects of a bucket are encrypted with by default."""

    def key_arn(self, call: Call, key: str) -> str | None:
        """The ARN of the KMS key with this id, ARN, alias or alias ARN."""

    def key_of_ciphertext(self, call: Call, blob: bytes) -> str | None:
        """The ARN of the KMS key a ciphertext was made with."""

    def key_aliases(self, key_arn: str) -> tuple[str, ...]:
        """The aliases of a KMS key."""

    def secret_arn(self, call: Call, secret: str) -> str | None:
        """The ARN of the secret with this name or ARN."""

    def iam_arn(self, call: Call, kind: str, name: str) -> str:
        """The ARN (with path) of an IAM ``user``, ``role``, ``group`` or ``instance-profile``."""

    def kinesis_stream_of(self, iterator: str) -> str | None:
        """The ARN of the Kinesis stream a shard iterator belongs to."""

    def stream_arn_of(self, iterator: str) -> str | None:
        """The ARN of the DynamoDB stream a shard iterator belongs to."""

    def mapping_function(self, call: Call, uuid: str) -> str | None:
        """The ARN of the function of an event source mapping."""

    def subscription(self, call: Call, arn: str) -> Mapping[str, str]:
        """``protocol`` and ``endpoint`` of an SNS subscription, empty when there is none."""


Reader = Callable[[Call, Facts], Iterable[Ask]]


def arn(call: Call, service: str, resource: str, *, region: bool = True) -> str:
    """The ARN of *resource* in the account of *call*, without region for global services."""
    where = call.region if region else ""
    return f"arn:aws:{service}:{where}:{call.account_id}:{resource}"


def request_tags(tags: Any) -> dict[str, Any]:
    """``aws:RequestTag/...`` and ``aws:TagKeys`` of tags given as mapping or as list of pairs."""
    pairs: dict[str, str] = {}
    if isinstance(tags, Mapping):
        pairs = {str(key): str(value) for key, value in tags.items()}
    elif isinstance(tags, list):
        for tag in tags:
            if isinstance(tag, Mapping):
                key = tag.get("Key", tag.get("key", tag.get("TagKey")))
                value = tag.get("Value", tag.get("value", tag.get("TagValue", "")))
                if key is not None:
                    pairs[str(key)] = str(value)
    if not pairs:
        return {}
    context: dict[str, Any] = {f"aws:requesttag/{k.lower()}": v for k, v in pairs.items()}
    context["aws:tagkeys"] = tuple(pairs)
    return context


def tag_keys(keys: Any) -> dict[str, Any]:
    """``aws:TagKeys`` of a list of tag keys, as untagging gives them."""
    return {"aws:tagkeys": tuple(str(key) for key in keys)} if isinstance(keys, list) else {}


def strings(value: Any) -> list[str]:
    """The strings in *value*, which may be one, a list, or nothing."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [entry for entry in value if isinstance(entry, str)]
    return []
