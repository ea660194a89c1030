"""Lets Terra deliver events once more that it could not deliver to a stack.

A repeat does no harm: an event that was delivered in the meantime is left out, and the stack's facts do not depend on
their number. Whether a resend has the original ordering timestamp is not documented. An event about a connection's
status is therefore not resent if a newer one about the same `user_id` was delivered: it could count as newer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tools.progress import say
from tools.terra.admin import AdminRefused
from tools.terra.deliveries import refreshed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tools.terra.admin import AdminApi
    from tools.terra.deliveries import Event
    from tools.terra.models import Destination

STATUS_TYPES: Final = {"auth", "deauth", "user_reauth", "access_revoked", "connection_error"}
DELIVERED_WITHIN: Final = 20.0  # seconds: a resend is queued, and an attempt takes up to 8 s
REPORT_INTERVAL: Final = 2.0  # seconds
MOST_FAILURES: Final = 3


@dataclass(frozen=True)
class Choice:
    """The undelivered events, oldest first: those to resend, and those that are left out."""

    resent: tuple[Event, ...]
    superseded: tuple[Event, ...]
    without_user: tuple[Event, ...]


@dataclass
class Result:
    """What became of the resent events."""

    delivered: int = 0
    queued: int = 0
    gone: int = 0
    failed: int = 0
    last_status: int | None = None
    is_stopped: bool = False


def choose(events: Sequence[Event], destinations: Sequence[Destination]) -> Choice:
    """Choose the events to resend: those that none of the destinations has accepted."""
    delivered_at = {
        each.user_id: each.at
        for each in sorted(events, key=lambda event: event.at)
        if each.user_id and each.type in STATUS_TYPES and each.reached(*destinations)
    }
    resent, superseded, without_user = [], [], []
    for event in events:
        if event.reached(*destinations):
            continue
        newer = delivered_at.get(event.user_id or "")
        if event.user_id is None:
            without_user.append(event)
        elif event.type in STATUS_TYPES and newer is not None and newer > event.at:
            superseded.append(event)
        else:
            resent.append(event)
    return Choice(tuple(resent), tuple(superseded), tuple(without_user))


def resend(
    api: AdminApi,
    events: Sequence[Event],
    destinations: Sequence[Destination],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Resend events one by one, and wait for each delivery; stop after several failures in a row."""
    result, failures, reported = Result(), 0, time.monotonic()
    for number, event in enumerate(events, start=1):
        try:
            api.resend(event_id=event.event_id, event_type=event.type, user_id=event.user_id or "")
        except AdminRefused as error:
            if error.problem.code != "not_found":
                raise
            result.gone += 1
            continue
        state = _settled(api, event, destinations, sleep)
        if state is None:
            result.queued += 1
        elif state.reached(*destinations):
            result.delivered, failures = result.delivered + 1, 0
        else:
            result.failed, failures = result.failed + 1, failures + 1
            result.last_status = state.last_status(*destinations)
            if failures == MOST_FAILURES:
                result.is_stopped = number < len(events)
                return result
        if time.monotonic() - reported > REPORT_INTERVAL:
            reported = time.monotonic()
            say(f"  {number} of {len(events)} resent, {result.delivered} delivered ...")
    return result


def _settled(
    api: AdminApi, event: Event, destinations: Sequence[Destination], sleep: Callable[[float], None]
) -> Event | None:
    """Return the event after the resend's attempt; None if there was none in time."""
    before = _attempts(event, destinations)
    ends_at, wait = time.monotonic() + DELIVERED_WITHIN, 0.2
    while time.monotonic() < ends_at:
        sleep(wait)
        wait = min(wait * 2, 2.0)
        now = refreshed(api, event, destinations)
        if now.reached(*destinations) or _attempts(now, destinations) > before:
            return now
    return None


def _attempts(event: Event, destinations: Sequence[Destination]) -> int:
    return sum(len(event.attempts.get(each.id, ())) for each in destinations)
