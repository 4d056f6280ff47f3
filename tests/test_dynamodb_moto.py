"""Where DynamoDB's layer leans on moto; these tests fail when moto changes there."""

from __future__ import annotations

import ast
import inspect

from moto.dynamodb import models, responses
from moto.dynamodb.models import dynamo_type, table

from labkit.localaws.tables import reading


def arguments(source: str, name: str) -> list[list[str]]:
    """The parameters of every method *name* in a module's source."""
    return [
        [argument.arg for argument in node.args.args]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]


def test_reading_takes_what_moto_passes():
    source = inspect.getsource(inspect.getmodule(table.Table))
    for mine in (reading.query, reading.scan):
        expected = list(inspect.signature(mine).parameters)
        expected = [name for name in expected if name != "filters" or mine is reading.scan]
        assert expected in arguments(source, mine.__name__)


def test_moto_reads_through_the_table():
    text = inspect.getsource(models.DynamoDBBackend)
    assert "return table.query(" in text and "return table.scan(" in text


def test_moto_records_changes_only_in_a_shard_that_is_there():
    writers = (table.Table.put_item, table.Table.delete_item, models.DynamoDBBackend.update_item)
    for writer in writers:
        text = inspect.getsource(writer)
        assert text.count("stream_shard.add(") == text.count("stream_shard is not None")


def test_items_are_kept_by_their_keys_and_measured_in_one_place():
    text = inspect.getsource(table.Table.put_item)
    assert "self.items[hash_value][range_value] = item" in text
    assert "self.items[hash_value] = item" in text
    assert issubclass(dynamo_type.LimitedSizeDict, dict)
    assert callable(responses.validate_put_has_empty_keys)
    assert callable(responses.ProjectionExpressionParser("a", None).parse)
