"""What SNS publishes: a message checked as the Publish API checks it, and its form per protocol.

Follows the SNS API (Publish) and the SNS Developer Guide, "Amazon SNS message attributes",
"Parsing Amazon SNS message formats" and "Verifying the signatures of Amazon SNS messages".
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from labkit.localaws.call import AwsError

DEFAULT_MAXIMUM_BYTES = 262_144

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Message:
    """One published message; ``at`` is lab time in epoch seconds.

    ``texts`` maps a protocol to its own text when the message was structured. ``attributes`` have
    the API's shape (DataType, StringValue, BinaryValue).
    """

    topic_arn: str
    text: str
    at: float
    subject: str | None = None
    attributes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    group_id: str | None = None
    deduplication_id: str | None = None
    sequence_number: str | None = None
    trace_header: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def text_for(self, protocol: str) -> str:
        """What subscribers of *protocol* get to read."""
        return self.texts.get(protocol, self.text)


def invalid(reason: str) -> AwsError:
    """SNS's InvalidParameter, with the words it starts every reason with."""
    return AwsError("InvalidParameter", f"Invalid parameter: {reason}")


def read_texts(given: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """The text of a Publish request and, when it is structured, the texts per protocol."""
    message = given.get("Message") or ""
    if not message:
        raise invalid("Empty message")
    structure = given.get("MessageStructure")
    if structure is None:
        return message, {}
    if structure != "json":
        raise invalid("MessageStructure Reason: must be json if provided")
    try:
        entries = json.loads(message)
    except ValueError:
        raise invalid("Message Structure - JSON message body failed to parse") from None
    texts = {}
    if isinstance(entries, dict):
        texts = {name: text for name, text in entries.items() if isinstance(text, str)}
    if "default" not in texts:
        raise invalid("Message Structure - No default entry in JSON message body")
    return texts["default"], texts


def check_subject(subject: str | None) -> None:
    """Refuse a subject that is empty, too long, or can't stand in a mail's header."""
    if subject is None:
        return
    if not subject or len(subject) > 100 or any(ord(letter) < 32 for letter in subject):
        raise invalid("Subject")


def check_attributes(attributes: Mapping[str, Mapping[str, Any]], where: str = "") -> None:
    """Refuse attributes that SNS refuses; *where* names the batch entry in its message."""
    for name, attribute in attributes.items():
        _check_name(name)
        kind = attribute.get("DataType")
        if kind is None:
            raise AwsError(
                "ValidationError",
                f"1 validation error detected: Value null at '{where}messageAttributes.{name}"
                ".member.dataType' failed to satisfy constraint: Member must not be null",
            )
        base = kind.split(".")[0]
        if base not in ("String", "Number", "Binary"):
            raise _bad_value(
                f"The message attribute '{name}' has an invalid message attribute type, the set "
                "of supported type prefixes is Binary, Number, and String."
            )
        wanted, other = (
            ("BinaryValue", "StringValue") if base == "Binary" else ("StringValue", "BinaryValue")
        )
        if attribute.get(other) and not attribute.get(wanted):
            use = "Binary" if base == "Binary" else "String"
            raise _bad_value(
                f"The message attribute '{name}' with type '{kind}' must use field '{use}'."
            )
        if not attribute.get(wanted):
            raise _bad_value(
                f"The message attribute '{name}' must contain non-empty message attribute value "
                f"for message attribute type '{kind}'."
            )
        if base == "Number" and not _NUMBER.fullmatch(attribute["StringValue"]):
            raise _bad_value(f"Could not cast message attribute '{name}' value to number.")


def size_in_bytes(text: str, attributes: Mapping[str, Mapping[str, Any]]) -> int:
    """What counts against a topic's largest message: text and attributes."""
    size = len(text.encode())
    for name, attribute in attributes.items():
        size += len(name.encode()) + len(str(attribute.get("DataType", "")).encode())
        size += len(str(attribute.get("StringValue", "")).encode())
        size += len(attribute.get("BinaryValue") or b"")
    return size


def envelope_attributes(attributes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Message attributes as envelopes show them: type and value, bytes in base 64."""
    return {
        name: {
            "Type": attribute["DataType"],
            "Value": base64.b64encode(attribute["BinaryValue"]).decode()
            if attribute["DataType"].startswith("Binary")
            else attribute["StringValue"],
        }
        for name, attribute in attributes.items()
    }


def pretty(envelope: Mapping[str, Any]) -> str:
    """An envelope as JSON in the layout SNS sends it in."""
    lines = []
    for name, value in envelope.items():
        if isinstance(value, dict):
            inner = ",\n".join(
                f"    {_dumps(key)} : {_dumps(entry)}" for key, entry in value.items()
            )
            lines.append(f"  {_dumps(name)} : {{\n{inner}\n  }}")
        else:
            lines.append(f"  {_dumps(name)} : {_dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}"


class Signer:
    """Signs envelopes with a key of its own, and shows the certificate that proves it."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._guard = threading.Lock()
        self._key: Any = None
        self._pem = b""

    @property
    def certificate_url(self) -> str:
        """Where the certificate can be fetched."""
        self._prepare()
        name = hashlib.md5(self._pem, usedforsecurity=False).hexdigest()
        return f"{self._endpoint}/SimpleNotificationService-{name}.pem"

    @property
    def certificate(self) -> bytes:
        """The certificate, in PEM."""
        self._prepare()
        return self._pem

    def sign(self, envelope: Mapping[str, Any], version: str) -> str:
        """The signature of *envelope* in base 64: RSA over SHA1 (version 1) or SHA256 (2)."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        self._prepare()
        algorithm = hashes.SHA256() if version == "2" else hashes.SHA1()
        signed = self._key.sign(string_to_sign(envelope), padding.PKCS1v15(), algorithm)
        return base64.b64encode(signed).decode()

    def _prepare(self) -> None:
        with self._guard:
            if self._key is None:
                self._key, self._pem = _new_certificate()


def string_to_sign(envelope: Mapping[str, Any]) -> bytes:
    """What an envelope's signature is over: some members, by name, each on its own line."""
    signed = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token")
    names = [name for name in (*signed, "TopicArn", "Type") if envelope.get(name) is not None]
    return "".join(f"{name}\n{envelope[name]}\n" for name in names).encode()


def iso(when: float) -> str:
    """Epoch seconds as ``2026-11-22T08:09:10.123Z``."""
    text = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _new_certificate() -> tuple[Any, bytes]:
    # cryptography is slow to load and only needed once somebody publishes.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        # The lab's clock may be moved far ahead.
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return key, certificate.public_bytes(serialization.Encoding.PEM)


def _check_name(name: str) -> None:
    if len(name.encode()) > 256:
        raise _bad_value("Length of message attribute name must be less than 256 bytes.")
    if strange := re.search(r"[^A-Za-z0-9_.-]", name):
        raise _bad_value(
            f"Invalid non-alphanumeric character '#x{ord(strange.group()):X}' was found in the "
            "message attribute name. Can only include alphanumeric characters, hyphens, "
            "underscores, or dots."
        )
    for place, found in (("starting", name.startswith(".")), ("ending", name.endswith("."))):
        if found:
            raise _bad_value(
                f"Invalid message attribute name {place} with character '.' was found."
            )
    if ".." in name:
        raise _bad_value("Message attribute name can not have successive '.' character.")


def _bad_value(message: str) -> AwsError:
    return AwsError("ParameterValueInvalid", message)


def _dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
