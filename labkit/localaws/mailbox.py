"""The mailbox of the local AWS: every e-mail that AWS would have sent, kept in memory to look at."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

# The oldest mails make room for new ones beyond this many.
MOST_MAILS = 10_000

SNS_SENDER = "no-reply@sns.amazonaws.com"


@dataclass(frozen=True)
class Mail:
    """One e-mail; ``at`` is lab time in epoch seconds, ``links`` the addresses in its text."""

    at: float
    sender: str
    to: str
    subject: str
    body: str
    links: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def as_dict(self) -> dict[str, Any]:
        """The mail as the control path shows it."""
        mail = asdict(self)
        mail["from"] = mail.pop("sender")
        mail["links"] = list(self.links)
        return mail


class Mailbox:
    """All mails, oldest first, whoever they are for."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._mails: deque[Mail] = deque(maxlen=MOST_MAILS)
        self._guard = threading.Lock()

    def deliver(
        self,
        to: str,
        subject: str,
        body: str,
        *,
        sender: str = SNS_SENDER,
        links: tuple[str, ...] = (),
    ) -> Mail:
        """Put a mail into the mailbox, dated with lab time."""
        mail = Mail(self._now(), sender, to, subject, body, links)
        with self._guard:
            self._mails.append(mail)
        return mail

    def mails(self, to: str | None = None) -> list[Mail]:
        """All mails, oldest first, or those for one address (whatever its case)."""
        with self._guard:
            mails = list(self._mails)
        return [mail for mail in mails if to is None or mail.to.lower() == to.lower()]

    def clear(self) -> int:
        """Throw all mails away and return how many there were."""
        with self._guard:
            number = len(self._mails)
            self._mails.clear()
        return number
