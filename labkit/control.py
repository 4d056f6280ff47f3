"""What only the local AWS can offer, and how to do without it elsewhere: its clock, its mailbox.

The local AWS has control paths beside the AWS API. A lab that speaks to some other AWS has the
same objects; they wait for real, or say where to look.
"""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from labkit.display import Table, progress
from labkit.errors import LabError

# On a real account nobody should sit longer than this for a lesson's sake.
PATIENCE_SECONDS = 300.0


class Control:
    """The control paths of the local AWS at *endpoint*, with the administrator's secret."""

    def __init__(self, endpoint: str, secret: str) -> None:
        self._endpoint = endpoint
        self._secret = secret
        # Never through a proxy of the environment: this is loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @classmethod
    def behind(cls, endpoint: str, secret: str) -> Control | None:
        """The control paths behind *endpoint*, or None when that is not a local AWS."""
        control = cls(endpoint, secret)
        try:
            status = control.ask("status", timeout=5)
        except (LabError, ValueError):
            return None
        return control if isinstance(status, dict) and "clock_ahead_seconds" in status else None

    def ask(self, path: str, body: Mapping[str, Any] | None = None, timeout: float = 600.0) -> Any:
        """The JSON answer of one control path; a body makes it a POST. Raises LabError."""
        request = urllib.request.Request(
            f"{self._endpoint}/_localaws/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Localaws-Key": self._secret, "Content-Type": "application/json"},
        )
        try:
            with self._opener.open(request, timeout=timeout) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as problem:
            text = problem.read().decode(errors="replace")
            raise LabError(f"the local AWS refused {path}: {text}") from problem
        except OSError as problem:
            raise LabError(
                f"the local AWS at {self._endpoint} does not answer; open the lab again "
                "(lab = labkit.open()) or start it: python -m labkit up"
            ) from problem

    def settle(self, timeout: float = 120.0) -> Mapping[str, Any]:
        """Wait inside the local AWS until nothing runs; tells ``settled`` and what is ``due``."""
        return self.ask("settle", {"timeout": timeout}, timeout=timeout + 30)


@dataclass(frozen=True)
class Moved:
    """What a move of the clock did: how far, the time now, and what happened on the way."""

    seconds: float
    now: datetime
    happened: tuple[tuple[datetime, str], ...]
    real: bool = False

    def __repr__(self) -> str:
        how = "Waited" if self.real else "Moved the clock"
        text = f"{how} {_spoken(self.seconds)}; it is now {self.now:%Y-%m-%d %H:%M:%S} UTC"
        if self.real:
            return text + "."
        if not self.happened:
            return text + "; nothing was due."
        lines = [f"  {when:%H:%M:%S}  {name}" for when, name in self.happened[:20]]
        more = len(self.happened) - len(lines)
        if more > 0:
            lines.append(f"  ... and {more} more")
        return "\n".join([text + "; on the way:", *lines])


class LabClock:
    """The time of this AWS: moved at will on the local AWS, waited for anywhere else."""

    def __init__(self, control: Control | None) -> None:
        self._control = control

    @property
    def movable(self) -> bool:
        """Whether time can be moved here."""
        return self._control is not None

    def now(self) -> datetime:
        """The time of this AWS, in UTC."""
        if self._control is None:
            return datetime.now(UTC)
        return _moment(self._control.ask("clock")["now"])

    def stamp(self) -> datetime:
        """A time that nothing from now on is stamped earlier than.

        The local AWS has one clock, to the millisecond; elsewhere clocks differ a little, and
        some services stamp whole seconds.
        """
        return self.now() - timedelta(seconds=0.001 if self.movable else 2)

    def due(self) -> list[tuple[datetime, str]]:
        """What waits for its time on the local AWS: when, and what; empty anywhere else."""
        if self._control is None:
            return []
        return [(_moment(when), name) for when, name in self._control.ask("clock")["due"]]

    def advance(
        self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> Moved:
        """Move time forward; everything due on the way happens, each at its own time.

        Where time cannot be moved this waits for real, at most five minutes; longer is refused
        with a LabError that says what the wait would have been for.
        """
        span = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days).total_seconds()
        if span < 0:
            raise LabError("the clock only moves forward")
        if self._control is not None:
            answer = self._control.ask("clock", {"advance": span})
            happened = tuple((_moment(when), name) for when, name in answer["fired"])
            return Moved(span, _moment(answer["now"]), happened)
        if span > PATIENCE_SECONDS:
            raise LabError(
                f"Only the local AWS can move time; here it would mean waiting {_spoken(span)}. "
                "Go on with the next cell, and come back to this one when the time has passed."
            )
        with progress(f"Waiting {_spoken(span)}, as this AWS cannot move time"):
            threading.Event().wait(span)
        return Moved(span, self.now(), (), real=True)


@dataclass(frozen=True)
class Mail:
    """One e-mail as it arrived: whom for, from, subject, text, and when (UTC)."""

    to: str
    sender: str
    subject: str
    body: str
    time: datetime

    def __repr__(self) -> str:
        return (
            f"From: {self.sender}\nTo: {self.to}\nDate: {self.time:%Y-%m-%d %H:%M:%S} UTC\n"
            f"Subject: {self.subject}\n\n{self.body}"
        )

    @property
    def confirmation(self) -> tuple[str, str] | None:
        """Topic ARN and token of the confirmation link in this mail, or None."""
        for url in re.findall(r"https?://[^\s\"<>]+", self.body):
            query = parse_qs(urlsplit(url.replace("&amp;", "&")).query)
            if query.get("Action") == ["ConfirmSubscription"] and "Token" in query:
                return query["TopicArn"][0], query["Token"][0]
        return None


class Mailbox:
    """The mail that SNS sent: readable on the local AWS, in your own inbox anywhere else."""

    def __init__(self, control: Control | None) -> None:
        self._control = control

    @property
    def readable(self) -> bool:
        """Whether the mails can be seen from here."""
        return self._control is not None

    def mails(self, to: str | None = None) -> list[Mail]:
        """The mails so far, oldest first, perhaps of one address only."""
        if self._control is None:
            raise LabError("This AWS sends real e-mail: look into the inbox you subscribed.")
        answer = self._control.ask("mailbox")
        found = [_mail(raw) for raw in (answer["mails"] if isinstance(answer, dict) else answer)]
        return [mail for mail in found if to in (None, mail.to)]

    def containing(self, text: str) -> list[Mail]:
        """The mails with *text* in their body or subject, oldest first."""
        return [mail for mail in self.mails() if text in mail.body or text in mail.subject]

    def confirm(self, sns: object, topic_arn: str, since: datetime | None = None) -> str | None:
        """Follow the newest confirmation link for *topic_arn*; the subscription's ARN, or None.

        *sns* is a boto3 client: the link calls ``ConfirmSubscription``, and so does this. *since*
        leaves older mails alone: their topic may have been deleted and made again.
        """
        for mail in reversed(self.mails()):
            found = mail.confirmation
            if found and found[0] == topic_arn and (since is None or mail.time >= since):
                answer = sns.confirm_subscription(TopicArn=found[0], Token=found[1])  # type: ignore[attr-defined]
                return answer["SubscriptionArn"]
        return None

    @property
    def table(self) -> Table:
        """The mails as a table."""
        return Table(
            ["time (UTC)", "to", "subject", "first lines"],
            [
                [f"{m.time:%Y-%m-%d %H:%M:%S}", m.to, m.subject, _beginning(m.body)]
                for m in self.mails()
            ],
            caption="Mailbox",
        )

    def __repr__(self) -> str:
        return str(self.table) if self.readable else "Mail goes to your own inbox from this AWS."

    def _repr_html_(self) -> str:
        return self.table._repr_html_() if self.readable else f"<p>{self!r}</p>"


def _mail(raw: Mapping[str, Any]) -> Mail:
    return Mail(
        to=raw["to"],
        sender=raw["from"],
        subject=raw["subject"],
        body=raw["body"],
        time=_moment(raw["at"]),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _beginning(body: str) -> str:
    text = " ".join(body.split())
    return text if len(text) <= 100 else text[:97] + "..."


def _spoken(seconds: float) -> str:
    """*seconds* as one would say it: ``5 minutes``, ``1 hour``, ``90 seconds``."""
    for size, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{seconds:g} seconds"
