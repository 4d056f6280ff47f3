"""Proofs on who may do what with a DynamoDB table."""

from __future__ import annotations

from labkit.exam_proofs.bench import Bench
from labkit.exam_proofs.observations import Observations, error_of
from labkit.exam_proofs.policies import allow


def _s(text: str) -> dict[str, str]:
    return {"S": text}


def leading_keys(aws: Bench) -> Observations:
    """dynamodb-16: a condition on dynamodb:LeadingKeys confines a caller to its own partition."""
    dynamodb, see = aws.client("dynamodb"), Observations()
    table = aws.table("notes", "UserId", "At")
    arn = aws.arn("dynamodb", f"table/{table}")
    own_rows = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["${aws:username}"]}}
    user = aws.user("ann", allow("dynamodb:Query dynamodb:PutItem", arn, Condition=own_rows))
    ann = aws.client("dynamodb", user)
    name = user["UserName"]
    for owner in (name, "bob"):
        item = {"UserId": _s(owner), "At": _s("1"), "Owner": _s(name)}
        dynamodb.put_item(TableName=table, Item=item)

    def query(owner: str, **more) -> str:
        return error_of(
            ann.query,
            TableName=table,
            KeyConditionExpression="UserId = :u",
            ExpressionAttributeValues={":u": _s(owner)} | more.pop("values", {}),
            **more,
        )

    see("Ann queries her own partition", query(name), "no error", supports="leading-keys")
    see("Ann queries Bob's", query("bob"), "AccessDeniedException", supports="leading-keys")
    see(
        "Ann writes into Bob's",
        error_of(ann.put_item, TableName=table, Item={"UserId": _s("bob"), "At": _s("2")}),
        "AccessDeniedException",
        supports="leading-keys",
    )
    free = aws.user("free", allow("dynamodb:Query", arn))
    ann = aws.client("dynamodb", free)
    see(
        "With a filter only in the app, the app asks for Bob's",
        query("bob"),
        "no error",
        refutes="filter",
    )
    per_user = aws.user("arn", allow("dynamodb:Query", f"{arn}/bob"))
    ann = aws.client("dynamodb", per_user)
    see(
        "With an ARN that ends in the user's id",
        query("bob"),
        "AccessDeniedException",
        refutes="table-per-user",
    )
    return see


def index_permission(aws: Bench) -> Observations:
    """dynamodb-20: an index is a resource of its own."""
    see = Observations()
    table = aws.table(
        "orders",
        "OrderId",
        AttributeDefinitions=[{"AttributeName": "Customer", "AttributeType": "S"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "ByCustomer",
                "KeySchema": [{"AttributeName": "Customer", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    arn = aws.arn("dynamodb", f"table/{table}")

    def query_index(stem: str, *statements) -> str:
        client = aws.client("dynamodb", aws.user(stem, *statements))
        return error_of(
            client.query,
            TableName=table,
            IndexName="ByCustomer",
            KeyConditionExpression="Customer = :c",
            ExpressionAttributeValues={":c": _s("Ann")},
        )

    see(
        "Allowed on the table",
        query_index("table", allow("dynamodb:Query", arn)),
        "AccessDeniedException",
    )
    see(
        "Allowed on table and index",
        query_index("both", allow("dynamodb:Query", [arn, f"{arn}/index/ByCustomer"])),
        "no error",
        supports="index-arn",
    )
    see(
        "With DescribeTable",
        query_index("describe", allow("dynamodb:Query dynamodb:DescribeTable", arn)),
        "AccessDeniedException",
        refutes="describe",
    )
    see(
        "With QueryIndex",
        query_index("action", allow("dynamodb:Query dynamodb:QueryIndex", arn)),
        "AccessDeniedException",
        refutes="query-index",
    )
    return see
