"""Backfills in the table Sessions.

```text
backfill  "backfill:<backfill_id>"                   reference_id, targets, types, first, last, window_days, at, ttl
progress  "backfill:<backfill_id>:<number>:<type>"   requests [{reference, at, is_large?}], reason?, version, ttl
```

The index by-reference-id does not contain them, because they have no `created_at`. An erasure finds a backfill by its
name among what the user has started (`users.store`). Only the first item names the user.
"""

from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from terra_connections.data.backfill import KEPT_FOR, Accepted, Backfill, Period, Progress, Target
from terra_connections.dynamodb import Item, Key, TransactWrite, batch_get, item_from, transact, values_from
from terra_connections.errors import ErasureInProgress
from terra_connections.ids import ReferenceId, UserId
from terra_connections.users.store import Name, UserStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KIND = "backfill"


class BackfillStore:
    """Creates, reads, continues and erases backfills."""

    def __init__(self, client: "DynamoDBClient", table: str, users: UserStore) -> None:
        self._client = client
        self._table = table
        self._users = users

    def create(self, backfill: Backfill) -> None:
        """Store a new backfill, and its name under its user. Does nothing if it exists.

        Raises:
            ErasureInProgress: the user was erased after the backfill's time, or is being erased.
            NotDurable: contention or throttling lasted too long.
        """
        period = backfill.period
        item = {
            "session_id": _name(backfill.backfill_id),
            "reference_id": backfill.reference_id,
            "targets": [{"user_id": each.user_id, "provider": each.provider} for each in backfill.targets],
            "types": list(backfill.types),
            "first": period.first.isoformat(),
            "last": period.last.isoformat(),
            "window_days": backfill.window_days,
            "at": backfill.at,
            "ttl": _ttl(backfill),
        }
        put: TransactWrite = {
            "Put": {
                "TableName": self._table,
                "Item": item_from(item),
                "ConditionExpression": "attribute_not_exists(session_id)",
            }
        }
        not_erased = self._users.unless_erased_after(backfill.reference_id, begun_at=backfill.at)
        begins = self._users.begins(backfill.reference_id, [Name(backfill.at, _KIND, backfill.backfill_id)])
        if not_erased in transact(self._client, [put, not_erased, begins]):
            message = "This user is being erased. Start the backfill afterwards."
            raise ErasureInProgress(message)

    def find(self, backfill_id: str, *, now: datetime) -> Backfill | None:
        """Return a backfill; None if there is none, also because it has expired or was erased."""
        item = self._read(backfill_id)
        if item is None or int(item["ttl"]["N"]) <= now.timestamp():
            return None
        return _backfill_from(backfill_id, item)

    def _read(self, backfill_id: str) -> Item | None:
        items = batch_get(self._client, {self._table: [_key(_name(backfill_id))]})[self._table]
        return items[0] if items else None

    def progress(self, backfill: Backfill, *, number: int | None = None) -> list[Progress]:
        """Read the progress of each type, of one connection or of all; that of types without a request is empty."""
        numbers = range(len(backfill.targets)) if number is None else [number]
        pairs = [(each, type_) for each in numbers for type_ in backfill.types]
        keys = [_key(_progress_name(backfill, *pair)) for pair in pairs]
        items = batch_get(self._client, {self._table: keys})[self._table]
        found = {item["session_id"]["S"]: item for item in items}
        return [_progress_from(*pair, found.get(_progress_name(backfill, *pair))) for pair in pairs]

    def save(self, backfill: Backfill, progress: Progress) -> Progress | None:
        """Store a progress; None if another message has stored one since it was read."""
        item = {
            "session_id": _progress_name(backfill, progress.number, progress.type),
            "requests": [
                {"reference": each.reference, "at": each.at, **({"is_large": True} if each.is_large else {})}
                for each in progress.accepted
            ],
            "reason": progress.reason,
            "version": progress.version + 1,
            "ttl": _ttl(backfill),
        }
        # Of a later version the item must exist, so that a running step does not restore an erased one.
        condition: Any = {"ConditionExpression": "attribute_not_exists(session_id)"}
        if progress.version:
            condition = {
                "ConditionExpression": "version = :read",
                "ExpressionAttributeValues": item_from({":read": progress.version}),
            }
        try:
            self._client.put_item(TableName=self._table, Item=item_from(item), **condition)
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        return replace(progress, version=progress.version + 1)

    def erase(self, backfill_id: str) -> None:
        """Delete a backfill: what names the user last, so that a repeat finds the rest."""
        item = self._read(backfill_id)
        if item is None:
            return
        backfill = _backfill_from(backfill_id, item)
        for number in range(len(backfill.targets)):
            for type_ in backfill.types:
                self._client.delete_item(TableName=self._table, Key=_key(_progress_name(backfill, number, type_)))
        self._client.delete_item(TableName=self._table, Key=_key(_name(backfill_id)))


def backfills_among(names: "list[Name]") -> set[str]:
    """Return the ids of backfills among the names of what a user has started."""
    return {name.name for name in names if name.kind == _KIND}


def _name(backfill_id: str) -> str:
    return f"backfill:{backfill_id}"


def _progress_name(backfill: Backfill, number: int, type_: str) -> str:
    return f"{_name(backfill.backfill_id)}:{number}:{type_}"


def _key(name: str) -> Key:
    return {"session_id": {"S": name}}


def _ttl(backfill: Backfill) -> int:
    return backfill.at // 1000 + int(KEPT_FOR.total_seconds())


def _backfill_from(backfill_id: str, item: Item) -> Backfill:
    stored = values_from(item)
    return Backfill(
        backfill_id,
        ReferenceId(stored["reference_id"]),
        tuple(Target(UserId(each["user_id"]), each["provider"]) for each in stored["targets"]),
        tuple(stored["types"]),
        Period(date.fromisoformat(stored["first"]), date.fromisoformat(stored["last"])),
        stored["window_days"],
        stored["at"],
    )


def _progress_from(number: int, type_: str, item: Item | None) -> Progress:
    if item is None:
        return Progress(number, type_)
    stored = values_from(item)
    accepted = tuple(Accepted(**each) for each in stored["requests"])
    return Progress(number, type_, accepted, stored.get("reason"), stored["version"])
