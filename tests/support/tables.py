"""Direct access to the tables, for tests that inspect stored items."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from local.database import declared_tables
from local.testing import Stack
from tools.environment import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import WriteRequestTypeDef

Item = dict[str, Any]

_read = TypeDeserializer().deserialize
_write = TypeSerializer().serialize


class Tables:
    """Items as plain values."""

    def __init__(self, client: "DynamoDBClient", stack: Stack) -> None:
        self._client = client
        self._names = stack.tables

    def connection(self, user_id: str) -> Item | None:
        return self._get(self._names.connections, "user_id", user_id)

    def session(self, session_id: str) -> Item | None:
        """Also returns an idempotency claim, or a login's outcome by its widget session id."""
        return self._get(self._names.sessions, "session_id", session_id)

    def deliveries(self, keys: Iterable[str]) -> list[Item]:
        """Return the items stored under these keys."""
        found = [self._get(self._names.deliveries, "delivery_id", key) for key in keys]
        return [item for item in found if item is not None]

    def kinds(self, user_id: str) -> set[str]:
        """Return the kinds of facts stored for a connection."""
        item = self.connection(user_id)
        return set(item["facts"]) if item else set()

    def facts(self, user_id: str) -> Item | None:
        """Return a connection's item without `user_id` and `version`; the version counts writes."""
        item = self.connection(user_id)
        return item and {name: value for name, value in item.items() if name not in {"version", "user_id"}}

    def change_session(self, session_id: str, **changes: object) -> None:
        """Change the times of a session or an idempotency claim."""
        self._client.update_item(
            TableName=self._names.sessions,
            Key={"session_id": {"S": session_id}},
            UpdateExpression="SET " + ", ".join(f"#{name} = :{name}" for name in changes),
            ConditionExpression="attribute_exists(session_id)",
            ExpressionAttributeNames={f"#{name}": name for name in changes},
            ExpressionAttributeValues={f":{name}": _write(value) for name, value in changes.items()},
        )

    def add_connections(self, items: Iterable[Item]) -> None:
        """Write items in the functions' format."""
        self._write_connections(
            [{"PutRequest": {"Item": {name: _write(value) for name, value in item.items()}}} for item in items]
        )

    def remove_connections(self, user_ids: Iterable[str]) -> None:
        """Delete these connections, so that tests that count items need not page through them."""
        self._write_connections([{"DeleteRequest": {"Key": {"user_id": {"S": user_id}}}} for user_id in user_ids])

    def count(self) -> tuple[int, int, int]:
        """Return the number of items: connections, sessions, deliveries."""
        names = (self._names.connections, self._names.sessions, self._names.deliveries)
        return tuple(self._count(name) for name in names)  # type: ignore[return-value] # three

    def claims(self) -> list[Item]:
        """Return the idempotency claims."""
        pages = self._client.get_paginator("scan").paginate(
            TableName=self._names.sessions,
            ConsistentRead=True,
            FilterExpression="begins_with(session_id, :prefix)",
            ExpressionAttributeValues={":prefix": {"S": "idempotency:"}},
        )
        return [{name: _read(value) for name, value in item.items()} for page in pages for item in page["Items"]]

    def _write_connections(self, requests: Sequence["WriteRequestTypeDef"]) -> None:
        for start in range(0, len(requests), 25):
            batch = requests[start : start + 25]
            response = self._client.batch_write_item(RequestItems={self._names.connections: batch})
            assert not response["UnprocessedItems"]

    def _count(self, table: str) -> int:
        pages = self._client.get_paginator("scan").paginate(TableName=table, Select="COUNT", ConsistentRead=True)
        return sum(page["Count"] for page in pages)

    def _get(self, table: str, key: str, value: str) -> Item | None:
        response = self._client.get_item(TableName=table, Key={key: {"S": value}}, ConsistentRead=True)
        item = response.get("Item")
        return {name: _read(stored) for name, stored in item.items()} if item else None


@contextmanager
def own_tables(client: "DynamoDBClient", *names: str) -> Iterator[list[str]]:
    """Create tables with the keys and indexes of the template's, and delete them afterwards. Their names are new."""
    declared = declared_tables(ROOT / "template.yaml")
    created: list[str] = []
    try:
        for name in names:
            own = f"{name}-{uuid4()}"
            indexes = declared[name].get("GlobalSecondaryIndexes")
            client.create_table(
                TableName=own,
                BillingMode="PAY_PER_REQUEST",
                KeySchema=declared[name]["KeySchema"],
                AttributeDefinitions=declared[name]["AttributeDefinitions"],
                **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
            )
            created.append(own)
        yield created
    finally:
        for own in created:
            client.delete_table(TableName=own)


def items_containing(dynamodb: "DynamoDBClient", stack: Stack, word: str) -> list[dict[str, Any]]:
    """Return every item of every table that contains a word."""
    tables = (stack.tables.connections, stack.tables.sessions, stack.tables.deliveries)
    pages = [page for table in tables for page in dynamodb.get_paginator("scan").paginate(TableName=table)]
    return [item for page in pages for item in page["Items"] if word in str(item)]
