"""Proofs on what a DynamoDB table does by itself: its capacity, its TTL, its stream."""

from __future__ import annotations

from botocore.config import Config

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of


def _s(text: str) -> dict[str, str]:
    return {"S": text}


def _n(number: int) -> dict[str, str]:
    return {"N": str(number)}


def batch_write(aws: Bench) -> Observations:
    """dynamodb-11: 25 items at most; what finds no capacity comes back, without an error."""
    see = Observations()
    dynamodb = aws.client("dynamodb", config=Config(retries={"total_max_attempts": 1}))
    table = aws.table(
        "imports",
        "Id",
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 1},
    )

    def requests(count: int, size: int = 1) -> dict:
        items = [{"Id": _s(str(n)), "Text": _s("x" * size)} for n in range(count)]
        return {table: [{"PutRequest": {"Item": item}} for item in items]}

    see(
        "40 items",
        error_of(dynamodb.batch_write_item, RequestItems=requests(40)),
        "ValidationException",
    )
    see(
        "ConsistentRead on a batch of writes",
        error_of(dynamodb.batch_write_item, RequestItems=requests(1), ConsistentRead=True),
        "ParamValidationError",
        refutes="consistent",
    )
    # Far more than a table with one write unit has saved up for a burst.
    answer = dynamodb.batch_write_item(RequestItems=requests(10, 100_000))
    left = answer["UnprocessedItems"].get(table, [])
    see(
        "HTTP status of too much",
        answer["ResponseMetadata"]["HTTPStatusCode"],
        200,
        refutes="catch",
    )
    see(
        "Items that came back, of ten",
        len(left),
        lambda count: 0 < count < 10,
        supports="unprocessed",
        refutes="smaller",
    )
    for _ in range(10):
        if not left:
            break
        aws.clock.advance(minutes=10)
        answer = dynamodb.batch_write_item(RequestItems={table: left})
        left = answer["UnprocessedItems"].get(table, [])
    see("Sent again with pauses, still missing", len(left), 0, supports="unprocessed")
    return see


def throttled(aws: Bench) -> Observations:
    """dynamodb-17: beyond its capacity a table throttles; time or on-demand mode help."""
    see = Observations()
    dynamodb = aws.client("dynamodb", config=Config(retries={"total_max_attempts": 1}))
    table = aws.table(
        "sale",
        "Id",
        BillingMode="PROVISIONED",
        ProvisionedThroughput={"ReadCapacityUnits": 5, "WriteCapacityUnits": 1},
    )

    def write(number: int) -> str:
        item = {"Id": _s(str(number)), "Text": _s("x" * 100_000)}
        return error_of(dynamodb.put_item, TableName=table, Item=item)

    codes = [write(number) for number in range(8)]
    see(
        "Eight writes of 100 write units, one provisioned",
        codes[-1],
        "ProvisionedThroughputExceededException",
    )
    batch = {
        table: [
            {"PutRequest": {"Item": {"Id": _s(str(n)), "Text": _s("x" * 100_000)}}}
            for n in range(2)
        ]
    }
    code = error_of(dynamodb.batch_write_item, RequestItems=batch)
    see(
        "The same in a batch",
        code,
        "ProvisionedThroughputExceededException",
        refutes="bigger-batches",
    )
    see(
        "ConsistentRead on a write",
        error_of(dynamodb.put_item, TableName=table, Item={"Id": _s("0")}, ConsistentRead=False),
        "ParamValidationError",
        refutes="consistent",
    )
    aws.clock.advance(minutes=10)
    see("Tried again later", write(8), "no error", supports="backoff")
    dynamodb.update_table(TableName=table, BillingMode="PAY_PER_REQUEST")
    dynamodb.get_waiter("table_exists").wait(TableName=table)
    codes = {write(number) for number in range(8)}
    see("Eight writes on demand", codes, {"no error"}, supports="on-demand")
    return see


def ttl(aws: Bench) -> Observations:
    """dynamodb-12: an expired item stays readable for a while; a text is no expiry time at all."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("sessions", "Id")
    dynamodb.update_time_to_live(
        TableName=table,
        TimeToLiveSpecification={"Enabled": True, "AttributeName": "ExpiresAt"},
    )
    now = int(aws.clock.now().timestamp())
    text = aws.clock.now().isoformat()
    dynamodb.put_item(TableName=table, Item={"Id": _s("number"), "ExpiresAt": _n(now + 60)})
    dynamodb.put_item(TableName=table, Item={"Id": _s("text"), "ExpiresAt": _s(text)})
    aws.clock.advance(minutes=10)
    read = dynamodb.get_item(TableName=table, Key={"Id": _s("number")}, ConsistentRead=True)
    see("Read ten minutes later, consistently", "Item" in read, True, refutes="strong-read")
    expires = int(read["Item"]["ExpiresAt"]["N"])
    later = int(aws.clock.now().timestamp())
    see("Its time compared with now", expires < later, True, supports="check-time")
    aws.clock.advance(days=8)
    left = dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]
    see("Eight days later", [item["Id"]["S"] for item in left], ["text"], refutes="iso-time")
    see(
        "An interval for TTL",
        error_of(
            dynamodb.update_time_to_live,
            TableName=table,
            TimeToLiveSpecification={
                "Enabled": True,
                "AttributeName": "ExpiresAt",
                "IntervalInSeconds": 60,
            },
        ),
        "ParamValidationError",
        refutes="lower-ttl",
    )
    return see


def stream_view(aws: Bench) -> Observations:
    """dynamodb-15: the view type decides which images a stream record holds."""
    dynamodb, streams, see = aws.client("dynamodb"), aws.client("dynamodbstreams"), Observations()
    views = {
        "NEW_AND_OLD_IMAGES": ("both-images", {"NewImage", "OldImage"}),
        "NEW_IMAGE": ("new-image", {"NewImage"}),
        "OLD_IMAGE": ("old-image", {"OldImage"}),
        "KEYS_ONLY": ("keys-only", set()),
    }
    for view, (option, images) in views.items():
        table = aws.table(
            view.lower().replace("_", "-"),
            "Id",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": view},
        )
        for price in (10, 8):
            dynamodb.put_item(TableName=table, Item={"Id": _s("1"), "Price": _n(price)})
        arn = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
        shard = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        record = streams.get_records(ShardIterator=iterator)["Records"][-1]
        see(
            f"{view}: images of the change from 10 to 8",
            {
                name: record["dynamodb"][name]["Price"]["N"]
                for name in ("OldImage", "NewImage")
                if name in record["dynamodb"]
            },
            lambda found, images=images: set(found) == images,
            **({"supports": option} if len(images) == 2 else {"refutes": option}),
        )
    return see
