"""Connected wearables that have stopped sending data: the day of the last data of each, and the event `went_quiet`.

```text
Sessions  "data:<sha256 of user_id>"  day, named?, ttl; days as YYYY-MM-DD in UTC
```

`day` is the greatest day of a kept delivery, and `named` the greatest day since which the wearable was quiet when an
event was published: both are maximums, so order and repetition make no difference. The key is a hash, so that no id of
an erased user remains in the table.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from terra_connections.change_events.change_event import ChangeEvent, ChangeType
from terra_connections.change_events.event_bus import EventBus
from terra_connections.connections.connection import Connection
from terra_connections.connections.facts import Facts, Kind, Position, Status
from terra_connections.connections.lineage import listed_connections
from terra_connections.connections.store import ConnectionStore
from terra_connections.data.delivery import DataDelivery
from terra_connections.dynamodb import Key, batch_get, item_from, values_from
from terra_connections.ids import ReferenceId, UserId

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_FOR = timedelta(days=36)
"""As long as a tombstone. The daily check keeps the items of connected wearables for longer."""
_KEPT_AT_LEAST = timedelta(days=18)
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class LastData:
    """The data of a `user_id`.

    Attributes:
        day: the day of the last data, or on which a check first found the connection without data.
        named: the day since which it was quiet when an event was published, if any.
        expires: when DynamoDB deletes the item, in Unix seconds.
    """

    day: date
    named: date | None
    expires: int


class LastDataStore:
    """The days of the last data, in the table of sessions."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def read(self, user_ids: Iterable[UserId]) -> dict[UserId, LastData]:
        """Read those of these `user_id`s that have one."""
        names = {_name(user_id): user_id for user_id in user_ids}
        items = batch_get(self._client, {self._table: map(_key, names)})[self._table]
        found = {names[values["session_id"]]: values for values in map(values_from, items)}
        return {
            user_id: LastData(
                date.fromisoformat(values["day"]),
                date.fromisoformat(values["named"]) if "named" in values else None,
                values["ttl"],
            )
            for user_id, values in found.items()
        }

    def note_deliveries(self, deliveries: Iterable[DataDelivery]) -> None:
        """Store the days of deliveries: at most one write for each `user_id` and day."""
        days: dict[UserId, date] = {}
        for each in deliveries:
            if each.user_id is not None:
                day = datetime.fromtimestamp(each.position / 1000, UTC).date()
                days[each.user_id] = max(day, days.get(each.user_id, day))
        known = self.read(days)
        for user_id, day in days.items():
            if user_id not in known or known[user_id].day < day:
                self.note(user_id, day)

    def note(self, user_id: UserId, day: date) -> None:
        """Store a day, unless the stored one is the same or later."""
        self._set_later(user_id, "day", day, expires=day)

    def note_event(self, user_id: UserId, since: date, *, today: date) -> None:
        """Store that the event about a quiet period is published."""
        self._set_later(user_id, "named", since, expires=today)

    def keep(self, user_id: UserId, *, today: date) -> None:
        """Keep an item for longer. Does nothing if it has expired."""
        self._update(user_id, "SET #ttl = :ttl", "attribute_exists(#day)", {"day"}, {":ttl": _expiry(today)})

    def _set_later(self, user_id: UserId, name: str, day: date, *, expires: date) -> None:
        self._update(
            user_id,
            f"SET #{name} = :day, #ttl = :ttl",
            f"attribute_not_exists(#{name}) OR #{name} < :day",
            {name},
            {":day": day.isoformat(), ":ttl": _expiry(expires)},
        )

    def _update(self, user_id: UserId, update: str, condition: str, names: set[str], values: dict[str, object]) -> None:
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(_name(user_id)),
                UpdateExpression=update,
                ConditionExpression=condition,
                ExpressionAttributeNames={f"#{name}": name for name in {*names, "ttl"}},
                ExpressionAttributeValues=item_from(values),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return  # the stored day is the same or later


@dataclass(frozen=True, slots=True)
class QuietWatch:
    """Publishes `went_quiet`, once for each period without data.

    Attributes:
        after: the number of whole days without data, after which a connected wearable is quiet.
    """

    connections: ConnectionStore
    last_data: LastDataStore
    bus: EventBus
    after: int

    def check(self, some: Sequence[Facts], *, now: datetime, is_over: "Callable[[], bool]") -> bool:
        """Check connections that are not erased, and publish an event for each that has become quiet.

        One without a day gets the current one, so that switching the check on publishes no event for old connections.

        Args:
            some: the connections.
            now: the current time.
            is_over: whether no further event is to be published.

        Returns:
            Whether all of them are checked. A repeat continues.

        Raises:
            NotPublished: EventBridge rejected an event. A repeat publishes it with the same id.
        """
        today = now.astimezone(UTC).date()
        connected = [facts for facts in some if _is_connected(facts)]
        known = self.last_data.read(facts.user_id for facts in connected)
        quiet: dict[UserId, date] = {}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            writes = []
            for facts in connected:
                last = known.get(facts.user_id)
                if last is None:
                    writes.append(pool.submit(self.last_data.note, facts.user_id, today))
                    continue
                since = max(last.day, _day(facts.at(Kind.CONNECTED) or Position(0)))
                if (today - since).days > self.after and (last.named is None or last.named < since):
                    quiet[facts.user_id] = since
                elif last.expires < _expiry(today - (KEPT_FOR - _KEPT_AT_LEAST)):
                    writes.append(pool.submit(self._keep, facts.user_id, today))
            for write in writes:
                write.result()
        return self._publish(quiet, now=now, is_over=is_over)

    def _keep(self, user_id: UserId, today: date) -> None:
        self.last_data.keep(user_id, today=today)

    def _publish(self, quiet: dict[UserId, date], *, now: datetime, is_over: "Callable[[], bool]") -> bool:
        if not quiet:
            return True
        # Read again, with the tombstones: an erasure may have begun since the page was read.
        views, erased = self.connections.views_with_erased(quiet)
        for user_id, since in quiet.items():
            view = views.get(user_id)
            if user_id in erased or view is None or view.status is not Status.CONNECTED or view.user_id != user_id:
                continue
            if view.reference_id is None:
                continue  # published as soon as the user is known
            if is_over():
                return False
            self._publish_one(view, view.reference_id, since, now=now)
        return True

    def _publish_one(self, connection: Connection, reference_id: ReferenceId, since: date, *, now: datetime) -> None:
        own = self.connections.of_user(reference_id)
        event = went_quiet(connection, reference_id, since, now=now)
        listed = listed_connections(reference_id, own, include_revoked=False)
        self.bus.put([(event, listed)], Position(int(now.timestamp() * 1000)))
        self.last_data.note_event(connection.user_id, since, today=now.astimezone(UTC).date())


def went_quiet(connection: Connection, reference_id: ReferenceId, since: date, *, now: datetime) -> ChangeEvent:
    """Return the event about a period without data. Its id is the same whenever it is published."""
    parts = [ChangeType.WENT_QUIET, connection.user_id, since.isoformat()]
    return ChangeEvent(
        event_id="evt_" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32],
        type=ChangeType.WENT_QUIET,
        reference_id=reference_id,
        connection=connection,
        previous=None,
        replaces=(),
        at=Position(int(now.timestamp()) * 1000),
        quiet_since=since,
    )


def _is_connected(facts: Facts) -> bool:
    """Whether data is expected under this same `user_id`. A login that is needed has an event of its own."""
    return facts.first_connected is not None and facts.replaced_by is None and facts.status is Status.CONNECTED


def _day(position: Position) -> date:
    return datetime.fromtimestamp(position / 1000, UTC).date()


def _expiry(day: date) -> int:
    return int((datetime(day.year, day.month, day.day, tzinfo=UTC) + KEPT_FOR).timestamp())


def _name(user_id: UserId) -> str:
    return f"data:{hashlib.sha256(user_id.encode()).hexdigest()}"


def _key(name: str) -> Key:
    return {"session_id": {"S": name}}
