"""An API call written as a command of the AWS CLI, ready to paste into a shell.

AWS CLI User Guide, "Specifying parameter values in the AWS CLI": scalars as they are, lists of
scalars with blanks between, everything else as JSON.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from botocore import xform_name

# Where the CLI's name of a service is not botocore's.
_SERVICES = {"s3": "s3api", "codedeploy": "deploy", "config": "configservice"}
# Operations whose answer is a stream: the CLI wants a file to write it to, as the last word.
_OUTPUT_FILE = {("s3", "GetObject"), ("lambda", "Invoke")}


def command(service: str, operation: str, parameters: Mapping[str, Any]) -> str:
    """The ``aws ...`` command for *operation* of *service* with *parameters* (shell quoting)."""
    words = ["aws", _SERVICES.get(service, service), xform_name(operation, "-")]
    raw_blobs = False
    for name, value in _as_the_cli_has_them(service, operation, parameters):
        option = "--" + xform_name(name, "-")
        if value is None:
            continue
        if value is True:
            words.append(option)
        elif value is False:
            words.append("--no-" + option[2:])
        else:
            raw_blobs = raw_blobs or isinstance(value, bytes)
            words.append(option)
            words += _words(value)
    if raw_blobs:
        words += ["--cli-binary-format", "raw-in-base64-out"]
    if (service, operation) in _OUTPUT_FILE:
        words.append(_file_for(parameters))
    return " ".join(shlex.quote(word) for word in words)


def shortened(parameters: Mapping[str, Any], limit: int = 200) -> str:
    """*parameters* in one line: ``TableName='OrdersTable', Key={...}``, cut at *limit* signs."""
    text = ", ".join(f"{name}={_short(value)}" for name, value in parameters.items())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _as_the_cli_has_them(
    service: str, operation: str, parameters: Mapping[str, Any]
) -> list[tuple[str, Any]]:
    """Names and values where the CLI differs from the API."""
    items: list[tuple[str, Any]] = []
    for name, value in parameters.items():
        if service == "lambda" and name in ("Code", "Content") and isinstance(value, Mapping):
            if "ZipFile" in value:
                items.append(("ZipFile", _File("fileb://function.zip")))
                continue
        if service == "lambda" and name == "ZipFile":
            items.append((name, _File("fileb://function.zip")))
        elif service == "s3" and name == "Body":
            # s3api takes the path of a file here, never the content.
            items.append((name, _File(_file_for(parameters))))
        elif name == "Body" and hasattr(value, "size"):
            items.append((name, _File("fileb://body")))
        else:
            items.append((name, value))
    return items


class _File(str):
    """A word that is a file's name."""


def _file_for(parameters: Mapping[str, Any]) -> str:
    name = str(parameters.get("Key", "")).rsplit("/", 1)[-1]
    return name or "response.json"


def _words(value: Any) -> list[str]:
    if isinstance(value, bytes):
        return [value.decode(errors="replace")]
    if isinstance(value, (list, tuple)) and value and not any(map(_nested, value)):
        return [_plain(item) for item in value]
    if _nested(value):
        return [json.dumps(value, default=_plain, ensure_ascii=False)]
    return [_plain(value)]


def _nested(value: Any) -> bool:
    return isinstance(value, (Mapping, list, tuple))


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return str(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
