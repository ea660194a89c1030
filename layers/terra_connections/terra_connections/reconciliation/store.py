"""The running sweep, its page reports, and the `user_id`s to check again, in the sessions table.

```text
key      "sweep:current", "sweep:page:<sweep_id>:<page>", "sweep:waiting:<sha256 of user_id>"
current  sweep_id, day, phase, moved_at, wait_until, open_parts, checked, candidates, candidate_pages?, unsettled, ttl
page     checked, candidates? (until they are settled), following? (until that has reported), ttl
waiting  since, ask_at, ttl
```

At most one sweep is current. A page report and its counts are written in one transaction, on condition that the page
was not reported before and that its sweep is still current: duplicate messages count once, late ones not at all.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from terra_connections.dynamodb import Item, Key, TransactWrite, batch_get, item_from, transact, values_from
from terra_connections.ids import UserId
from terra_connections.reconciliation.sweep import (
    ASKED_AT_LEAST_EVERY,
    DEAD_AFTER,
    Page,
    Phase,
    Recheck,
    Step,
    Sweep,
    Task,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_FOR = timedelta(days=7)
PAGES_KEPT_FOR = timedelta(days=1)
"""While a sweep runs, its pages contain `user_id`s. This ttl deletes those of a sweep that never ended. Erased users
must be gone after two days; the ttl is half of that, because DynamoDB deletes expired items with a delay."""

_CURRENT = "sweep:current"


@dataclass(frozen=True, slots=True)
class Begun:
    """A sweep that has begun.

    Attributes:
        is_first_of_day: whether the sweep before it began on an earlier day (UTC). Also true if the sweep is started
            again by a retry.
    """

    is_first_of_day: bool


class SweepStore:
    """The state of sweeps."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def start(self, sweep_id: str, *, parts: int, now: datetime) -> Begun | None:
        """Make this the current sweep; None if another one is running."""
        day = now.astimezone(UTC).date().isoformat()
        item = {
            "session_id": _CURRENT,
            "sweep_id": sweep_id,
            "day": day,
            "phase": Phase.COLLECTING.value,
            "moved_at": _seconds(now),
            "wait_until": 0,
            "open_parts": parts,
            "checked": 0,
            "candidates": 0,
            "unsettled": 0,
            "ttl": _seconds(now + KEPT_FOR),
        }
        try:
            answer = self._client.put_item(
                TableName=self._table,
                Item=item_from(item),
                ReturnValues="ALL_OLD",
                ConditionExpression=(
                    "attribute_not_exists(session_id) OR moved_at <= :dead OR phase = :refused "
                    "OR (phase = :revoking AND unsettled = :none)"
                ),
                ExpressionAttributeValues=item_from(
                    {
                        ":dead": _seconds(now - DEAD_AFTER),
                        ":refused": Phase.REFUSED.value,
                        ":revoking": Phase.REVOKING.value,
                        ":none": 0,
                    }
                ),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            # The type stubs do not know that the error contains the item.
            standing: Mapping[str, Any] = error.response["Item"]  # type: ignore[typeddict-item]
            return Begun(is_first_of_day=True) if standing["sweep_id"]["S"] == sweep_id else None
        before = answer.get("Attributes", {}).get("day")
        return Begun(is_first_of_day=before is None or before["S"] < day)

    def current(self) -> Sweep | None:
        """Return the running sweep, or the last one."""
        answer = self._client.get_item(TableName=self._table, Key=_key(_CURRENT), ConsistentRead=True)
        return _sweep_from(answer["Item"]) if "Item" in answer else None

    def look(self, step: Step) -> tuple[Sweep | None, Page | None]:
        """Return the step's sweep, if it is the current one, and the report of the step's page, if there is one."""
        page_key = _page_key(step.sweep_id, step.page_id)
        found = self._get([_CURRENT, page_key])
        sweep = _sweep_from(found[_CURRENT]) if _CURRENT in found else None
        if sweep is None or sweep.sweep_id != step.sweep_id:
            return None, None
        return sweep, _page_from(found[page_key]) if page_key in found else None

    def report(self, step: Step, page: Page, *, now: datetime) -> bool:
        """Store a page's report; False if another message did so, or if the sweep is no longer collecting."""
        record = {
            "session_id": _page_key(step.sweep_id, step.page_id),
            "checked": page.checked,
            "candidates": list(page.candidates) or None,
            "following": page.following and page.following.as_text(),
            "ttl": _seconds(now + PAGES_KEPT_FOR),
        }
        values = {
            ":now": _seconds(now),
            ":mine": step.sweep_id,
            ":phase": Phase.COLLECTING.value,
            ":checked": page.checked,
            ":candidates": len(page.candidates),
            ":ended": 0 if page.following else -1,
            ":pages": {step.page_id} if page.candidates else None,
        }
        put: TransactWrite = {
            "Put": {
                "TableName": self._table,
                "Item": item_from(record),
                "ConditionExpression": "attribute_not_exists(session_id)",
            }
        }
        update = "SET moved_at = :now ADD checked :checked, candidates :candidates, open_parts :ended"
        update += ", candidate_pages :pages" if page.candidates else ""
        count = self._update(update, "sweep_id = :mine AND phase = :phase", values)
        return self._write(put, count, *self._passed(step))

    def _passed(self, step: Step) -> list[TransactWrite]:
        """Return the write that removes the cursor from the previous page's record, because it is a `user_id`."""
        if step.task is not Task.CONNECTIONS or step.number == 0:
            return []
        before = replace(step, number=step.number - 1)
        return [self._without("following", before, "attribute_exists(session_id)")]

    def _without(self, name: str, step: Step, condition: str) -> TransactWrite:
        """Return the write that removes an attribute from a page's record."""
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(_page_key(step.sweep_id, step.page_id)),
                "UpdateExpression": f"REMOVE {name}",
                "ConditionExpression": condition,
            }
        }

    def forget(self, step: Step) -> None:
        """Remove the candidates of a page in a refused sweep. Does nothing if they were already removed."""
        self._write(self._without("candidates", step, "attribute_exists(candidates)"))

    def decide(self, sweep: Sweep, phase: Phase, *, now: datetime) -> None:
        """Store the verdict. Does nothing if there is one already."""
        values = {
            ":now": _seconds(now),
            ":mine": sweep.sweep_id,
            ":collecting": Phase.COLLECTING.value,
            ":phase": phase.value,
            ":unsettled": len(sweep.candidate_pages),
            ":none": 0,
        }
        self._write(
            self._update(
                "SET phase = :phase, moved_at = :now, unsettled = :unsettled",
                "sweep_id = :mine AND phase = :collecting AND open_parts = :none",
                values,
            )
        )

    def settle(self, step: Step, *, now: datetime) -> None:
        """Remove the candidates of a page, because they are checked. Does nothing if they were already removed."""
        values = {":mine": step.sweep_id, ":phase": Phase.REVOKING.value, ":now": _seconds(now), ":one": -1}
        count = self._update("SET moved_at = :now ADD unsettled :one", "sweep_id = :mine AND phase = :phase", values)
        self._write(self._without("candidates", step, "attribute_exists(candidates)"), count)

    def moved(self, sweep_id: str, *, now: datetime) -> None:
        """Record that the sweep has made progress."""
        self._move(sweep_id, now, "SET moved_at = :now", "sweep_id = :mine")

    def wait(self, sweep_id: str, *, until: datetime) -> None:
        """Record until when Terra's rate limit blocks requests. The wait does not count as inactivity."""
        self._move(sweep_id, until, "SET wait_until = :now, moved_at = :now", "sweep_id = :mine AND wait_until < :now")

    def _move(self, sweep_id: str, moment: datetime, update: str, condition: str) -> None:
        values = {":mine": sweep_id, ":now": _seconds(moment)}
        self._write(self._update(update, condition, values))

    def waiting(self, user_ids: Iterable[UserId], *, now: datetime) -> dict[UserId, Recheck]:
        """Return those of these `user_id`s that were checked before."""
        names = {_waiting_key(user_id): user_id for user_id in user_ids}
        return {
            names[name]: Recheck(int(item["since"]["N"]), int(item["ask_at"]["N"]))
            for name, item in self._get(names).items()
            if int(item["ttl"]["N"]) > now.timestamp()
        }

    def add_waiting(self, user_id: UserId, waiting: Recheck) -> None:
        """Record that a `user_id` was checked. The item is kept for two weeks after the next check."""
        item = {
            "session_id": _waiting_key(user_id),
            "since": waiting.since,
            "ask_at": waiting.ask_at,
            "ttl": waiting.ask_at + 2 * int(ASKED_AT_LEAST_EVERY.total_seconds()),
        }
        self._client.put_item(TableName=self._table, Item=item_from(item))

    def _get(self, names: Iterable[str]) -> dict[str, Item]:
        items = batch_get(self._client, {self._table: map(_key, names)})[self._table]
        return {item["session_id"]["S"]: item for item in items}

    def _update(self, update: str, condition: str, values: Mapping[str, object]) -> TransactWrite:
        """Return an update of the current sweep."""
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(_CURRENT),
                "UpdateExpression": update,
                "ConditionExpression": condition,
                "ExpressionAttributeValues": item_from(values),
            }
        }

    def _write(self, *writes: TransactWrite) -> bool:
        """Write in one transaction; False if a condition failed. Pages that report at the same time are retried.

        Raises:
            NotDurable: contention or throttling lasted too long.
        """
        return not transact(self._client, writes)


def _key(name: str) -> Key:
    return {"session_id": {"S": name}}


def _page_key(sweep_id: str, page_id: str) -> str:
    return f"sweep:page:{sweep_id}:{page_id}"


def _waiting_key(user_id: UserId) -> str:
    """Return the key: a hash, so that no id of an erased user remains in the table."""
    return f"sweep:waiting:{hashlib.sha256(user_id.encode()).hexdigest()}"


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _sweep_from(item: Item) -> Sweep:
    stored = values_from(item)
    return Sweep(
        sweep_id=stored["sweep_id"],
        phase=Phase(stored["phase"]),
        open_parts=int(stored["open_parts"]),
        checked=int(stored["checked"]),
        candidates=int(stored["candidates"]),
        candidate_pages=frozenset(stored.get("candidate_pages", ())),
        unsettled=int(stored["unsettled"]),
        wait_until=int(stored["wait_until"]),
    )


def _page_from(item: Item) -> Page:
    stored = values_from(item)
    return Page(
        checked=int(stored["checked"]),
        candidates=tuple(map(UserId, stored.get("candidates", ()))),
        following=Step.parse(stored["following"]) if "following" in stored else None,
    )
