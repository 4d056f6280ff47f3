"""PartiQL statements."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from dynamodb_support import index, invalid, item, refused, tables  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st

from labkit.localaws.call import AwsError
from labkit.localaws.tables import partiql


@pytest.fixture
def run(tables):  # noqa: F811
    name = tables.make("pk sk", "g:S", GlobalSecondaryIndexes=[index("by-g", "g")])

    def execute(text, *parameters, **more):
        if parameters:
            more["Parameters"] = list(parameters)
        return tables.client.execute_statement(
            Statement=text.replace("TABLE", f'"{name}"'), **more
        )

    execute.name = name
    execute("INSERT INTO TABLE VALUE {'pk': 'a', 'sk': '1', 'n': 5, 'l': [1, 'x'], 'g': 'z'}")
    execute("INSERT INTO TABLE VALUE {'pk': 'a', 'sk': '2', 'n': 7, 'm': {'k': 'it''s'}}")
    return execute


def test_reading(run):
    def keys(where, *parameters):
        found = run(f"SELECT sk FROM TABLE WHERE {where}", *parameters)["Items"]
        return [one["sk"]["S"] for one in found]

    assert run("SELECT * FROM TABLE WHERE pk = 'a' AND sk = '2'")["Items"] == [
        {"pk": {"S": "a"}, "sk": {"S": "2"}, "n": {"N": "7"}, "m": {"M": {"k": {"S": "it's"}}}}
    ]
    assert keys("pk = 'a'") == ["1", "2"]
    assert keys("pk = 'a' ORDER BY sk DESC") == ["2", "1"]
    assert keys("pk = ? AND n > ?", {"S": "a"}, {"N": "5"}) == ["2"]
    assert keys("pk = 'a' AND (n = 5 OR n = 7)") == ["1", "2"]
    assert keys("n BETWEEN 6 AND 8") == ["2"]
    assert keys("n IN [5, 6]") == ["1"]
    assert keys("pk = 'a' AND l IS MISSING") == ["2"]
    assert keys("NOT (n = 5)") == ["2"]
    assert keys("begins_with(sk, '1') AND contains(l, 'x')") == ["1"]
    assert keys("m.k = 'it''s'") == ["2"]
    by_index = run('SELECT l[1], n FROM TABLE."by-g" WHERE g = \'z\'')["Items"]
    assert by_index == [{"l": {"S": "x"}, "n": {"N": "5"}}] or by_index == [
        {"l": {"L": [{"S": "x"}]}, "n": {"N": "5"}}
    ]


def test_reading_in_pages_and_what_it_costs(run):
    first = run("SELECT * FROM TABLE WHERE pk = 'a'", Limit=1, ReturnConsumedCapacity="TOTAL")
    assert first["ConsumedCapacity"]["CapacityUnits"] == 0.5
    rest = run("SELECT * FROM TABLE WHERE pk = 'a'", NextToken=first["NextToken"])
    assert [one["sk"]["S"] for one in first["Items"] + rest["Items"]] == ["1", "2"]


def test_writing(run, tables):  # noqa: F811
    where = "WHERE pk = 'a' AND sk = '1'"
    changed = run(
        f"UPDATE TABLE SET n = n + 2 SET m = {{'k': <<'a', 'b'>>}} REMOVE g {where} "
        "RETURNING ALL NEW *"
    )["Items"]
    assert changed == [
        {
            **item(pk="a", sk="1", n=7),
            "l": {"L": [{"N": "1"}, {"S": "x"}]},
            "m": {"M": {"k": {"SS": ["a", "b"]}}},
        }
    ]
    assert run(f"UPDATE TABLE SET l = list_append(l, [true]) {where} RETURNING MODIFIED NEW *")[
        "Items"
    ] == [{"l": {"L": [{"N": "1"}, {"S": "x"}, {"BOOL": True}]}}]
    run(f"DELETE FROM TABLE {where}")
    assert run(f"SELECT * FROM TABLE {where}")["Items"] == []
    run(f"DELETE FROM TABLE {where}")


def test_what_goes_wrong(run, tables):  # noqa: F811
    db = tables.client

    def statement(text):
        return {"Statement": text.replace("TABLE", f'"{run.name}"')}

    insert = "INSERT INTO TABLE VALUE {'pk': 'a', 'sk': '1'}"
    assert refused(db.execute_statement, **statement(insert)) == (
        "DuplicateItemException",
        "Duplicate primary key exists in table",
    )
    missing = "UPDATE TABLE SET n = 1 WHERE pk = 'none' AND sk = '1'"
    code = refused(db.execute_statement, **statement(missing))[0]
    assert code == "ConditionalCheckFailedException"
    assert invalid(db.execute_statement, **statement("DELETE FROM TABLE WHERE pk = 'a'")) == (
        "Where clause does not contain a mandatory equality on all key attributes"
    )
    for text in ("SELECTT * FROM TABLE", "SELECT * FROM TABLE WHERE", "SELECT FROM TABLE", "'"):
        message = invalid(db.execute_statement, **statement(text))
        assert message.startswith("Statement wasn't well formed, can't be processed: ")
    nowhere = {"Statement": "SELECT * FROM nowhere"}
    assert refused(db.execute_statement, **nowhere)[0] == "ResourceNotFoundException"


def test_batches_and_transactions(run, tables):  # noqa: F811
    db, name = tables.client, run.name

    def insert(sk):
        return {"Statement": f"INSERT INTO \"{name}\" VALUE {{'pk': 'b', 'sk': '{sk}'}}"}

    with pytest.raises(ClientError) as caught:
        db.execute_transaction(
            TransactStatements=[
                insert("1"),
                {"Statement": f"INSERT INTO \"{name}\" VALUE {{'pk': 'a', 'sk': '1'}}"},
            ]
        )
    reasons = caught.value.response["CancellationReasons"]
    assert [reason["Code"] for reason in reasons] == ["None", "DuplicateItem"]
    db.execute_transaction(TransactStatements=[insert("1"), insert("2")])
    select = f"SELECT * FROM \"{name}\" WHERE pk = 'b' AND sk = "
    answers = db.batch_execute_statement(
        Statements=[
            {"Statement": select + "'2'"},
            {"Statement": f"SELECT * FROM \"{name}\" WHERE pk = 'b'"},
            {"Statement": "SELECT * FROM nowhere WHERE pk = 'b'"},
        ]
    )["Responses"]
    assert answers[0] == {"TableName": name, "Item": item(pk="b", sk="2")}
    codes = [answer["Error"]["Code"] for answer in answers[1:]]
    assert codes == ["ValidationError", "ResourceNotFound"]


@given(st.text(alphabet="SELECT*FROM WHERE'\"{}[]<>(),.?=1a-", max_size=60))
def test_any_text_is_a_statement_or_refused(text):
    try:
        partiql.parse("SELECT " + text)
    except AwsError as problem:
        assert problem.code == "ValidationException"
