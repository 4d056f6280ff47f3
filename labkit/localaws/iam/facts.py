"""What the authoriser looks up in the state of the services, all of it read in this process.

Tags, key schemas, encryption keys: conditions are about the resource as it is now, and asking the
services' own APIs at every call would cost more than the call. moto's objects are read where they
lie; nothing is changed, and what is not there is simply not found.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

import moto.backends

from labkit.localaws.call import Call
from labkit.localaws.iam.accounts import Accounts


def backend(service: str, account_id: str, region: str) -> Any | None:
    """moto's back end of a service in an account and region, or None when there is none yet.

    Never makes one: asking about an account must not bring it to life.
    """
    by_account = moto.backends.get_backend(service)  # type: ignore[arg-type]
    if account_id not in list(by_account.keys()):
        return None
    by_region = by_account[account_id]
    return by_region[region] if region in list(by_region.keys()) else None


class Arn:
    """An ARN's parts; ``resource`` is all after the fifth colon."""

    __slots__ = ("account", "region", "resource", "service", "text")

    def __init__(self, text: str) -> None:
        parts = text.split(":", 5)
        parts += [""] * (6 - len(parts))
        self.text = text
        _, _, self.service, self.region, self.account, self.resource = parts

    def backend(self, service: str | None = None) -> Any | None:
        """moto's back end where the resource lies, or None."""
        return backend(service or self.service, self.account, self.region or "aws")


# Tags of the resource of an ARN, for services that moto does not hold.
TagSource = Callable[[str], Mapping[str, str]]


class StateFacts:
    """The :class:`~labkit.localaws.iam.asks.ask.Facts` of a running local AWS."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.tag_sources: dict[str, TagSource] = {}
        # Event source mapping's UUID in an account and region -> its function's ARN.
        self.mapping_source: Callable[[str, str, str], str | None] = lambda *_: None

    # -- S3 ----------------------------------------------------------------------------------

    def bucket(self, name: str) -> Any | None:
        """moto's bucket, whichever account's."""
        owners = moto.backends.get_backend("s3").bucket_accounts
        owner = owners.get(name)
        if owner is None:
            return None
        s3 = backend("s3", owner[1], owner[0])
        return s3.buckets.get(name) if s3 is not None else None

    def bucket_exists(self, bucket: str) -> bool:
        return self.bucket(bucket) is not None

    def object(self, bucket: str, key: str, version: str | None) -> Any | None:
        """moto's object (a version of it), None also for a delete marker."""
        holder = self.bucket(bucket)
        if holder is None:
            return None
        if version:
            found = next(
                (each for each in holder.keys.getlist(key) if str(each.version_id) == version),
                None,
            )
        else:
            found = holder.keys.get(key)
        return found if hasattr(found, "value") or hasattr(found, "etag") else None

    def object_tags(self, bucket: str, key: str, version: str | None) -> Mapping[str, str]:
        found = self.object(bucket, key, version)
        if found is None:
            return {}
        owner = self.bucket(bucket)
        tagger = backend("s3", owner.account_id, "aws").tagger
        tags = tagger.get_tag_dict_for_resource(found.arn)
        return {f"s3:existingobjecttag/{name.lower()}": value for name, value in tags.items()}

    def object_key_id(self, bucket: str, key: str, version: str | None) -> str | None:
        found = self.object(bucket, key, version)
        if found is None or not str(found.encryption or "").startswith("aws:kms"):
            return None
        return self._customer_key(bucket, found.kms_key_id)

    def bucket_key_id(self, bucket: str) -> str | None:
        holder = self.bucket(bucket)
        rule = (getattr(holder, "encryption", None) or {}).get("Rule") or {}
        rule = rule[0] if isinstance(rule, list) and rule else rule
        default = rule.get("ApplyServerSideEncryptionByDefault") or {}
        if not str(default.get("SSEAlgorithm", "")).startswith("aws:kms"):
            return None
        return self._customer_key(bucket, default.get("KMSMasterKeyID"))

    def _customer_key(self, bucket: str, key_id: str | None) -> str | None:
        """A key of the customer's own; AWS's key for S3 is open to all who may use S3."""
        holder = self.bucket(bucket)
        if not key_id or "alias/aws/" in key_id or holder is None:
            return None
        return self._key_arn(holder.account_id, holder.region_name, key_id)

    # -- KMS and Secrets Manager -----------------------------------------------------------

    def key_arn(self, call: Call, key: str) -> str | None:
        return self._key_arn(call.account_id, call.region, key)

    def _key_arn(self, account_id: str, region: str, key: str) -> str | None:
        if key.startswith("arn:"):
            arn = Arn(key)
            account_id, region = arn.account, arn.region
            key = arn.resource.removeprefix("key/")
        kms = backend("kms", account_id, region)
        if kms is None:
            return None
        if key.startswith("alias/"):
            key = kms.get_key_id_from_alias(key) or ""
        found = kms.keys.get(key)
        return found.arn if found is not None else None

    def key_of_ciphertext(self, call: Call, blob: bytes) -> str | None:
        # moto's ciphertexts begin with the id of their key.
        key = bytes(blob[:36]).decode("latin-1")
        return self._key_arn(call.account_id, call.region, key)

    def key_aliases(self, key_arn: str) -> tuple[str, ...]:
        arn = Arn(key_arn)
        kms = arn.backend()
        key = kms.keys.get(arn.resource.removeprefix("key/")) if kms is not None else None
        return tuple(key.aliases) if key is not None else ()

    def key_grants(self, key_arn: str) -> list[Any]:
        """moto's grants on a KMS key."""
        arn = Arn(key_arn)
        kms = arn.backend() if arn.service == "kms" else None
        key = kms.keys.get(arn.resource.removeprefix("key/")) if kms is not None else None
        return list(key.grants.values()) if key is not None else []

    def secret_arn(self, call: Call, secret: str) -> str | None:
        account_id, region = call.account_id, call.region
        if secret.startswith("arn:"):
            account_id, region = Arn(secret).account, Arn(secret).region
        secrets = backend("secretsmanager", account_id, region)
        found = secrets.secrets.get(secret) if secrets is not None else None
        return found.arn if found is not None else None

    # -- DynamoDB, Kinesis, Lambda, SNS, IAM -------------------------------------------------

    def table_keys(self, call: Call, table: str, index: str | None) -> tuple[str, ...]:
        account_id, region = call.account_id, call.region
        if table.startswith("arn:"):
            arn = Arn(table)
            account_id, region = arn.account, arn.region
            table = arn.resource.removeprefix("table/").split("/")[0]
        dynamodb = backend("dynamodb", account_id, region)
        found = dynamodb.tables.get(table) if dynamodb is not None else None
        if found is None:
            return ()
        schema = found.schema
        if index:
            for each in (*(found.indexes or ()), *(found.global_indexes or ())):
                if each.name == index:
                    schema = each.schema
        ordered = sorted(schema, key=lambda part: part["KeyType"] != "HASH")
        return tuple(part["AttributeName"] for part in ordered)

    def stream_arn_of(self, iterator: str) -> str | None:
        arn = iterator.split("|", 1)[0]
        return arn if arn.startswith("arn:aws:dynamodb:") else None

    def kinesis_stream_of(self, iterator: str) -> str | None:
        try:
            content = json.loads(base64.urlsafe_b64decode(iterator))
        except (ValueError, binascii.Error, RecursionError):
            return None
        if isinstance(content, list) and content and isinstance(content[0], str):
            return content[0]
        return None

    def mapping_function(self, call: Call, uuid: str) -> str | None:
        return self.mapping_source(call.account_id, call.region, uuid)

    def subscription(self, call: Call, arn: str) -> Mapping[str, str]:
        sns = Arn(arn).backend("sns")
        found = sns.subscriptions.get(arn) if sns is not None else None
        if found is None:
            return {}
        return {"protocol": str(found.protocol), "endpoint": str(found.endpoint)}

    def iam_arn(self, call: Call, kind: str, name: str) -> str:
        iam = self._accounts.backend(call.account_id)
        holders: Mapping[str, Any] = {}
        if iam is not None:
            holders = {
                "user": iam.users,
                "role": iam.roles,
                "group": iam.groups,
                "instance-profile": iam.instance_profiles,
            }[kind]
        for found in list(holders.values()):
            if found.name == name:
                return found.arn
        return f"arn:aws:iam::{call.account_id}:{kind}/{name}"

    def organization_of(self, account_id: str) -> str | None:
        """The id of the organization an account belongs to (``o-...``), or None."""
        for manager in self._accounts.ids():
            organizations = backend("organizations", manager, "aws")
            found = organizations.org if organizations is not None else None
            if found is not None and any(each.id == account_id for each in organizations.accounts):
                return found.id
        return None

    # -- tags --------------------------------------------------------------------------------

    def resource_tags(self, resource: str) -> Mapping[str, str]:
        """The tags of the resource of an ARN; empty for what has none or is not known."""
        arn = Arn(resource)
        source = self.tag_sources.get(arn.service)
        if source is not None:
            return source(resource)
        read = _TAGS.get(arn.service)
        try:
            return read(self, arn) if read is not None else {}
        except (KeyError, AttributeError, TypeError, IndexError):
            # moto keeps tags in many ways; a resource that is not there has none.
            return {}


def _pairs(tags: Any) -> dict[str, str]:
    if isinstance(tags, Mapping):
        return {str(key): str(value) for key, value in tags.items()}
    return {
        str(tag.get("Key", tag.get("key", tag.get("TagKey")))): str(
            tag.get("Value", tag.get("value", tag.get("TagValue", "")))
        )
        for tag in tags or ()
    }


def _s3_tags(facts: StateFacts, arn: Arn) -> dict[str, str]:
    name, _, key = arn.resource.partition("/")
    bucket = facts.bucket(name)
    if bucket is None or key:
        return {}
    return _pairs(
        backend("s3", bucket.account_id, "aws").tagger.get_tag_dict_for_resource(bucket.arn)
    )


def _dynamodb_tags(facts: StateFacts, arn: Arn) -> dict[str, str]:
    table = arn.resource.split("/")[1]
    return _pairs(arn.backend().tables[table].tags)


def _iam_tags(facts: StateFacts, arn: Arn) -> dict[str, str]:
    kind, _, name = arn.resource.partition("/")
    iam = backend("iam", arn.account, "aws")
    if kind == "policy":
        return _pairs(iam.managed_policies[arn.text].get_tags())
    name = name.rsplit("/", 1)[-1]
    holders = {"user": iam.users, "role": iam.roles, "instance-profile": iam.instance_profiles}
    for found in list(holders[kind].values()):
        if found.name == name:
            return _pairs(found.tags or ())
    return {}


def _ssm_tags(facts: StateFacts, arn: Arn) -> dict[str, str]:
    kind, _, name = arn.resource.partition("/")
    if kind != "parameter":
        return {}
    tags = arn.backend()._resource_tags.get("Parameter") or {}
    return _pairs(tags.get(name) or tags.get(f"/{name}") or {})


_TAGS: dict[str, Callable[[StateFacts, Arn], dict[str, str]]] = {
    "s3": _s3_tags,
    "dynamodb": _dynamodb_tags,
    "iam": _iam_tags,
    "ssm": _ssm_tags,
    "sqs": lambda facts, arn: _pairs(arn.backend().queues[arn.resource].tags),
    "sns": lambda facts, arn: _pairs(arn.backend().topics[arn.text]._tags),
    "kinesis": lambda facts, arn: _pairs(arn.backend().streams[arn.resource.split("/")[1]].tags),
    "kms": lambda facts, arn: _pairs(
        arn.backend().tagger.get_tag_dict_for_resource(arn.resource.removeprefix("key/"))
    ),
    "secretsmanager": lambda facts, arn: _pairs(arn.backend().secrets[arn.text].tags),
    "logs": lambda facts, arn: _pairs(
        arn.backend().tagger.get_tag_dict_for_resource(arn.text.split(":log-stream:")[0])
    ),
    "cloudwatch": lambda facts, arn: _pairs(
        arn.backend().tagger.get_tag_dict_for_resource(arn.text)
    ),
    "events": lambda facts, arn: _pairs(arn.backend().tagger.get_tag_dict_for_resource(arn.text)),
    "states": lambda facts, arn: _pairs(
        arn.backend("stepfunctions").tagger.get_tag_dict_for_resource(arn.text)
    ),
}
