"""Proofs on STS: who may assume a role, for how long, with which permissions."""

from __future__ import annotations

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_and_message, error_of
from labkit.exam_proofs.policies import allow, policy, trust


def both_sides_must_agree(aws: Bench) -> Observations:
    """sts-01: the role's trust policy must let the caller in, whatever the caller may do."""
    iam, see = aws.client("iam"), Observations()
    user = aws.user("developer", allow("sts:AssumeRole"))
    sts = aws.client("sts", user)

    def assume(role: str) -> str:
        return error_of(sts.assume_role, RoleArn=role, RoleSessionName="proof")

    # A role that trusts somebody else stands in for one that does not trust this account.
    stranger = aws.user("stranger")
    closed = aws.role("deploy", allow("sts:AssumeRole"), by={"AWS": stranger["Arn"]})
    see(
        "The user may, the role trusts another",
        assume(closed),
        "AccessDenied",
        refutes="permission",
    )
    twin = aws.role("twin", by={"AWS": user["Arn"]})
    see(
        "Another role trusts the user; the closed one",
        assume(closed),
        "AccessDenied",
        refutes="same-role",
    )
    see("The role that trusts the user", assume(twin), "no error", supports="trust")
    see(
        "AssumeRoleWithSAML",
        error_of(
            aws.client("sts", user).assume_role_with_saml,
            RoleArn=closed,
            PrincipalArn=closed,
            SAMLAssertion="AAAA",
        ),
        lambda code: code != "no error",
        refutes="federation",
    )
    iam.update_assume_role_policy(
        RoleName=aws.name("deploy"), PolicyDocument=trust({"AWS": user["Arn"]})
    )
    see("The trust policy changed", assume(closed), "no error", supports="trust")
    return see


def role_chaining(aws: Bench) -> Observations:
    """sts-02: a role assumed by a role lasts an hour at most, whatever its own maximum is."""
    see = Observations()
    first = aws.role("a", allow("sts:AssumeRole"), MaxSessionDuration=43200)
    second = aws.role("b", MaxSessionDuration=43200)
    chained = aws.client("sts", aws.session(first, DurationSeconds=43200))
    direct = aws.client("sts", aws.user("u", allow("sts:AssumeRole")))
    ask = {"RoleArn": second, "RoleSessionName": "proof"}
    code, message = error_and_message(chained.assume_role, **ask, DurationSeconds=43200)
    see(
        "From a role, 12 hours, both roles allow 12",
        code,
        "ValidationError",
        supports="chaining",
        refutes="a-maximum",
    )
    see("Message", message, lambda text: "chaining" in text, supports="chaining")
    see(
        "From a role, an hour",
        error_of(chained.assume_role, **ask, DurationSeconds=3600),
        "no error",
        supports="chaining",
    )
    see(
        "From a user, 12 hours",
        error_of(direct.assume_role, **ask, DurationSeconds=43200),
        "no error",
        refutes="too-long mfa",
    )
    return see


def duration_limit(aws: Bench) -> Observations:
    """sts-03: a session may last as long as the role's own maximum."""
    iam, sts, see = aws.client("iam"), aws.client("sts"), Observations()
    role = aws.role("worker")
    ask = {"RoleArn": role, "RoleSessionName": "proof"}
    two_hours = {**ask, "DurationSeconds": 7200}
    see("Two hours, by default", error_of(sts.assume_role, **two_hours), "ValidationError")
    first = sts.assume_role(**ask, DurationSeconds=3600)["Credentials"]
    second = sts.assume_role(**ask, DurationSeconds=3600)["Credentials"]
    apart = (second["Expiration"] - first["Expiration"]).total_seconds()
    see("Two sessions of an hour: seconds between their ends", apart < 60, True, refutes="twice")
    see(
        "GetSessionToken with the role's credentials",
        error_of(aws.client("sts", first).get_session_token),
        "AccessDenied",
        refutes="get-session-token",
    )
    iam.update_role(RoleName=aws.name("worker"), MaxSessionDuration=7200)
    see(
        "Two hours, after raising the maximum",
        error_of(sts.assume_role, **two_hours),
        "no error",
        supports="raise-maximum",
        refutes="policy",
    )
    return see


def session_policy(aws: Bench) -> Observations:
    """sts-04: a session may do what the role and the session policy both allow."""
    s3, see = aws.client("s3"), Observations()
    bucket = aws.bucket()
    for folder in ("ann", "bob"):
        s3.put_object(Bucket=bucket, Key=f"{folder}/data", Body=b"")
    role = aws.role("reader", allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))

    def reads(**params) -> list[str]:
        client = aws.client("s3", aws.session(role, **params))
        return [
            error_of(client.get_object, Bucket=bucket, Key=f"{folder}/data")
            for folder in ("ann", "bob")
        ]

    see("No session policy: ann's folder, bob's", reads(), ["no error", "no error"])
    narrow = policy(allow("s3:*", f"arn:aws:s3:::{bucket}/ann/*"))
    see(
        "A session policy for ann",
        reads(Policy=narrow),
        ["no error", "AccessDenied"],
        supports="session-policy",
    )
    see("A session name", reads(name="ann"), ["no error", "no error"], refutes="session-name")
    see(
        "A short duration", reads(DurationSeconds=900), ["no error", "no error"], refutes="duration"
    )
    see("An external id", reads(ExternalId="ann"), ["no error", "no error"], refutes="external-id")
    return see


def external_id(aws: Bench) -> Observations:
    """sts-05: the same caller is refused unless it brings the id of the right customer."""
    sts, see = aws.client("sts"), Observations()
    us = {"AWS": f"arn:aws:iam::{aws.account_id}:root"}
    condition = {"StringEquals": {"sts:ExternalId": "customer-17"}}
    guarded = aws.role("guarded", by=trust(us, Condition=condition))
    unguarded = aws.role("unguarded-long-random-name-5e1b")
    ask = {"RoleSessionName": "proof"}
    see(
        "For customer 17",
        error_of(sts.assume_role, RoleArn=guarded, ExternalId="customer-17", **ask),
        "no error",
        supports="external-id",
    )
    see(
        "For customer 18, who gave customer 17's role",
        error_of(sts.assume_role, RoleArn=guarded, ExternalId="customer-18", **ask),
        "AccessDenied",
        supports="external-id",
    )
    see(
        "Without an id",
        error_of(sts.assume_role, RoleArn=guarded, **ask),
        "AccessDenied",
        supports="external-id",
    )
    see(
        "A role with a name hard to guess, for customer 18",
        error_of(
            sts.assume_role, RoleArn=unguarded, ExternalId="customer-18", DurationSeconds=900, **ask
        ),
        "no error",
        refutes="secret-arn session-duration",
    )
    return see


def session_token_needed(aws: Bench) -> Observations:
    """sts-06: temporary credentials are three values, and the token is one of them."""
    see = Observations()
    session = aws.session(aws.role("worker"))
    see("The key begins with", session["AccessKeyId"][:4], "ASIA")
    without = {name: session[name] for name in ("AccessKeyId", "SecretAccessKey")}
    ask = aws.client("sts", without).get_caller_identity
    see("Without the token", error_of(ask), "InvalidClientTokenId")
    whole = aws.client("sts", session).get_caller_identity
    see(
        "With the token, no ARN, no code",
        error_of(whole),
        "no error",
        supports="session-token",
        refutes="role-arn mfa-code region",
    )
    return see


def who_am_i(aws: Bench) -> Observations:
    """sts-07: GetCallerIdentity needs no permission and answers for users and sessions."""
    see = Observations()
    user, role = aws.user("nobody"), aws.role("nothing")
    session = aws.session(role, "here")
    see(
        "A user without permissions",
        aws.client("sts", user).get_caller_identity()["Arn"],
        user["Arn"],
        supports="caller-identity",
    )
    see(
        "A session without permissions",
        aws.client("sts", session).get_caller_identity()["Arn"],
        lambda arn: arn.endswith(f"assumed-role/{aws.name('nothing')}/here"),
        supports="caller-identity",
    )
    iam = aws.client("iam", session)
    see("iam:GetUser", error_of(iam.get_user), lambda code: code != "no error", refutes="get-user")
    see("iam:ListRoles", error_of(iam.list_roles, MaxItems=1), "AccessDenied", refutes="list-roles")
    token = aws.client("sts", user).get_session_token()
    see(
        "sts:GetSessionToken tells",
        sorted(set(token) - {"ResponseMetadata"}),
        ["Credentials"],
        refutes="session-token",
    )
    return see


def expired(aws: Bench) -> Observations:
    """sts-08: a session ends; a new one has to be asked for, and retrying does not help."""
    see = Observations()
    role, queue = aws.role("worker", allow("sqs:SendMessage")), aws.queue("work")

    def send(session: dict) -> str:
        sqs = aws.client("sqs", session)
        return error_of(sqs.send_message, QueueUrl=queue, MessageBody="x")

    session = aws.session(role)
    see("At the start", send(session), "no error")
    aws.clock.advance(minutes=61)
    see("An hour later", send(session), lambda code: "Expired" in code or "Invalid" in code)
    aws.clock.advance(minutes=5)
    see(
        "Tried again with the same credentials",
        send(session),
        lambda code: code != "no error",
        refutes="retry cache",
    )
    see("With new ones", send(aws.session(role)), "no error", supports="refresh")
    user = aws.user("long-lived", allow("sqs:SendMessage"))
    aws.clock.advance(days=30)
    see(
        "A user's key, a month later, as good for a thief",
        send(user),
        "no error",
        refutes="long-lived",
    )
    return see
