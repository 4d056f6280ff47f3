"""Time to Live on the lab's clock."""

from __future__ import annotations

from dynamodb_support import invalid, item, refused, tables  # noqa: F401


def ttl(enabled=True, attribute="gone_at"):
    return {"Enabled": enabled, "AttributeName": attribute}


def keys(tables, name):  # noqa: F811
    return sorted(one["pk"]["S"] for one in tables.client.scan(TableName=name)["Items"])


def test_expired_items_stay_for_a_while_and_go(tables):  # noqa: F811
    db = tables.client
    name = tables.make(
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
    )
    now = int(tables.wiring.now())
    db.put_item(TableName=name, Item=item(pk="before", gone_at=now + 60))
    db.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl())
    assert db.describe_time_to_live(TableName=name)["TimeToLiveDescription"] == {
        "TimeToLiveStatus": "ENABLED",
        "AttributeName": "gone_at",
    }
    for pk, until in {
        "text": str(now + 60),
        "later": now + 30 * 86_400,
        "long ago": now - 6 * 366 * 86_400,
        "soon": now + 120,
        "kept": now + 60,
    }.items():
        db.put_item(TableName=name, Item=item(pk=pk, gone_at=until))
    db.update_item(
        TableName=name,
        Key=item(pk="kept"),
        UpdateExpression="SET gone_at = :u",
        ExpressionAttributeValues=item(**{":u": now + 90 * 86_400}),
    )
    tables.wiring.advance(hours=12)
    assert len(keys(tables, name)) == 6
    tables.wiring.advance(hours=14)
    assert keys(tables, name) == ["kept", "later", "long ago", "text"]
    tables.wiring.settle()
    streams = tables.wiring.client("dynamodbstreams")
    arn = db.describe_table(TableName=name)["Table"]["LatestStreamArn"]
    [shard] = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    iterator = streams.get_shard_iterator(
        StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    removed = [
        record
        for record in streams.get_records(ShardIterator=iterator)["Records"]
        if record["eventName"] == "REMOVE"
    ]
    assert sorted(one["dynamodb"]["Keys"]["pk"]["S"] for one in removed) == ["before", "soon"]
    by_service = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
    assert all(one["userIdentity"] == by_service for one in removed)
    tables.wiring.advance(days=32)
    assert keys(tables, name) == ["kept", "long ago", "text"]


def test_changes_of_ttl_need_an_hour_between_them(tables):  # noqa: F811
    db, name = tables.client, tables.make()

    def change(**spec):
        return {"TableName": name, "TimeToLiveSpecification": ttl(**spec)}

    assert invalid(db.update_time_to_live, **change(enabled=False)) == (
        "TimeToLive is already disabled"
    )
    db.update_time_to_live(**change())
    assert invalid(db.update_time_to_live, **change()) == "TimeToLive is already enabled"
    assert invalid(db.update_time_to_live, **change(attribute="other")) == (
        "TimeToLive is active on a different AttributeName: current AttributeName is gone_at"
    )
    assert invalid(db.update_time_to_live, **change(enabled=False)) == (
        "Time to live has been modified multiple times within a fixed interval"
    )
    tables.wiring.advance(minutes=61)
    db.update_time_to_live(**change(enabled=False))
    described = db.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert described == {"TimeToLiveStatus": "DISABLED"}
    nowhere = {"TableName": "nowhere", "TimeToLiveSpecification": ttl()}
    assert refused(db.update_time_to_live, **nowhere) == (
        "ResourceNotFoundException",
        "Requested resource not found: Table: nowhere not found",
    )


def test_nothing_is_due_while_nothing_can_expire(tables):  # noqa: F811
    db, name = tables.client, tables.make()
    db.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl())
    db.put_item(TableName=name, Item=item(pk="a", x="no time"))
    due = tables.wiring.running.control("clock")["due"]
    # Other tables of this module may still have theirs.
    far = tables.wiring.now() + 20 * 86_400
    assert not [when for when, what in due if what == "TTL" and when < far]
