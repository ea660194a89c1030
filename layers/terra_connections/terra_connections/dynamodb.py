"""DynamoDB for the stores: items, reads by key and by index, transactions, and retries on contention or throttling."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from terra_connections.errors import NotDurable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

AttributeValue: TypeAlias = dict[str, Any]
Item: TypeAlias = Mapping[str, Any]
"""An item as DynamoDB returns it: the attribute value of each attribute."""
Key: TypeAlias = dict[str, dict[str, str]]
TransactWrite: TypeAlias = "TransactWriteItemTypeDef"
"""One write of a transaction, or one of its conditions. A store creates it, and `transact` executes it."""

CONTENTION_LIMIT = timedelta(seconds=5)
"""Total time of the retries. Terra waits 8 s for the response to a webhook."""
_CONTENTION = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
"""Reasons of a cancelled transaction after which the same transaction can be retried."""
_CONDITION_FAILED = "ConditionalCheckFailed"
_BATCH = 100  # keys; the limit of BatchGetItem

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


def serialize(value: object) -> AttributeValue:
    """Return a value in DynamoDB's format, such as {"S": "text"}.

    Raises:
        TypeError: DynamoDB has no type for the value.
    """
    return dict(_serializer.serialize(value))


def deserialize(attribute: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any stored value
    """Return the Python value of an attribute value. Every number of our items is an integer."""
    return _with_integers(_deserializer.deserialize(cast("Any", attribute)))


def _with_integers(value: Any) -> Any:  # noqa: ANN401 - any stored value
    match value:
        case Decimal():
            return int(value)
        case dict():
            return {name: _with_integers(each) for name, each in value.items()}
        case list():
            return [_with_integers(each) for each in value]
        case set():
            return {_with_integers(each) for each in value}
        case _:
            return value


def item_from(values: Mapping[str, object]) -> dict[str, AttributeValue]:
    """Return an item, or the values of an expression; values that are None are left out."""
    return {name: serialize(value) for name, value in values.items() if value is not None}


def values_from(item: Item) -> dict[str, Any]:
    """Return the Python values of an item."""
    return {name: deserialize(value) for name, value in item.items()}


class RetryBudget:
    """Retries with backoff on contention or throttling, up to `CONTENTION_LIMIT`."""

    def __init__(self) -> None:
        self._gives_up_at = time.monotonic() + CONTENTION_LIMIT.total_seconds()
        self._waits = 0

    def wait(self) -> None:
        """Wait before the next try. The wait is random, so that competing writers do not collide again.

        Raises:
            NotDurable: the time limit is reached.
        """
        self._waits += 1
        pause = random.uniform(0.01, 0.05 * min(self._waits, 8))  # noqa: S311 - jitter, not a secret
        if time.monotonic() + pause >= self._gives_up_at:
            message = "The table was too busy for too long."
            raise NotDurable(message, retry_after=1)
        time.sleep(pause)


def batch_get(
    client: "DynamoDBClient", keys: Mapping[str, Iterable[Key]], retry_budget: RetryBudget | None = None
) -> dict[str, list[Item]]:
    """Read items of one or several tables by their keys, consistently, in one round trip for each hundred keys.

    Args:
        client: the client.
        keys: the keys of each table.
        retry_budget: the retries of the caller; by default, of this read alone.

    Returns:
        The items of each table, in any order. Missing ones are left out.

    Raises:
        NotDurable: the table was throttled for too long.
    """
    retry_budget = retry_budget or RetryBudget()
    found: dict[str, list[Item]] = {table: [] for table in keys}
    unread = [(table, key) for table, of_table in keys.items() for key in of_table]
    while unread:
        requested: dict[str, Any] = {}
        for table, key in unread[:_BATCH]:
            requested.setdefault(table, {"Keys": [], "ConsistentRead": True})["Keys"].append(key)
        answer = client.batch_get_item(RequestItems=requested)
        for table, items in answer["Responses"].items():
            found[table] += items
        throttled = [(table, cast("Key", key)) for table, of in answer["UnprocessedKeys"].items() for key in of["Keys"]]
        unread = [*throttled, *unread[_BATCH:]]
        if throttled:
            retry_budget.wait()
    return found


def query_by_reference_id(
    client: "DynamoDBClient",
    table: str,
    reference_id: str,
    *,
    and_condition: str = "",
    values: Item | None = None,
    **more: Any,  # noqa: ANN401 - parameters of Query
) -> Iterator[Item]:
    """Read a user's items from the index `by-reference-id`. It is eventually consistent: it may lack the last writes.

    Args:
        client: the client.
        table: the table.
        reference_id: the user.
        and_condition: a condition on the sort key.
        values: the values of its expressions.
        more: further parameters of Query, for example a filter.
    """
    pages = client.get_paginator("query").paginate(
        TableName=table,
        IndexName="by-reference-id",
        KeyConditionExpression="reference_id = :reference_id" + (and_condition and f" AND {and_condition}"),
        ExpressionAttributeValues={":reference_id": {"S": reference_id}, **(values or {})},
        **more,
    )
    return (item for page in pages for item in page["Items"])


@dataclass(frozen=True, slots=True)
class NotWritten:
    """A transaction that was not executed.

    Attributes:
        refused: the writes whose condition failed; empty after contention or throttling.
    """

    refused: Sequence[TransactWrite]


def try_transact(client: "DynamoDBClient", writes: Sequence[TransactWrite]) -> NotWritten | None:
    """Write in one transaction, without a retry; None if it was executed."""
    try:
        client.transact_write_items(TransactItems=writes)
    except client.exceptions.TransactionCanceledException as error:
        codes = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])]
        if not set(codes) <= _CONTENTION | {"None", _CONDITION_FAILED}:
            raise
        return NotWritten([write for write, code in zip(writes, codes, strict=False) if code == _CONDITION_FAILED])
    except client.exceptions.TransactionInProgressException:
        # Our own previous try, whose response was lost, is still in progress.
        return NotWritten([])
    return None


def transact(client: "DynamoDBClient", writes: Sequence[TransactWrite]) -> Sequence[TransactWrite]:
    """Write in one transaction, with retries on contention and throttling.

    Returns:
        The writes whose condition failed; then nothing is written. Empty if the transaction was executed.

    Raises:
        NotDurable: contention or throttling lasted too long.
    """
    retry_budget = RetryBudget()
    while (failure := try_transact(client, writes)) is not None:
        if failure.refused:
            return failure.refused
        retry_budget.wait()
    return ()
