"""Backfills: requests to Terra for the data of a past period, and how much of it has arrived.

What is stored are facts: the requests that Terra has accepted, and what was received for each of them. The state of a
type is computed from them and the time, when it is read. Deliveries therefore count in any order, and however late.

Source: Terra's documentation and OpenAPI document (2026.10). The answer to a request with `to_webhook` has a
`reference`, and its deliveries carry it as `terra-reference`. Data of more than a month are sent in chunks, whose trace
ids end with `:chunk:<n>`, in no promised order. `large_request_sending` has their number; it may come last.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

from terra_connections.connections.connection import format_timestamp
from terra_connections.data_types import WITHOUT_PERIOD
from terra_connections.ids import ReferenceId, UserId

MOST_DAYS = 1825
"""Of one request to Terra, and so of a backfill: five years."""
MOST_REQUESTS = 4000
"""Of one backfill: GET /backfills/{backfill_id} reads what was received for each of them, a hundred in 5 ms."""
KEPT_FOR = timedelta(days=7)
"""Not longer than the names of what a user has started (`users.store`), by which an erasure finds a backfill."""
QUIET_FOR = timedelta(hours=1)
"""If nothing has arrived for this long, Terra sends no more."""
_NEVER_CHUNKED = timedelta(days=28)
"""The shortest month: Terra sends data of up to a month in one delivery."""


class State(StrEnum):
    """How far the data of one type of one connection are."""

    PENDING = "pending"
    REQUESTED = "requested"
    RECEIVING = "receiving"
    COMPLETE = "complete"
    PARTIAL = "partial"
    FAILED = "failed"


_FINAL = {State.COMPLETE, State.PARTIAL, State.FAILED}


@dataclass(frozen=True, slots=True)
class Period:
    """Days, from the first to the last one, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.last - self.first).days + 1

    def windows(self, days: int) -> "list[Period]":
        """Divide it into periods of at most so many days."""
        starts = range(0, self.days, days)
        begins = [self.first + timedelta(days=number) for number in starts]
        return [Period(begin, min(begin + timedelta(days=days - 1), self.last)) for begin in begins]


@dataclass(frozen=True, slots=True)
class Target:
    """A connection whose data are requested."""

    user_id: UserId
    provider: str


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill.

    Attributes:
        reference_id: the user.
        targets: the user's connections.
        types: of `data_types.REQUESTED`.
        window_days: the most days of one request.
        at: when it was started, in Unix milliseconds.
    """

    backfill_id: str
    reference_id: ReferenceId
    targets: tuple[Target, ...]
    types: tuple[str, ...]
    period: Period
    window_days: int
    at: int

    def windows(self, type_: str) -> list[Period]:
        """Return the period of each request for a type."""
        return [self.period] if type_ == WITHOUT_PERIOD else self.period.windows(self.window_days)

    @property
    def requests(self) -> int:
        """The number of requests to Terra."""
        return len(self.targets) * sum(len(self.windows(type_)) for type_ in self.types)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that Terra has accepted.

    Attributes:
        reference: Terra's id of it.
        at: in Unix seconds.
        is_large: whether Terra has said that it sends chunks.
    """

    reference: str
    at: int
    is_large: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """The requests for one type of one connection, in the order of their windows.

    Attributes:
        number: that of the connection in `Backfill.targets`.
        reason: why Terra did not accept a request; no further one follows.
        version: of the stored item; 0 if there is none.
    """

    number: int
    type: str
    accepted: tuple[Accepted, ...] = ()
    reason: str | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Received:
    """What was received for a request.

    Attributes:
        parts: the different deliveries: `chunk:<n>`, or the id of an event.
        at: when the last one was received, in Unix seconds.
        expected: the number of chunks that Terra has announced.
    """

    parts: frozenset[str] = frozenset()
    at: int = 0
    expected: int | None = None

    @property
    def chunks(self) -> int:
        """The number of different chunks."""
        return sum(part.startswith(CHUNK) for part in self.parts)


CHUNK = "chunk:"
NOTHING = Received()


@dataclass(frozen=True, slots=True)
class TypeView:
    """The state of one type of one connection: `BackfillType` in openapi.yaml."""

    type: str
    state: State
    received: int
    expected: int | None
    reason: str | None

    def as_json(self) -> dict[str, Any]:
        """Return it in the format of openapi.yaml."""
        return {
            "type": self.type,
            "state": self.state.value,
            "received": self.received,
            "expected": self.expected,
            "reason": self.reason,
        }


def type_view(
    progress: Progress, windows: Sequence[Period], received: Mapping[str, Received], *, now: datetime
) -> TypeView:
    """Compute the state of one type.

    Args:
        progress: its requests.
        windows: the periods of all its requests, also of those that were not sent yet.
        received: what was received, by Terra's references.
        now: the current time.
    """
    counted = [_counted(each, received.get(each.reference, NOTHING)) for each in progress.accepted]
    waiting = [1 if timedelta(days=each.days) <= _NEVER_CHUNKED else None for each in windows[len(counted) :]]
    arrived = sum(count for count, _ in counted)
    wanted = [expected for _, expected in counted] + waiting
    known = [each for each in wanted if each is not None]
    return TypeView(
        progress.type,
        _state(progress, counted, received, is_sent=not waiting, now=now),
        received=arrived,
        expected=sum(known) if len(known) == len(wanted) else None,
        reason=progress.reason,
    )


def _counted(request: Accepted, received: Received) -> tuple[int, int | None]:
    """Return how many deliveries of a request have arrived, and how many there are, if that is known."""
    if request.is_large or received.chunks:
        return received.chunks, received.expected
    return min(len(received.parts), 1), 1


def _state(
    progress: Progress,
    counted: Sequence[tuple[int, int | None]],
    received: Mapping[str, Received],
    *,
    is_sent: bool,
    now: datetime,
) -> State:
    if progress.reason is not None:
        return State.FAILED
    if not progress.accepted:
        return State.PENDING
    if is_sent and all(expected is not None and count >= expected for count, expected in counted):
        return State.COMPLETE
    last = max(max(each.at, received.get(each.reference, NOTHING).at) for each in progress.accepted)
    if is_sent and now.timestamp() - last >= QUIET_FOR.total_seconds():
        return State.PARTIAL
    return State.RECEIVING if any(count for count, _ in counted) else State.REQUESTED


def as_json(
    backfill: Backfill, progress: Iterable[Progress], received: Mapping[str, Received], *, now: datetime
) -> dict[str, Any]:
    """Return a backfill in the format of openapi.yaml."""
    of_type = {(each.number, each.type): each for each in progress}
    views = [
        [
            type_view(of_type.get((number, type_), Progress(number, type_)), backfill.windows(type_), received, now=now)
            for type_ in backfill.types
        ]
        for number in range(len(backfill.targets))
    ]
    is_over = all(view.state in _FINAL for each in views for view in each)
    return {
        "backfill_id": backfill.backfill_id,
        "reference_id": backfill.reference_id,
        "status": "finished" if is_over else "running",
        "from": backfill.period.first.isoformat(),
        "to": backfill.period.last.isoformat(),
        "created_at": format_timestamp(backfill.at),
        "expires_at": format_timestamp(backfill.at + int(KEPT_FOR.total_seconds()) * 1000),
        "connections": [
            {"user_id": target.user_id, "provider": target.provider, "types": [view.as_json() for view in of_target]}
            for target, of_target in zip(backfill.targets, views, strict=True)
        ],
    }


def day_of(seconds: float) -> date:
    """Return the day of a time in Unix seconds, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).date()
