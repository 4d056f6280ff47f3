"""The account's administrator: an IAM user with a key, there from the start.

A new AWS account comes with a root user; the first thing one makes is an administrator, whose
access key the local AWS hands out.
"""

from __future__ import annotations

from moto.iam.models import iam_backends

USER = "administrator"
POLICY = "arn:aws:iam::aws:policy/AdministratorAccess"


def create_administrator(account_id: str, access_key_id: str, secret_access_key: str) -> None:
    """Make the user with AdministratorAccess and exactly this access key.

    Written into moto's IAM directly: no API call can choose the key, and nobody is there yet to
    make one. Also run again on an account that has the user.
    """
    backend = iam_backends[account_id]["aws"]
    if USER not in backend.users:
        backend.create_user("us-east-1", USER, "/", tags=None)
        backend.attach_user_policy(POLICY, USER)
    if access_key_id in backend.access_keys:
        return
    # A user has two keys at most; a process that starts a local AWS again needs only the last.
    for old in list(backend.users[USER].access_keys)[:-1]:
        backend.delete_access_key(old.access_key_id, USER)
    key = backend.create_access_key(USER)
    del backend.access_keys[key.access_key_id]
    key.access_key_id, key.secret_access_key = access_key_id, secret_access_key
    backend.access_keys[access_key_id] = key
