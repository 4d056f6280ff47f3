"""SES beyond moto: a mail that was sent can be read."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

from labkit.localaws.call import Call, Forward, Reply, ServiceLayer


class SesLayer(ServiceLayer):
    """SES's part of the front door: what moto accepts lands in the mailbox."""

    service = "ses"

    def SendEmail(self, call: Call, forward: Forward) -> Reply:
        """Send a mail made of subject and body."""
        reply = forward()
        if reply.ok:
            message, body = call.params["Message"], call.params["Message"]["Body"]
            text = (body.get("Text") or body.get("Html") or {}).get("Data", "")
            for receiver in _receivers(call.params.get("Destination") or {}):
                self.aws.mailbox.deliver(
                    receiver, message["Subject"]["Data"], text, sender=call.params["Source"]
                )
        return reply

    def SendRawEmail(self, call: Call, forward: Forward) -> Reply:
        """Send a mail that the caller has put together."""
        reply = forward()
        if reply.ok:
            mail = message_from_bytes(call.params["RawMessage"]["Data"], policy=policy.default)
            part = mail.get_body(("plain", "html"))
            text = part.get_content() if part is not None else ""
            named = [one for name in ("To", "Cc", "Bcc") for one in _addresses(mail.get(name))]
            for receiver in call.params.get("Destinations") or named:
                self.aws.mailbox.deliver(
                    receiver,
                    str(mail.get("Subject", "")),
                    text,
                    sender=call.params.get("Source") or str(mail.get("From", "")),
                )
        return reply


def _receivers(destination: dict[str, Any]) -> list[str]:
    names = ("ToAddresses", "CcAddresses", "BccAddresses")
    return [one for name in names for one in destination.get(name) or ()]


def _addresses(header: Any) -> list[str]:
    return [one.addr_spec for one in header.addresses] if header is not None else []
