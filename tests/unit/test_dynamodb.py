import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terra_connections.dynamodb import (
    CONTENTION_LIMIT,
    Key,
    RetryBudget,
    TransactWrite,
    batch_get,
    deserialize,
    item_from,
    query_by_reference_id,
    serialize,
    transact,
    values_from,
)
from terra_connections.errors import NotDurable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TEXTS = st.text(st.characters(codec="utf-8"))
INTEGERS = st.integers(-(10**37), 10**37)  # DynamoDB keeps 38 digits
ATTRIBUTES = st.recursive(
    st.none() | st.booleans() | INTEGERS | TEXTS | st.sets(TEXTS, min_size=1) | st.sets(INTEGERS, min_size=1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


def types(value: object) -> Any:  # noqa: ANN401 - nested types
    if isinstance(value, dict):
        return {name: types(each) for name, each in value.items()}
    return [types(each) for each in value] if isinstance(value, list | set) else type(value)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(ATTRIBUTES)
def test_a_stored_value_is_read_as_it_was_written_and_numbers_are_integers(value: object) -> None:
    read = deserialize(serialize(value))
    assert read == value
    assert types(read) == types(value)


@pytest.mark.parametrize("value", [1.5, object()])
def test_a_value_that_dynamodb_does_not_store_is_rejected(value: object) -> None:
    with pytest.raises(TypeError):
        serialize(value)


def test_an_item_keeps_its_values_without_those_that_are_none() -> None:
    item = item_from({"name": "a", "count": 2, "missing": None})
    assert item == {"name": {"S": "a"}, "count": {"N": "2"}}
    assert values_from(item) == {"name": "a", "count": 2}


@pytest.fixture
def client() -> "DynamoDBClient":
    client: DynamoDBClient = boto3.client(
        "dynamodb", region_name="local", aws_access_key_id="local", aws_secret_access_key="local"
    )
    return client


@pytest.fixture
def dynamodb(client: "DynamoDBClient") -> Iterator[Stubber]:
    """Fake responses, which must all be used."""
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def keys(*numbers: int) -> list[Key]:
    return [{"id": {"S": str(number)}} for number in numbers]


def reading(**tables: list[Key]) -> dict[str, Any]:
    return {table: {"Keys": of_table, "ConsistentRead": True} for table, of_table in tables.items()}


def test_keys_of_several_tables_are_read_together(client: "DynamoDBClient", dynamodb: Stubber) -> None:
    dynamodb.add_response(
        "batch_get_item",
        {"Responses": {"a": keys(2), "b": keys(3)}, "UnprocessedKeys": {}},
        {"RequestItems": reading(a=keys(1, 2), b=keys(3))},
    )
    assert batch_get(client, {"a": keys(1, 2), "b": keys(3)}) == {"a": keys(2), "b": keys(3)}


def test_without_keys_nothing_is_read(client: "DynamoDBClient", dynamodb: Stubber) -> None:
    assert dynamodb
    assert batch_get(client, {"a": []}) == {"a": []}


def test_more_than_a_hundred_keys_and_unprocessed_ones_are_read_with_further_calls(
    client: "DynamoDBClient", dynamodb: Stubber
) -> None:
    every, first, unprocessed = keys(*range(150)), keys(*range(99)), keys(99)
    rest = [*unprocessed, *every[100:]]
    dynamodb.add_response(
        "batch_get_item",
        {"Responses": {"a": first}, "UnprocessedKeys": {"a": {"Keys": unprocessed}}},
        {"RequestItems": reading(a=every[:100])},
    )
    dynamodb.add_response(
        "batch_get_item", {"Responses": {"a": rest}, "UnprocessedKeys": {}}, {"RequestItems": reading(a=rest)}
    )
    assert batch_get(client, {"a": every}) == {"a": [*first, *rest]}


def test_every_page_of_the_index_is_read(client: "DynamoDBClient", dynamodb: Stubber) -> None:
    request = {
        "TableName": "a",
        "IndexName": "by-reference-id",
        "KeyConditionExpression": "reference_id = :reference_id AND n > :least",
        "ExpressionAttributeValues": {":reference_id": {"S": "ada"}, ":least": {"N": "1"}},
        "ProjectionExpression": "id",
    }
    (last,) = keys(1)
    dynamodb.add_response("query", {"Items": keys(1), "LastEvaluatedKey": last}, request)
    dynamodb.add_response("query", {"Items": keys(2)}, {**request, "ExclusiveStartKey": last})
    values = item_from({":least": 1})
    found = query_by_reference_id(
        client, "a", "ada", and_condition="n > :least", values=values, ProjectionExpression="id"
    )
    assert list(found) == keys(1, 2)


def deletion(number: int) -> TransactWrite:
    return {"Delete": {"TableName": "a", "Key": keys(number)[0]}}


WRITES = [deletion(1), deletion(2)]


def cancel(dynamodb: Stubber, *codes: str) -> None:
    dynamodb.add_client_error(
        "transact_write_items",
        "TransactionCanceledException",
        modeled_fields={"CancellationReasons": [{"Code": code} for code in codes]},
    )


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
def test_a_transaction_is_retried_after_contention(client: "DynamoDBClient", dynamodb: Stubber, code: str) -> None:
    cancel(dynamodb, "None", code)
    dynamodb.add_client_error("transact_write_items", "TransactionInProgressException")
    dynamodb.add_response("transact_write_items", {})
    assert transact(client, WRITES) == ()


def test_a_transaction_returns_the_writes_whose_condition_failed(client: "DynamoDBClient", dynamodb: Stubber) -> None:
    cancel(dynamodb, "TransactionConflict", "ConditionalCheckFailed")
    assert transact(client, WRITES) == [WRITES[1]]


def test_a_transaction_that_is_cancelled_for_another_reason_is_an_error(
    client: "DynamoDBClient", dynamodb: Stubber
) -> None:
    cancel(dynamodb, "ConditionalCheckFailed", "ValidationError")
    with pytest.raises(ClientError):
        transact(client, WRITES)


def test_persistent_contention_is_reported_as_not_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    budget, now = RetryBudget(), time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + CONTENTION_LIMIT.total_seconds())
    with pytest.raises(NotDurable):
        budget.wait()
