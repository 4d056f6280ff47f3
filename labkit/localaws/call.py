"""One AWS API call on its way through the front door, who makes it, and how it can end.

Every other module of the local AWS speaks in these terms: a :class:`Call` comes in, and a
:class:`Reply`, a plain result in the shape of the operation's output, or an :class:`AwsError`
comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moto.core.request import Request

    from labkit.localaws.server import LocalAws


@dataclass(frozen=True)
class Principal:
    """Who makes a call: what IAM calls the principal, and what it needs to decide.

    ``kind`` is one of ``user``, ``role`` (an assumed-role session), ``root``, ``service``
    (an AWS service, ``name`` is then ``sns.amazonaws.com`` and alike) and ``anonymous``.
    ``arn`` is the ARN that error messages and ``aws:PrincipalArn`` derive from: for a session
    ``arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION``. A service acting for a resource names it
    in ``source_arn`` (and the account in ``source_account``), as ``aws:SourceArn`` would.
    """

    kind: str
    account_id: str
    arn: str
    name: str = ""
    access_key_id: str | None = None
    role_name: str | None = None
    session_name: str | None = None
    session_policies: tuple[str, ...] = ()
    source_arn: str | None = None
    source_account: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def service(
        cls, name: str, *, source_arn: str | None = None, source_account: str | None = None
    ) -> Principal:
        """An AWS service as caller, for example ``sns.amazonaws.com`` acting for a topic."""
        return cls(
            kind="service",
            account_id=source_account or "",
            arn=name,
            name=name,
            source_arn=source_arn,
            source_account=source_account,
        )


ANONYMOUS = Principal(kind="anonymous", account_id="", arn="*", name="anonymous")


class AwsError(Exception):
    """An error as AWS would answer it: code, message, HTTP status, further modelled members.

    The gateway serialises it in the protocol of the service that was called. ``members`` are
    further fields of the modelled exception (``Reason``, ``CancellationReasons``, ...).
    """

    def __init__(self, code: str, message: str, status: int = 400, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.members = members


@dataclass
class Reply:
    """An HTTP answer on its way out: status, headers (lower-case names), body."""

    status: int
    headers: dict[str, str]
    body: bytes
    call: Call | None = None

    @property
    def ok(self) -> bool:
        """Whether this is not an error answer."""
        return self.status < 400

    def parsed(self) -> dict[str, Any]:
        """The answer as boto3 would return it, errors included under ``Error``."""
        assert self.call is not None
        return self.call.parse_reply(self)


@dataclass
class Call:
    """One request: which operation of which service, with which parameters, by whom.

    ``service`` is botocore's name (``s3``, ``lambda``, ``dynamodbstreams``), ``operation`` the
    API's (``PutObject``), ``params`` the input as boto3's caller would have written it (empty
    when it could not be parsed). ``request`` keeps the raw method, path, query, headers and body.
    """

    service: str
    operation: str
    params: dict[str, Any]
    region: str
    account_id: str
    request_id: str
    request: Request
    principal: Principal = ANONYMOUS
    # What the authoriser and the layers want later handlers and the trace to know.
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def iam_context_secure(self) -> bool:
        """Whether ``aws:SecureTransport`` is true: loopback stands in for TLS."""
        return True

    def parse_reply(self, reply: Reply) -> dict[str, Any]:
        """The parsed output (or error) of *reply* by the service's botocore model."""
        from labkit.localaws.protocol import parse_reply

        return parse_reply(self, reply)


Forward = Callable[[], Reply]


class ServiceLayer:
    """What one service does beyond moto: methods are named as the API's operations.

    A method takes ``(call, forward)`` and returns a :class:`Reply`, a dict in the shape of the
    operation's output, or None for an empty output; it may raise :class:`AwsError`.
    """

    service: str = ""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws

    def handler(self, operation: str) -> Callable[[Call, Forward], Any] | None:
        """The method for *operation*, or None when moto's answer is right as it is."""
        if not operation[:1].isupper():
            return None
        return getattr(self, operation, None)
