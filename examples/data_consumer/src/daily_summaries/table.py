"""The table: records, their users, and markers of what was erased.

| id | record | content |
|---|---|---|
| `<user_id>` | `<type> <natural key>` | version, day, measures; `is_deleted` if the record was deleted at its source |
| `<user_id>` | `user` | reference_id, connection_id, provider, as of `at`; or `is_erased` |
| `reference:<reference_id>` | `user <user_id>` | the position of one of its payloads |
| `reference:<reference_id>` | `erased` | the position of the erasure: what is not newer is erased |
| `reference:<reference_id>` | `lab_report.completed <event_id>` | as the first |
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from boto3.dynamodb.conditions import Attr, Key

from daily_summaries.record_types import Record

Item = dict[str, Any]

USER = "user"
ERASED = "erased"
MARKED_FOR = 36 * 86400
"""Seconds; longer than a message can wait in both queues, and as long as Terra Connections keeps its tombstones."""


def partition_of(reference_id: str) -> str:
    """Return the id of a user's own items."""
    return f"reference:{reference_id}"


@dataclass(frozen=True)
class Version:
    """The order of the payloads of a `user_id`: by position. At equal positions, the hash decides."""

    position: int
    sha256: str

    def __str__(self) -> str:
        """Return it as text with the same order."""
        return f"{self.position:015d} {self.sha256}"


class Table:
    """The operations on the table.

    Args:
        table: a table of boto3's resource interface.
    """

    def __init__(self, table: Any) -> None:  # noqa: ANN401 - boto3's types are not a dependency
        self._table = table

    # --- records ---

    def keep(self, partition: str, record: Record, version: Version) -> None:
        """Store a record, unless a newer version is stored. The same version is stored again: replays repair."""
        item: Item = {"id": partition, "record": record.name, "version": str(version)}
        if record.measures is None:
            # This marker remains, so that an older version that arrives later does not restore the record.
            item |= {"is_deleted": True}
        else:
            item |= {"day": record.day, "measures": dict(record.measures)}
        self._put_if(item, Attr("version").not_exists() | Attr("version").lte(str(version)))

    def items(self, partition: str, prefix: str = "") -> Iterator[Item]:
        """Yield the items of a partition."""
        condition = Key("id").eq(partition)
        query: Item = {
            "KeyConditionExpression": condition & Key("record").begins_with(prefix) if prefix else condition,
            "ConsistentRead": True,
        }
        while True:
            page = self._table.query(**query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    # --- users ---

    def set_owner(self, user_id: str, owner: Mapping[str, Any], position: int) -> None:
        """Store the owner of a `user_id`, unless a newer one is stored.

        Args:
            user_id: the `user_id`.
            owner: reference_id, connection_id, provider, and `at`, the time when the event was published.
            position: the position of one of its payloads.
        """
        stored = self._get(user_id, USER)
        if stored and all(stored.get(name) == owner[name] for name in ("reference_id", "connection_id", "provider")):
            return
        link = {"id": partition_of(owner["reference_id"]), "record": f"{USER} {user_id}", "position": position}
        self._table.put_item(Item=link)
        is_newer = Attr("at").not_exists() | Attr("at").lte(owner["at"])
        self._put_if({"id": user_id, "record": USER, **owner}, Attr("is_erased").not_exists() & is_newer)

    def users_of(self, reference_id: str) -> Iterator[tuple[str, Item, list[Item]]]:
        """Yield each `user_id` of a user, with its `user` item and its records."""
        for link in self.items(partition_of(reference_id), f"{USER} "):
            user_id = link["record"].removeprefix(f"{USER} ")
            found = {item["record"]: item for item in self.items(user_id)}
            user = found.pop(USER, {})
            if user.get("reference_id") == reference_id:
                yield user_id, user, list(found.values())

    # --- erasure ---

    def is_erased(self, user_id: str | None, reference_id: str | None, position: int) -> bool:
        """Whether a payload belongs to an erased `user_id`, or to an erased user and is not newer than the erasure."""
        user = self._get(user_id, USER) if user_id else {}
        if user.get("is_erased"):
            return True
        marker = self._get(partition_of(reference_id), ERASED) if reference_id else {}
        # If it has moved to another user since, the erasure of the first one does not concern it.
        is_theirs = user.get("reference_id") in (None, reference_id)
        return bool(marker) and is_theirs and position <= int(marker["position"])

    def erase(self, user_id: str, reference_id: str | None = None) -> None:
        """Erase a `user_id`: first its marker, which keeps later writes out, then its records and its link."""
        self._put(user_id, USER, is_erased=True)
        self._delete(item for item in self.items(user_id) if item["record"] != USER)
        if reference_id:
            self._delete([{"id": partition_of(reference_id), "record": f"{USER} {user_id}"}])

    def erase_up_to(self, reference_id: str, position: int) -> None:
        """Erase what a user has that is not newer than a position: replaced `user_id`s and lab reports, too."""
        partition = partition_of(reference_id)
        if int(self._get(partition, ERASED).get("position", -1)) < position:
            self._put(partition, ERASED, position=position)
        for item in list(self.items(partition)):
            if item["record"] == ERASED or position_of(item) > position:
                continue
            user_id = item["record"].removeprefix(f"{USER} ")
            # It may have moved to another user since. An interrupted erasure has left only the marker.
            if user_id != item["record"] and self._get(user_id, USER).get("reference_id") in (None, reference_id):
                self.erase(user_id)
            self._delete([item])

    # --- DynamoDB ---

    def _get(self, partition: str, record: str) -> Item:
        found: Item = self._table.get_item(Key={"id": partition, "record": record}, ConsistentRead=True)
        item: Item = found.get("Item", {})
        return item

    def _put(self, partition: str, record: str, **content: object) -> None:
        expires = {"expires_at": int(time.time()) + MARKED_FOR}
        self._table.put_item(Item={"id": partition, "record": record, **content, **expires})

    def _put_if(self, item: Item, condition: Any) -> None:  # noqa: ANN401 - boto3's types are not a dependency
        try:
            self._table.put_item(Item=item, ConditionExpression=condition)
        except self._table.meta.client.exceptions.ConditionalCheckFailedException:
            return

    def _delete(self, items: Iterable[Item]) -> None:
        with self._table.batch_writer() as batch:
            for item in items:
                batch.delete_item(Key={"id": item["id"], "record": item["record"]})


def position_of(item: Item) -> int:
    """Return the position of a record's version, or of a link."""
    return int(item["position"] if "position" in item else item["version"].partition(" ")[0])
