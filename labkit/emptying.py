"""What has to go before a resource itself can be deleted; always every page of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# As many as one DeleteObjects takes.
_AT_ONCE = 1000


def bucket(s3: Any, name: str) -> None:
    """Delete every object, every version of it, every delete marker, every unfinished upload."""
    batch: list[dict[str, str]] = []
    for page in s3.get_paginator("list_object_versions").paginate(
        Bucket=name, PaginationConfig={"PageSize": _AT_ONCE}
    ):
        for found in page.get("Versions", []) + page.get("DeleteMarkers", []):
            batch.append({"Key": found["Key"], "VersionId": found["VersionId"]})
    for start in range(0, len(batch), _AT_ONCE):
        answer = s3.delete_objects(
            Bucket=name, Delete={"Objects": batch[start : start + _AT_ONCE], "Quiet": True}
        )
        for problem in answer.get("Errors", []):
            raise RuntimeError(f"{problem['Key']}: {problem['Code']} {problem.get('Message', '')}")
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])


def topic(sns: Any, arn: str) -> None:
    """Delete the topic's confirmed subscriptions; unconfirmed ones go with it."""
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=arn)
    for found in _all(pages, "Subscriptions"):
        if found["SubscriptionArn"].startswith("arn:"):
            sns.unsubscribe(SubscriptionArn=found["SubscriptionArn"])


def queue(sqs: Any, name: str) -> None:
    """Delete the queue by its URL: everything else about it is known by its name alone."""
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=name)["QueueUrl"])


def event_rule(events: Any, name: str) -> None:
    """Take away the rule's targets."""
    pages = events.get_paginator("list_targets_by_rule").paginate(Rule=name)
    targets = [target["Id"] for target in _all(pages, "Targets")]
    if targets:
        events.remove_targets(Rule=name, Ids=targets)


def role(iam: Any, name: str) -> None:
    """Detach managed policies, delete inline ones, leave instance profiles."""
    for found in _all(
        iam.get_paginator("list_attached_role_policies").paginate(RoleName=name), "AttachedPolicies"
    ):
        iam.detach_role_policy(RoleName=name, PolicyArn=found["PolicyArn"])
    for found in _all(
        iam.get_paginator("list_role_policies").paginate(RoleName=name), "PolicyNames"
    ):
        iam.delete_role_policy(RoleName=name, PolicyName=found)
    for found in _all(
        iam.get_paginator("list_instance_profiles_for_role").paginate(RoleName=name),
        "InstanceProfiles",
    ):
        iam.remove_role_from_instance_profile(
            InstanceProfileName=found["InstanceProfileName"], RoleName=name
        )


def user(iam: Any, name: str) -> None:
    """Delete access keys and inline policies, detach managed ones, leave groups."""
    for found in _all(
        iam.get_paginator("list_access_keys").paginate(UserName=name), "AccessKeyMetadata"
    ):
        iam.delete_access_key(UserName=name, AccessKeyId=found["AccessKeyId"])
    for found in _all(
        iam.get_paginator("list_attached_user_policies").paginate(UserName=name), "AttachedPolicies"
    ):
        iam.detach_user_policy(UserName=name, PolicyArn=found["PolicyArn"])
    for found in _all(
        iam.get_paginator("list_user_policies").paginate(UserName=name), "PolicyNames"
    ):
        iam.delete_user_policy(UserName=name, PolicyName=found)
    for found in _all(iam.get_paginator("list_groups_for_user").paginate(UserName=name), "Groups"):
        iam.remove_user_from_group(GroupName=found["GroupName"], UserName=name)


def policy(iam: Any, arn: str) -> None:
    """Detach the policy from everyone and delete its older versions."""
    for page in iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn):
        for found in page.get("PolicyRoles", []):
            iam.detach_role_policy(RoleName=found["RoleName"], PolicyArn=arn)
        for found in page.get("PolicyUsers", []):
            iam.detach_user_policy(UserName=found["UserName"], PolicyArn=arn)
        for found in page.get("PolicyGroups", []):
            iam.detach_group_policy(GroupName=found["GroupName"], PolicyArn=arn)
    for found in _all(
        iam.get_paginator("list_policy_versions").paginate(PolicyArn=arn), "Versions"
    ):
        if not found["IsDefaultVersion"]:
            iam.delete_policy_version(PolicyArn=arn, VersionId=found["VersionId"])


def _all(pages: Any, key: str) -> Iterator[Any]:
    for page in pages:
        yield from page.get(key, [])
