"""Opening the lab: which AWS this is, clients for it, and the guard against spending by accident."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

import boto3
import botocore.config
from botocore.exceptions import BotoCoreError, ClientError

from labkit.calls import AwsCall, Calls
from labkit.connection import (
    ACCOUNT,
    LOCAL,
    REGION,
    WhichAws,
    client_options,
    endpoint_keys,
    isolated_session,
    learners_own_session,
    which_aws,
)
from labkit.control import Control, LabClock, Mailbox
from labkit.display import say
from labkit.errors import LabError
from labkit.ledger import Ledger
from labkit.names import Names, suffix_for
from labkit.prices import Prices

_opened: list[Lab] = []


class Lab:
    """One AWS, opened: clients, names, the clock, the mailbox and every call made so far."""

    def __init__(
        self,
        kind: str,
        session: boto3.Session,
        endpoint: str | None,
        account_id: str | None = None,
        control: Control | None = None,
    ) -> None:
        self.kind = kind
        self.endpoint = endpoint
        self.region = REGION
        self.calls = Calls()
        self.clock = LabClock(control)
        self.mailbox = Mailbox(control)
        self.control = control
        self._session = session
        self._options = client_options(kind, endpoint)
        self._clients: dict[str, Any] = {}
        self._guard = threading.Lock()
        self.calls.attach(session.events, self._remember)
        self._ledger: Ledger | None = None
        self.account_id = account_id or self._ask_account()
        self.suffix = os.environ.get("LABKIT_SUFFIX") or suffix_for(self.account_id, self.region)
        self.names = Names(self.account_id, self.region, self.suffix)
        self._ledger = Ledger.of(kind, self.account_id, endpoint)

    @property
    def ledger(self) -> Ledger:
        """What was created here through the lab, by this process or another one."""
        assert self._ledger is not None
        return self._ledger

    @property
    def costs_money(self) -> bool:
        """Whether calls reach a real account."""
        return self.kind == ACCOUNT

    def client(self, service: str, **options: Any) -> Any:
        """A plain boto3 client for this AWS; takes whatever ``boto3.client`` takes.

        The same one again when asked again without options.
        """
        with self._guard:
            if options or service not in self._clients:
                made = self._session.client(service, **self._with(options, service))
                if options:
                    return made
                self._clients[service] = made
            return self._clients[service]

    def resource(self, service: str, **options: Any) -> Any:
        """A plain boto3 resource for this AWS, for example ``lab.resource("dynamodb")``."""
        with self._guard:
            return self._session.resource(service, **self._with(options, service))

    def settle(self) -> None:
        """Wait until the local AWS has nothing left to do right now; elsewhere, do nothing."""
        if self.control is not None:
            self.control.settle()

    def __repr__(self) -> str:
        where = f"region {self.region}, account {self.account_id}"
        if self.kind == LOCAL:
            return f"Local AWS on this machine, {where}: nothing here costs money."
        if self.kind == ACCOUNT:
            return f"REAL AWS, {where}: what you create here costs money until you clean up."
        return f"AWS endpoint {self.endpoint}, {where}: not a real account."

    def _with(self, options: dict[str, Any], service: str) -> dict[str, Any]:
        merged = {**self._options, **options}
        config = self._options["config"]
        if service == "s3":
            # boto3 still presigns S3 with version 2 in this region, which says neither when a URL
            # was made nor for which region; AWS recommends version 4.
            config = config.merge(botocore.config.Config(signature_version="s3v4"))
        given = options.get("config")
        merged["config"] = config.merge(given) if given is not None else config
        return merged

    def _ask_account(self) -> str:
        try:
            return self.client("sts").get_caller_identity()["Account"]
        except (BotoCoreError, ClientError) as problem:
            where = self.endpoint or "AWS"
            raise LabError(
                f"{where} did not say which account this is: {problem}\n"
                "Is it running, and are the credentials right? LABKIT_AWS chooses the AWS; "
                "unset it to use the local one."
            ) from problem

    def _remember(
        self, call: AwsCall, params: Mapping[str, Any], answer: Mapping[str, Any]
    ) -> None:
        if self._ledger is not None and call.error is None:
            self._ledger.note(call, params, answer)


def open(
    aws: str | None = None,
    *,
    quiet: bool = False,
    ask: Callable[[str], str] | None = None,
) -> Lab:
    """Open the lab: a :class:`Lab` for the local AWS, started when it is not running.

    *aws* or the setting ``LABKIT_AWS`` names another one: the URL of an endpoint, or
    ``account:123456789012`` for a real account, which is opened only after its owner has agreed
    to the expected cost: typed into *ask*, or in ``LABKIT_CONFIRM`` where nobody can type.
    Prints one line that says which AWS this is. Raises LabError with what to do.
    """
    which = which_aws(aws)
    if which.kind == LOCAL:
        lab = _open_local()
    elif which.kind == ACCOUNT:
        lab = _open_account(which, ask)
    else:
        lab = _open_endpoint(which)
    if not quiet:
        say(repr(lab))
    _opened[:] = [lab]
    return lab


def current() -> Lab | None:
    """The lab that this process opened last, or None: for helpers called without one."""
    return _opened[0] if _opened else None


def _open_local() -> Lab:
    # The only place where the lab touches the local AWS: to have it started.
    from labkit.localaws import process

    try:
        running = process.ensure()
    except process.LocalAwsError as problem:
        raise LabError(str(problem)) from problem
    return Lab(
        LOCAL,
        isolated_session(running.access_key_id, running.secret_access_key),
        running.endpoint,
        running.account_id,
        Control(running.endpoint, running.secret_access_key),
    )


def _open_endpoint(which: WhichAws) -> Lab:
    assert which.endpoint is not None
    key_id, secret = endpoint_keys()
    session = isolated_session(key_id, secret)
    # It may be a local AWS that somebody started by hand; then its clock can be had as well.
    control = Control.behind(which.endpoint, secret)
    return Lab(which.kind, session, which.endpoint, control=control)


def _open_account(which: WhichAws, ask: Callable[[str], str] | None) -> Lab:
    assert which.account_id is not None
    confirm_spending(which.account_id, ask=ask)
    lab = Lab(ACCOUNT, learners_own_session(), None)
    # Asked of AWS itself, before anything is created: profiles are easily mixed up.
    if lab.account_id != which.account_id:
        raise LabError(
            f"LABKIT_AWS names account {which.account_id}, but your credentials belong to "
            f"account {lab.account_id}. Nothing was created. Choose the right profile "
            "(LABKIT_PROFILE) or the right account."
        )
    return lab


def confirmation_phrase(account_id: str, prices: Prices | None = None) -> str:
    """What a learner has to type before the lab creates anything in a real account."""
    hourly, _ = (prices or Prices.load()).pipeline()
    return f"spend about {hourly:.2f} USD an hour in account {account_id}"


def confirm_spending(
    account_id: str,
    *,
    ask: Callable[[str], str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Return when the owner of *account_id* agreed to the expected cost; else raise LabError.

    The phrase is typed into *ask* (the keyboard when there is one), or stands in the setting
    ``LABKIT_CONFIRM``.
    """
    environ = os.environ if environ is None else environ
    prices = Prices.load()
    _, monthly = prices.pipeline()
    phrase = confirmation_phrase(account_id, prices)
    given = environ.get("LABKIT_CONFIRM")
    if given is None:
        if ask is None and not _somebody_types():
            raise LabError(
                f"LABKIT_AWS names the real account {account_id}. Nobody can be asked here, so "
                f'agree by setting LABKIT_CONFIRM to exactly: "{phrase}"'
            )
        say(
            f"This will create resources in the REAL account {account_id}.\n"
            f"The orders pipeline, left running, costs about {monthly:.2f} USD a month "
            f"(prices of {prices.date}); python -m labkit clean removes it."
        )
        try:
            given = (ask or input)(f'To go on, type: "{phrase}"\n> ')
        except (EOFError, NotImplementedError):
            # A kernel without anybody in front of it.
            given = ""
    if given.strip().strip('"') != phrase:
        raise LabError(
            "Not confirmed, so nothing was created. Unset LABKIT_AWS to use the local AWS, which "
            f'costs nothing; or confirm with exactly: "{phrase}"'
        )


def _somebody_types() -> bool:
    from labkit.display import in_notebook

    return in_notebook() or (sys.stdin is not None and sys.stdin.isatty())
