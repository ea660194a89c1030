"""What Terra has delivered to a destination, read from either version of the Admin API.

October's list has a row for each attempt. November's has a row for each event, with the state at each destination; its
members are not published in full, so several names are read. Terra's texts disagree about the filter `outcome` and
about attempts without a response (`http_status` 0 or absent): no filter is used, and only 2xx counts as delivered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tools.terra.admin import AdminApi
    from tools.terra.models import Destination

_DELIVERED: Final = {"delivered", "succeeded", "success"}
_WAITING: Final = {"pending", "retrying", "queued"}


@dataclass
class Event:
    """An event, and its attempts at some destinations.

    Attributes:
        at: the time of the event, or of its first attempt.
        attempts: of each destination, by its id: the time and status of each attempt; None is no response.
    """

    event_id: str
    type: str
    user_id: str | None
    at: datetime
    attempts: dict[str, list[tuple[datetime, int | None]]] = field(default_factory=dict)

    def reached(self, *destinations: Destination) -> bool:
        """Return whether one of the destinations has accepted it."""
        return any(_is_success(status) for each in destinations for _, status in self.attempts.get(each.id, ()))

    def was_sent_to(self, *destinations: Destination) -> bool:
        """Return whether Terra has sent it, or waits to send it, to one of the destinations."""
        return any(each.id in self.attempts for each in destinations)

    def last_status(self, *destinations: Destination) -> int | None:
        """Return the status of the newest attempt."""
        attempts = [attempt for each in destinations for attempt in self.attempts.get(each.id, ())]
        return max(attempts, key=lambda attempt: attempt[0])[1] if attempts else None


def events(api: AdminApi, destinations: Sequence[Destination], *, since: datetime) -> list[Event]:
    """Return the events since a time that were sent to the destinations, oldest first."""
    rows = api.events({"since": rfc3339(since)})
    found = _of_november(api, rows, destinations) if api.has_events else _of_october(rows, destinations)
    return sorted((each for each in found if each.attempts), key=lambda each: each.at)


def refreshed(api: AdminApi, event: Event, destinations: Sequence[Destination]) -> Event:
    """Return the current state of an event."""
    if api.has_events:
        return _detailed(api.event(event.event_id), destinations) or event
    return next(iter(_of_october(api.events({"event_id": event.event_id}), destinations)), event)


def _of_october(rows: Iterable[Mapping[str, Any]], destinations: Sequence[Destination]) -> Iterable[Event]:
    found: dict[str, Event] = {}
    for row in rows:
        event_id, at = row.get("event_id"), _time(row.get("sent_at"))
        owner = _owner(row, destinations)
        if not isinstance(event_id, str) or at is None or owner is None:
            continue
        event = found.setdefault(event_id, Event(event_id, str(row.get("data_type") or ""), None, at))
        event.at = min(event.at, at)
        event.user_id = event.user_id or _text(row.get("user_id"))
        event.attempts.setdefault(owner.id, []).append((at, _status(row)))
    return found.values()


def _of_november(
    api: AdminApi, rows: Iterable[Mapping[str, Any]], destinations: Sequence[Destination]
) -> Iterator[Event]:
    for row in rows:
        states = {_id_of(each): str(each.get("status", "")) for each in _list(row.get("deliveries"))}
        event = _detailed(row, destinations)
        if event is None:
            continue
        ours = {each.id: states[each.id] for each in destinations if each.id in states}
        if ours and all(state in _DELIVERED for state in ours.values()):
            for destination_id in ours:
                event.attempts[destination_id] = [(event.at, httpx.codes.OK)]
        elif ours or "deliveries" not in row:
            event = _detailed(api.event(event.event_id), destinations) or event
        yield event


def _detailed(row: Mapping[str, Any], destinations: Sequence[Destination]) -> Event | None:
    """Return an event with the attempts that a row of November contains."""
    event_id = _text(row.get("id")) or _text(row.get("event_id"))
    at = _time(row.get("created_at")) or _time(row.get("sent_at"))
    if event_id is None or at is None:
        return None
    type_ = _text(row.get("type")) or _text(row.get("event_type")) or _text(row.get("data_type")) or ""
    event = Event(event_id, type_, _text(row.get("user_id")), at)
    for delivery in _list(row.get("deliveries")):
        owner = _owner({**delivery, "destination_id": _id_of(delivery)}, destinations)
        if owner is None:
            continue
        attempts = [(_time(each.get("sent_at")) or at, _status(each)) for each in _list(delivery.get("attempts"))]
        state = str(delivery.get("status", ""))
        if state in _DELIVERED and not any(_is_success(status) for _, status in attempts):
            attempts.append((at, httpx.codes.OK))
        if attempts or state not in _WAITING:
            event.attempts.setdefault(owner.id, []).extend(attempts or [(at, None)])
        else:
            event.attempts.setdefault(owner.id, [])
    return event


def _owner(row: Mapping[str, Any], destinations: Sequence[Destination]) -> Destination | None:
    """Return the destination that a row is about. Older rows name only its URL."""
    named = _text(row.get("destination_id"))
    for each in destinations:
        if named == each.id or (named is None and row.get("destination_url") == each.url):
            return each
    return None


def _id_of(delivery: Mapping[str, Any]) -> str | None:
    destination = delivery.get("destination")
    inner = destination.get("id") if isinstance(destination, Mapping) else None
    return _text(delivery.get("destination_id")) or _text(inner)


def _status(row: Mapping[str, Any]) -> int | None:
    status = row.get("http_status")
    return status if isinstance(status, int) and status > 0 else None


def _is_success(status: int | None) -> bool:
    return status is not None and httpx.codes.is_success(status)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _list(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _time(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def rfc3339(at: datetime) -> str:
    """Return a time as the Admin API reads it."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
