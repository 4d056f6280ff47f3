"""Parts of SQS's answers that are made from messages alone: checksums, sizes, batches."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any

from labkit.localaws.call import AwsError


def md5_of_attributes(attributes: dict[str, Any]) -> str:
    """The checksum SQS clients verify, over names, types and values in order of the names."""
    digest = hashlib.md5(usedforsecurity=False)

    def add(data: bytes) -> None:
        digest.update(struct.pack("!I", len(data)) + data)

    for name in sorted(attributes):
        attribute = attributes[name]
        add(name.encode())
        add(attribute["DataType"].encode())
        if attribute.get("StringValue") is not None:
            digest.update(b"\x01")
            add(attribute["StringValue"].encode())
        else:
            digest.update(b"\x02")
            add(bytes(attribute.get("BinaryValue") or b""))
    return digest.hexdigest()


def md5(text: str) -> str:
    """The checksum of a text, as hexadecimal digits."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def size(params: dict[str, Any]) -> int:
    """Bytes that count towards the limit: body, attribute names, types and values."""
    total = len((params.get("MessageBody") or "").encode())
    for name, attribute in (params.get("MessageAttributes") or {}).items():
        value = attribute.get("StringValue")
        data = value.encode() if value is not None else bytes(attribute.get("BinaryValue") or b"")
        total += len(name.encode()) + len(attribute.get("DataType", "")) + len(data)
    return total


def wanted(attributes: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The message attributes that *names* (``All``, ``prefix.*``, or whole) ask for."""
    if "All" in names or ".*" in names:
        return attributes
    prefixes = tuple(name[:-2] for name in names if name.endswith(".*"))
    return {
        name: value
        for name, value in attributes.items()
        if name in names or (prefixes and name.startswith(prefixes))
    }


def each(
    entries: list[dict[str, Any]], work: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> dict[str, Any]:
    """A batch's answer: *work* done for each entry, successes and failures apart."""
    done: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        try:
            done.append({"Id": entry["Id"], **(work(entry) or {})})
        except AwsError as error:
            failed.append(
                {
                    "Id": entry["Id"],
                    "SenderFault": error.status < 500,
                    "Code": error.code,
                    "Message": error.message,
                }
            )
    answer: dict[str, Any] = {"Successful": done}
    if failed:
        answer["Failed"] = failed
    return answer
