"""Connections in DynamoDB: the truth about each Terra `user_id`, and by an index the list of a person.

```text
key    user_id
index  by-reference-id (reference_id, user_id); an item without a known owner is not in it
item   user_id, version, first_connected?, reference_id? (the newest owner), facts {kind: {at, value?}}
```
"""

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from terra_connections.connection import Fact, Facts, Kind, Position
from terra_connections.errors import NotDurable
from terra_connections.ids import ReferenceId, UserId

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CONTENTION_LIMIT = timedelta(seconds=5)
"""How long a contended write is tried again: Terra waits 8 s for all of it."""

_CONTENTION = {"ConditionalCheckFailed", "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
_BATCH = 100  # BatchGetItem takes no more keys

_Key = dict[str, dict[str, str]]

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class ConnectionStore:
    """Facts about connections, read consistently and written all or nothing."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def read(self, user_ids: Iterable[UserId]) -> list[Facts]:
        """What is known about these `user_id`s, read consistently in one round trip; unknown ones are left out."""
        return [facts for facts, _ in self._read(user_ids, _Patience()).values()]

    def of_person(self, reference_id: ReferenceId) -> list[Facts]:
        """What is known about this person's connections. May lag a write by moments, as any index does."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="by-reference-id",
            KeyConditionExpression="reference_id = :reference_id",
            ExpressionAttributeValues={":reference_id": {"S": reference_id}},
        )
        return [_facts_from(item)[0] for page in pages for item in page["Items"]]

    def record(self, told: Sequence[Facts], *, together_with: Sequence[Any] = ()) -> bool:
        """Add what was told to what is known, in one transaction with other writes.

        Each connection is written on condition that nobody wrote it since it was read; if somebody did, it is read and
        merged anew.

        Args:
            told: new facts, at most one for a `user_id`.
            together_with: writes of other stores, each with its own condition.

        Returns:
            False when a condition of `together_with` failed: then nothing was written.

        Raises:
            NotDurable: other writers, or a throttled table, were in the way for longer than `CONTENTION_LIMIT`.
        """
        patience = _Patience()
        while True:
            known = self._read((facts.user_id for facts in told), patience)
            writes = [*together_with, *(write for facts in told if (write := self._write(known, facts)))]
            if not writes:
                return True
            try:
                self._client.transact_write_items(TransactItems=writes)
            except self._client.exceptions.TransactionCanceledException as error:
                codes = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])]
                if "ConditionalCheckFailed" in codes[: len(together_with)]:
                    return False
                if not set(codes) <= _CONTENTION | {"None"}:
                    raise
            except self._client.exceptions.TransactionInProgressException:
                # Our own first try, whose answer was lost, is still running.
                pass
            else:
                return True
            patience.wait()

    def _read(self, user_ids: Iterable[UserId], patience: "_Patience") -> dict[UserId, tuple[Facts, int]]:
        """Facts with the version that they were read at."""
        keys: list[_Key] = [{"user_id": {"S": user_id}} for user_id in dict.fromkeys(user_ids)]
        found: dict[UserId, tuple[Facts, int]] = {}
        while keys:
            answer = self._client.batch_get_item(
                RequestItems={self._table: {"Keys": keys[:_BATCH], "ConsistentRead": True}}
            )
            for item in answer["Responses"].get(self._table, []):
                facts, version = _facts_from(item)
                found[facts.user_id] = facts, version
            rest = answer["UnprocessedKeys"].get(self._table)
            keys = [*(cast("list[_Key]", rest["Keys"]) if rest else []), *keys[_BATCH:]]
            if rest:
                # The table is throttled.
                patience.wait()
        return found

    def _write(self, known: Mapping[UserId, tuple[Facts, int]], told: Facts) -> dict[str, Any] | None:
        """The write that adds `told`, or None where it says nothing new: facts only grow, nobody can take it away."""
        facts, version = known.get(told.user_id, (None, 0))
        merged = facts.merged(told) if facts else told
        if merged == facts:
            return None
        item = _item_from(merged, version + 1)
        if version == 0:
            return {
                "Put": {
                    "TableName": self._table,
                    "Item": item,
                    "ConditionExpression": "attribute_not_exists(user_id)",
                }
            }
        return {
            "Put": {
                "TableName": self._table,
                "Item": item,
                "ConditionExpression": "version = :read",
                "ExpressionAttributeValues": {":read": {"N": str(version)}},
            }
        }


class _Patience:
    """How often and how long a contended or throttled table is tried: ever more slowly, up to `CONTENTION_LIMIT`."""

    def __init__(self) -> None:
        self._gives_up_at = time.monotonic() + CONTENTION_LIMIT.total_seconds()
        self._waits = 0

    def wait(self) -> None:
        """Wait a moment, a random one, so that those who met do not meet again.

        Raises:
            NotDurable: there is no time left.
        """
        self._waits += 1
        pause = random.uniform(0.01, 0.05 * min(self._waits, 8))  # noqa: S311 - jitter, not a secret
        if time.monotonic() + pause >= self._gives_up_at:
            message = "The table was too busy for too long."
            raise NotDurable(message, retry_after=1)
        time.sleep(pause)


def _item_from(facts: Facts, version: int) -> dict[str, Any]:
    item: dict[str, Any] = {
        "user_id": facts.user_id,
        "version": version,
        "facts": {kind.value: _stored(fact) for kind, fact in facts.newest.items()},
    }
    if facts.first_connected is not None:
        item["first_connected"] = facts.first_connected
    if facts.owner is not None:
        item["reference_id"] = facts.owner
    return {name: _serialize(value) for name, value in item.items()}


def _stored(fact: Fact) -> dict[str, Any]:
    if fact.value is None:
        return {"at": fact.at}
    return {"at": fact.at, "value": list(fact.value) if isinstance(fact.value, tuple) else fact.value}


def _facts_from(item: Mapping[str, Any]) -> tuple[Facts, int]:
    stored = {name: _deserialize(value) for name, value in item.items()}
    newest = {}
    for kind, fact in stored["facts"].items():
        value = fact.get("value")
        newest[Kind(kind)] = Fact(Position(int(fact["at"])), tuple(value) if isinstance(value, list) else value)
    first_connected = stored.get("first_connected")
    facts = Facts(
        UserId(stored["user_id"]),
        newest,
        None if first_connected is None else Position(int(first_connected)),
    )
    return facts, int(stored["version"])
