"""Which AWS the lab speaks to, and boto3 sessions that reach exactly that one.

Three kinds: the local AWS (the default), any other endpoint, and a real account. The first two
use sessions that are cut off from the environment: no profile, key, endpoint, proxy or
credentials file of the machine is read, so nothing of a real account can be sent by mistake.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.config
import botocore.loaders
import botocore.session

from labkit.errors import LabError

REGION = "us-east-1"

LOCAL, ENDPOINT, ACCOUNT = "local", "endpoint", "account"


@dataclass(frozen=True)
class WhichAws:
    """The learner's choice: ``kind`` is local, endpoint or account; the other fields go with it."""

    kind: str
    endpoint: str | None = None
    account_id: str | None = None


def which_aws(setting: str | None = None, environ: Mapping[str, str] | None = None) -> WhichAws:
    """The AWS that *setting* (or else ``LABKIT_AWS``) names.

    ``local`` or nothing, the URL of an endpoint, or ``account:`` and the twelve digits of a real
    account. Raises LabError on anything else: a typing error must not choose an AWS.
    """
    environ = os.environ if environ is None else environ
    text = (setting or environ.get("LABKIT_AWS") or LOCAL).strip()
    if text == LOCAL:
        return WhichAws(LOCAL)
    if re.fullmatch(r"account:\d{12}", text):
        return WhichAws(ACCOUNT, account_id=text.partition(":")[2])
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and parts.hostname:
        if parts.hostname.endswith((".amazonaws.com", ".amazonaws.com.cn", ".api.aws")):
            raise LabError(
                f"{text} is real AWS: name the account instead, for example "
                "LABKIT_AWS=account:123456789012, so that the lab can ask before it spends money."
            )
        return WhichAws(ENDPOINT, endpoint=text.rstrip("/"))
    raise LabError(
        f"LABKIT_AWS is {text!r}. It can be: local (or unset), the URL of an AWS endpoint such as "
        "http://localhost:4566, or account: followed by twelve digits."
    )


def isolated_session(access_key_id: str, secret_access_key: str) -> boto3.Session:
    """A boto3 session with these keys that reads nothing else: no environment, no files.

    Every setting botocore knows keeps its default, with neither the environment variable nor the
    profile entry that could change it (SDKs and Tools Reference Guide, "Settings reference").
    """
    variables = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in botocore.session.Session.SESSION_VARIABLES.items()
    }
    for name in ("config_file", "credentials_file"):
        variables[name] = (None, None, os.devnull, None)
    variables["region"] = (None, None, REGION, None)
    core = botocore.session.Session(session_vars=variables)
    core.register_component("data_loader", _service_descriptions())
    return boto3.Session(
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        region_name=REGION,
        botocore_session=core,
    )


@functools.cache
def _service_descriptions() -> botocore.loaders.Loader:
    """botocore's descriptions of the services, read once for all sessions of this process."""
    return botocore.loaders.create_loader()


def endpoint_keys(environ: Mapping[str, str] | None = None) -> tuple[str, str]:
    """The keys for another endpoint: the lab's own settings, or ``test``; never a real account's."""
    environ = os.environ if environ is None else environ
    return (
        environ.get("LABKIT_ACCESS_KEY_ID") or "test",
        environ.get("LABKIT_SECRET_ACCESS_KEY") or "test",
    )


def learners_own_session(environ: Mapping[str, str] | None = None) -> boto3.Session:
    """A session with the learner's own credentials, found as boto3 always finds them.

    Only for a real account that was named; ``LABKIT_PROFILE`` picks a profile for the lab alone.
    """
    environ = os.environ if environ is None else environ
    core = botocore.session.Session(profile=environ.get("LABKIT_PROFILE") or None)
    return boto3.Session(botocore_session=core, region_name=REGION)


def client_options(kind: str, endpoint: str | None) -> dict[str, Any]:
    """Keyword arguments for ``session.client`` that hold for every client of this lab."""
    if kind == ACCOUNT:
        # An AWS_ENDPOINT_URL left over from some emulator must not catch real calls.
        config = botocore.config.Config(ignore_configured_endpoint_urls=True)
        return {"config": config}
    config = botocore.config.Config(
        # An empty mapping is what keeps HTTP_PROXY out: None would read the environment.
        proxies={},
        s3={"addressing_style": "path"},
        # Host names with an account id in them (DynamoDB) cannot be had from one endpoint.
        account_id_endpoint_mode="disabled",
        ignore_configured_endpoint_urls=True,
        max_pool_connections=32,
    )
    # verify is said, or else REQUESTS_CA_BUNDLE would be read.
    return {"endpoint_url": endpoint, "verify": True, "config": config}
