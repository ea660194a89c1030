"""Items of a user besides sessions and connections, each under the user's pseudonym.

```text
Connections  "erased:user:<pseudonym>"             until, ttl: the user was erased
Sessions     "user:<pseudonym>:<day>"              begun: a string set, "<unix milliseconds> <kind> <name>"; ttl
             "limit:<pseudonym>:open"              ends: a number set, unix milliseconds; ttl
```

An index may lag a write by seconds, so an erasure cannot rely on it. The transactions that store a new session or add a
connection to a user therefore also write its name under the user and the day, on condition that the user's tombstone
allows it. An erasure first writes the tombstone and then reads those names consistently: each name was written before
the tombstone, or its transaction was rejected.

Everything that the user started before `until` is erased. While an erasure runs, `until` is in the future; at its end
it is set to the current time. `ends` contains the expiry times of the erased open sessions, so that an erasure does not
reset the limit of open sessions.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from terra_connections.dynamodb import Item, Key, TransactWrite, batch_get, item_from, transact
from terra_connections.errors import ErasureInProgress
from terra_connections.ids import ReferenceId
from terra_connections.users.limits import UserLimits
from terra_connections.users.pseudonym import Pseudonyms

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TOMBSTONE_KEPT_FOR = timedelta(days=36)
"""Longer than the oldest backup of Connections (35 days), and than the longest delay of a webhook from Terra."""
ERASURE_LEASE = timedelta(minutes=5)
"""An unfinished erasure prevents new sessions of the user for this long, unless it is retried."""
LOGIN_MAY_TAKE = timedelta(hours=1)
"""A login that started before an erasure may finish for this long after it: as long as a session is open."""
SESSION_KEPT_FOR = timedelta(days=7)
"""A login that finishes within this time still connects. Then its session is deleted."""
_BEGUN_KEPT_FOR = SESSION_KEPT_FOR + timedelta(days=1)
_OPEN_KEPT_FOR = timedelta(hours=2)
_DAY = timedelta(days=1)
_AT_ONCE = 10
_NO_TOMBSTONE = "attribute_not_exists(user_id) OR #ttl <= :now"


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """The name of something that a user has started.

    Attributes:
        at: its start, in Unix milliseconds.
        kind: `session`, `widget` (Terra's id of a widget session), `user_id`, or `provider`.
        name: its id; for a provider, its name or `*`.
    """

    at: int
    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "Name":
        """Parse the stored form."""
        at, kind, name = text.split(" ", 2)
        return cls(int(at), kind, name)

    def __str__(self) -> str:
        return f"{self.at} {self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Begun:
    """A login that a user starts.

    Attributes:
        reference_id: the user.
        at: its start, in Unix milliseconds.
        names: the names by which an erasure finds it and its connection is attributed to it.
    """

    reference_id: ReferenceId
    at: int
    names: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a user.

    Attributes:
        erased_until: everything started before this time, in Unix milliseconds, is erased; None without an erasure.
        begun: the names of today and yesterday that no erasure has deleted.
        ends_of_erased: when the erased open sessions would have expired.
    """

    erased_until: int | None
    begun: tuple[Name, ...]
    ends_of_erased: tuple[int, ...]


class UserStore:
    """Tombstones of users, and the names of what they have started."""

    def __init__(
        self,
        client: "DynamoDBClient",
        *,
        connections_table: str,
        sessions_table: str,
        pseudonyms: Pseudonyms,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._connections = connections_table
        self._sessions = sessions_table
        self._pseudonyms = pseudonyms
        self._clock = clock

    # -- reading -------------------------------------------------------------------------------------------------------

    def tombstone_key(self, reference_id: ReferenceId) -> str:
        """Return the key of a user's tombstone in Connections."""
        return f"erased:user:{self._pseudonyms.in_keys(reference_id)}"

    def pseudonym(self, reference_id: ReferenceId) -> str:
        """Return the pseudonym of a user in keys."""
        return self._pseudonyms.in_keys(reference_id)

    def standing(self, reference_id: ReferenceId, *, now: datetime) -> Standing:
        """Read the state of a user, consistently and in one round trip."""
        days = [self._day_key(reference_id, now - ago) for ago in (timedelta(0), _DAY)]
        tombstone, open_ = self.tombstone_key(reference_id), self._open_key(reference_id)
        keys = {self._connections: [_tombstone(tombstone)], self._sessions: [_key(name) for name in (*days, open_)]}
        found = batch_get(self._client, keys)
        untils = [int(item["until"]["N"]) for item in found[self._connections] if self.is_standing(item)]
        ends = [end for item in found[self._sessions] for end in item.get("ends", {"NS": []})["NS"]]
        return Standing(
            erased_until=untils[0] if untils else None,
            begun=tuple(_names(found[self._sessions])),
            ends_of_erased=tuple(sorted(int(end) for end in ends if int(end) > now.timestamp() * 1000)),
        )

    def is_standing(self, tombstone: Item) -> bool:
        """Whether a tombstone has not expired. DynamoDB deletes expired items with a delay."""
        return int(tombstone["ttl"]["N"]) > self._clock()

    def begun(self, reference_id: ReferenceId, *, since: datetime) -> list[Name]:
        """Read what a user has started since a time in the last days, consistently."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        days = []
        while since.date() <= now.date() and now - since < _BEGUN_KEPT_FOR:
            days.append(self._day_key(reference_id, since))
            since += _DAY
        keys = map(_key, days or [self._day_key(reference_id, now)])
        return _names(batch_get(self._client, {self._sessions: keys})[self._sessions])

    def all_begun(self, reference_id: ReferenceId) -> list[Name]:
        """Read everything that a user has started and that is still stored."""
        return self.begun(reference_id, since=datetime.fromtimestamp(self._clock(), UTC) - _BEGUN_KEPT_FOR + _DAY)

    # -- writes of transactions ----------------------------------------------------------------------------------------

    def unless_erased_since(self, reference_id: ReferenceId, *, read: int | None) -> TransactWrite:
        """Return the condition that a user's tombstone is unchanged; `read` is its `until`, or None without one."""
        if read is None:
            return self._check(reference_id, _NO_TOMBSTONE, {"#ttl": "ttl"}, {":now": int(self._clock())})
        return self._check(reference_id, "#until = :until", {"#until": "until"}, {":until": read})

    def unless_erased_after(self, reference_id: ReferenceId, *, begun_at: int) -> TransactWrite:
        """Return the condition that a user was not erased after a time in Unix milliseconds, nor is being erased."""
        names = {"#ttl": "ttl", "#until": "until"}
        values = {":now": int(self._clock()), ":until": begun_at}
        return self._check(reference_id, f"{_NO_TOMBSTONE} OR #until < :until", names, values)

    def _check(
        self, reference_id: ReferenceId, condition: str, names: Mapping[str, str], values: Mapping[str, int]
    ) -> TransactWrite:
        return {
            "ConditionCheck": {
                "TableName": self._connections,
                "Key": _tombstone(self.tombstone_key(reference_id)),
                "ConditionExpression": condition,
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": item_from(values),
            }
        }

    def begins(self, reference_id: ReferenceId, names: Iterable[Name]) -> TransactWrite:
        """Return the write that stores the names of what a user has started."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        return {
            "Update": {
                "TableName": self._sessions,
                "Key": _key(self._day_key(reference_id, now)),
                "UpdateExpression": "ADD begun :begun SET #ttl = :ttl",
                "ExpressionAttributeNames": {"#ttl": "ttl"},
                "ExpressionAttributeValues": {
                    ":begun": {"SS": sorted(map(str, names))},
                    ":ttl": {"N": str(int((now + _BEGUN_KEPT_FOR).timestamp()))},
                },
            }
        }

    def begin_mobile_token(self, reference_id: ReferenceId, limits: UserLimits, *, now: datetime) -> None:
        """Count a mobile token, and record that a login of any provider, without a session, may follow.

        Raises:
            ErasureInProgress: the user is being erased.
            UserLimitReached: the limit was already reached.
            NotDurable: contention or throttling lasted too long.
        """
        at = int(now.timestamp() * 1000)
        not_erased = self.unless_erased_after(reference_id, begun_at=at)
        begins = self.begins(reference_id, [Name(at, "provider", "*")])
        refused = transact(self._client, [not_erased, begins, *limits.writes(reference_id, now=now)])
        if not_erased in refused:
            message = "This user is being erased. Ask for a token afterwards."
            raise ErasureInProgress(message)
        if refused:
            raise limits.reached(now=now)

    # -- erasing -------------------------------------------------------------------------------------------------------

    def begin_erasure(self, reference_id: ReferenceId) -> None:
        """Write the user's tombstone, which prevents new logins until the erasure ends or its lease expires."""
        self._bury(reference_id, self._clock() + ERASURE_LEASE.total_seconds())

    def end_erasure(self, reference_id: ReferenceId, *, since: datetime) -> None:
        """Delete the names of what the user has started, because all of it is erased. Then allow new logins."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        days = {self._day_key(reference_id, since - ago * _DAY) for ago in range(_BEGUN_KEPT_FOR.days + 1)}

        def forget(key: str) -> None:
            self._client.delete_item(TableName=self._sessions, Key=_key(key))

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(forget, days | {self._day_key(reference_id, now)}))
        self._bury(reference_id, self._clock())

    def remember_open(self, reference_id: ReferenceId, ends: Iterable[int]) -> None:
        """Store the expiry times of open sessions that are about to be erased."""
        numbers = sorted({str(end) for end in ends})
        if numbers:
            self._client.update_item(
                TableName=self._sessions,
                Key=_key(self._open_key(reference_id)),
                UpdateExpression="ADD ends :ends SET #ttl = :ttl",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={
                    ":ends": {"NS": numbers},
                    ":ttl": {"N": str(int(self._clock() + _OPEN_KEPT_FOR.total_seconds()))},
                },
            )

    def _bury(self, reference_id: ReferenceId, until: float) -> None:
        tombstone = {
            "user_id": self.tombstone_key(reference_id),
            "until": int(until * 1000),
            "ttl": int(self._clock() + TOMBSTONE_KEPT_FOR.total_seconds()),
        }
        self._client.put_item(TableName=self._connections, Item=item_from(tombstone))

    # -- keys ----------------------------------------------------------------------------------------------------------

    def _day_key(self, reference_id: ReferenceId, day: datetime) -> str:
        return f"user:{self._pseudonyms.in_keys(reference_id)}:{day.astimezone(UTC):%Y-%m-%d}"

    def _open_key(self, reference_id: ReferenceId) -> str:
        return f"limit:{self._pseudonyms.in_keys(reference_id)}:open"


def _key(name: str) -> Key:
    return {"session_id": {"S": name}}


def _tombstone(name: str) -> Key:
    return {"user_id": {"S": name}}


def _names(items: Iterable[Item]) -> list[Name]:
    return sorted(Name.parse(text) for item in items for text in item.get("begun", {"SS": []})["SS"])
