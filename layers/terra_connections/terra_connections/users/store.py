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
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from terra_connections.dynamodb import CONTENTION, RetryBudget
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

    def standing(self, reference_id: ReferenceId, *, now: datetime) -> Standing:
        """Read the state of a user, consistently and in one round trip."""
        days = [self._day_key(reference_id, now - ago) for ago in (timedelta(0), _DAY)]
        tombstone, open_ = self.tombstone_key(reference_id), self._open_key(reference_id)
        found = self._get({self._connections: ("user_id", [tombstone]), self._sessions: ("session_id", [*days, open_])})
        stone = found.get(tombstone)
        ends = found.get(open_, {}).get("ends", {"NS": []})["NS"]
        return Standing(
            erased_until=int(stone["until"]["N"]) if stone and self.is_standing(stone) else None,
            begun=tuple(_names(found.get(day) for day in days)),
            ends_of_erased=tuple(sorted(int(end) for end in ends if int(end) > now.timestamp() * 1000)),
        )

    def is_standing(self, tombstone: Mapping[str, Any]) -> bool:
        """Whether a tombstone has not expired. DynamoDB deletes expired items with a delay."""
        return int(tombstone["ttl"]["N"]) > self._clock()

    def begun(self, reference_id: ReferenceId, *, since: datetime) -> list[Name]:
        """Read what a user has started since a time in the last days, consistently."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        days = []
        while since.date() <= now.date() and now - since < _BEGUN_KEPT_FOR:
            days.append(self._day_key(reference_id, since))
            since += _DAY
        found = self._get({self._sessions: ("session_id", days or [self._day_key(reference_id, now)])})
        return _names(found.values())

    def all_begun(self, reference_id: ReferenceId) -> list[Name]:
        """Read everything that a user has started and that is still stored."""
        return self.begun(reference_id, since=datetime.fromtimestamp(self._clock(), UTC) - _BEGUN_KEPT_FOR + _DAY)

    def _get(self, wanted: Mapping[str, tuple[str, Sequence[str]]]) -> dict[str, Mapping[str, Any]]:
        """Read items by their keys, consistently. `wanted` maps a table to the name of its key and the keys."""
        rest: Any = {
            table: {"Keys": [{key: {"S": name}} for name in names], "ConsistentRead": True}
            for table, (key, names) in wanted.items()
        }
        found: dict[str, Mapping[str, Any]] = {}
        patience = RetryBudget()
        while rest:
            answer = self._client.batch_get_item(RequestItems=rest)
            for table, items in answer["Responses"].items():
                found |= {str(item[wanted[table][0]]["S"]): item for item in items}
            rest = answer["UnprocessedKeys"]
            if rest:
                patience.wait()
        return found

    # -- writes of transactions ----------------------------------------------------------------------------------------

    def unless_erased_since(self, reference_id: ReferenceId, *, read: int | None) -> dict[str, Any]:
        """Return the condition that a user's tombstone is unchanged; `read` is its `until`, or None without one."""
        return self._check(reference_id, "#until = :until", read)

    def unless_erased_after(self, reference_id: ReferenceId, *, begun_at: int) -> dict[str, Any]:
        """Return the condition that a user was not erased after a time in Unix milliseconds, nor is being erased."""
        none = "attribute_not_exists(user_id) OR #ttl <= :now"
        return self._check(reference_id, f"{none} OR #until < :until", begun_at)

    def _check(self, reference_id: ReferenceId, condition: str, until: int | None) -> dict[str, Any]:
        names, values = {"#ttl": "ttl"}, {":now": {"N": str(int(self._clock()))}}
        if until is None:
            condition = "attribute_not_exists(user_id) OR #ttl <= :now"
        else:
            names["#until"], values[":until"] = "until", {"N": str(until)}
        if ":now" not in condition:
            del names["#ttl"], values[":now"]
        check = {
            "TableName": self._connections,
            "Key": {"user_id": {"S": self.tombstone_key(reference_id)}},
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
        return {"ConditionCheck": check}

    def begins(self, reference_id: ReferenceId, names: Iterable[Name]) -> dict[str, Any]:
        """Return the write that stores the names of what a user has started."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        update = {
            "TableName": self._sessions,
            "Key": {"session_id": {"S": self._day_key(reference_id, now)}},
            "UpdateExpression": "ADD begun :begun SET #ttl = :ttl",
            "ExpressionAttributeNames": {"#ttl": "ttl"},
            "ExpressionAttributeValues": {
                ":begun": {"SS": sorted(map(str, names))},
                ":ttl": {"N": str(int((now + _BEGUN_KEPT_FOR).timestamp()))},
            },
        }
        return {"Update": update}

    def begin_mobile_token(self, reference_id: ReferenceId, limits: UserLimits, *, now: datetime) -> None:
        """Count a mobile token, and record that a login of any provider, without a session, may follow.

        Raises:
            ErasureInProgress: the user is being erased.
            UserLimitReached: the limit was already reached.
            NotDurable: contention or throttling lasted too long.
        """
        at = int(now.timestamp() * 1000)
        writes: list[Any] = [
            self.unless_erased_after(reference_id, begun_at=at),
            self.begins(reference_id, [Name(at, "provider", "*")]),
            *limits.writes(reference_id, now=now),
        ]
        patience = RetryBudget()
        while True:
            try:
                self._client.transact_write_items(TransactItems=writes)
            except self._client.exceptions.TransactionCanceledException as error:
                codes = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])]
                if codes[:1] == ["ConditionalCheckFailed"]:
                    message = "This user is being erased. Ask for a token afterwards."
                    raise ErasureInProgress(message) from None
                if "ConditionalCheckFailed" in codes:
                    raise limits.reached(now=now) from None
                if not set(codes) <= CONTENTION | {"None"}:
                    raise
            except self._client.exceptions.TransactionInProgressException:
                # Our own previous try, whose response was lost, is still in progress.
                pass
            else:
                return
            patience.wait()

    # -- erasing -------------------------------------------------------------------------------------------------------

    def begin_erasure(self, reference_id: ReferenceId) -> None:
        """Write the user's tombstone, which prevents new logins until the erasure ends or its lease expires."""
        self._bury(reference_id, self._clock() + ERASURE_LEASE.total_seconds())

    def end_erasure(self, reference_id: ReferenceId, *, since: datetime) -> None:
        """Delete the names of what the user has started, because all of it is erased. Then allow new logins."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        days = {self._day_key(reference_id, since - ago * _DAY) for ago in range(_BEGUN_KEPT_FOR.days + 1)}

        def forget(key: str) -> None:
            self._client.delete_item(TableName=self._sessions, Key={"session_id": {"S": key}})

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(forget, days | {self._day_key(reference_id, now)}))
        self._bury(reference_id, self._clock())

    def remember_open(self, reference_id: ReferenceId, ends: Iterable[int]) -> None:
        """Store the expiry times of open sessions that are about to be erased."""
        numbers = sorted({str(end) for end in ends})
        if numbers:
            self._client.update_item(
                TableName=self._sessions,
                Key={"session_id": {"S": self._open_key(reference_id)}},
                UpdateExpression="ADD ends :ends SET #ttl = :ttl",
                ExpressionAttributeNames={"#ttl": "ttl"},
                ExpressionAttributeValues={
                    ":ends": {"NS": numbers},
                    ":ttl": {"N": str(int(self._clock() + _OPEN_KEPT_FOR.total_seconds()))},
                },
            )

    def _bury(self, reference_id: ReferenceId, until: float) -> None:
        item: Any = {
            "user_id": {"S": self.tombstone_key(reference_id)},
            "until": {"N": str(int(until * 1000))},
            "ttl": {"N": str(int(self._clock() + TOMBSTONE_KEPT_FOR.total_seconds()))},
        }
        self._client.put_item(TableName=self._connections, Item=item)

    # -- keys ----------------------------------------------------------------------------------------------------------

    def _day_key(self, reference_id: ReferenceId, day: datetime) -> str:
        return f"user:{self._pseudonyms.in_keys(reference_id)}:{day.astimezone(UTC):%Y-%m-%d}"

    def _open_key(self, reference_id: ReferenceId) -> str:
        return f"limit:{self._pseudonyms.in_keys(reference_id)}:open"


def _names(items: Iterable[Mapping[str, Any] | None]) -> list[Name]:
    return sorted(
        Name.parse(text) for item in items if item is not None for text in item.get("begun", {"SS": []})["SS"]
    )
