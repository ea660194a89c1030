"""The start of a backfill: by a request, or because a connection was connected for the first time."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from uuid import UUID, uuid5

from terra_connections.auth.caller import Caller
from terra_connections.change_events.change_event import ChangeEvent, ChangeType
from terra_connections.connections.change import Change
from terra_connections.connections.connection import Connection
from terra_connections.connections.facts import Status
from terra_connections.connections.lineage import Lineage
from terra_connections.connections.store import ConnectionStore
from terra_connections.data.backfill import MOST_DAYS, MOST_REQUESTS, Backfill, Period, Target, day_of
from terra_connections.data.backfill_step import Step
from terra_connections.data.backfill_store import BackfillStore
from terra_connections.data_types import REQUESTED
from terra_connections.errors import ErasureInProgress, InvalidRequest, NotFound
from terra_connections.ids import ReferenceId, UserId
from terra_connections.step_queue import StepQueue

_BACKFILL_IDS = UUID("8d6f2a0c-5a0e-4b43-9a0e-7d1f6f1d9c52")
"""The namespace of the ids of backfills that a connection causes (RFC 9562, version 5)."""


def find_targets(
    caller: Caller, *, user_id: UserId | None, reference_id: ReferenceId | None, connections: ConnectionStore
) -> tuple[ReferenceId, list[Target]]:
    """Return the user of a request for a backfill, and the connections that it is about.

    Raises:
        InvalidRequest: a request with a service key names no user.
        Forbidden: a request with a user token names another user.
        NotFound: there is no such connection, the caller may not read it, or it is not connected.
    """
    if user_id is not None:
        found = connections.find(user_id, caller=caller)
        listed = [] if found is None else [found]
        owner = None if found is None else found.reference_id
    else:
        owner = caller.reference_id(reference_id)
        listed = [each for each in Lineage(connections.of_user(owner)).views() if each.reference_id == owner]
    targets = sorted((_target(each) for each in listed if each.status is Status.CONNECTED), key=lambda one: one.user_id)
    if owner is None or not targets:
        message = "There is no such connection, or it is not connected."
        raise NotFound(message)
    return owner, targets


def period_of(first: date, last: date | None, *, now_s: float) -> Period:
    """Return the period of a request. Without its last day it ends today.

    Raises:
        InvalidRequest: there are no data of such a period, or it is too long.
    """
    today = day_of(now_s)
    period = Period(first, today if last is None else last)
    # In the east of UTC, tomorrow has begun.
    if first > today + timedelta(days=1):
        raise InvalidRequest([("from", "must not be in the future")])
    if period.days > MOST_DAYS:
        raise InvalidRequest([("from", f"must be at most {MOST_DAYS} days before to")])
    return Period(first, max(first, period.last))


def start_backfill(backfill: Backfill, *, backfills: BackfillStore, queue: StepQueue) -> None:
    """Store a backfill, and send the first message for each of its connections.

    Raises:
        InvalidRequest: it takes too many requests.
        ErasureInProgress: the user was erased after the backfill's time, or is being erased.
        NotDurable, ClientError, BotoCoreError: a repeat with the same id continues.
    """
    if backfill.requests > MOST_REQUESTS:
        message = f"needs {backfill.requests} requests to Terra, and may need {MOST_REQUESTS}: name fewer types or days"
        raise InvalidRequest([("body", message)])
    backfills.create(backfill)
    for number in range(len(backfill.targets)):
        queue.send(Step(backfill.backfill_id, number))


@dataclass(frozen=True, slots=True)
class BackfillOnConnect:
    """Starts the backfill of a new connection.

    Attributes:
        days: its length, up to the day of the connection.
        window_days: the most days of one request.
    """

    days: int
    window_days: int
    backfills: BackfillStore
    queue: StepQueue

    def follow(self, change: Change, event: ChangeEvent) -> None:
        """Start a backfill if this event is about the first connection. A repeat starts no second one.

        Raises:
            NotDurable, ClientError, BotoCoreError: the record has to be repeated.
        """
        if event.type is not ChangeType.CONNECTED or not _is_first(change):
            return
        today = day_of(change.at / 1000)
        backfill = Backfill(
            str(uuid5(_BACKFILL_IDS, event.event_id)),
            event.reference_id,
            (_target(event.connection),),
            REQUESTED,
            Period(today - timedelta(days=self.days), today),
            self.window_days,
            change.at,
        )
        with suppress(ErasureInProgress):
            start_backfill(backfill, backfills=self.backfills, queue=self.queue)


def _is_first(change: Change) -> bool:
    """Whether a `user_id` had not been connected before, or had no owner."""
    old = change.old
    return old is None or old.first_connected is None or old.owner is None


def _target(connection: Connection) -> Target:
    return Target(connection.user_id, connection.provider)
