"""The events and dispatches of the Admin API, computed from the outbox's deliveries."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from terra_simulator.admin.paging import rfc3339
from terra_simulator.outbox import Attempt, Delivery, readable
from terra_simulator.simulator import Simulator

Row = dict[str, object]


@dataclass(frozen=True)
class Event:
    """An event, and its deliveries to all destinations and by resends, oldest first."""

    event_id: str
    deliveries: Sequence[Delivery]

    @property
    def first(self) -> Delivery:
        """Its first delivery."""
        return self.deliveries[0]

    @property
    def body(self) -> object:
        """Its payload."""
        return readable(self.first.payload)

    @property
    def type(self) -> str | None:
        """The type of its payload, which a ping does not have."""
        return self.first.payload_type

    @property
    def user(self) -> Mapping[str, object]:
        """The user in its payload; empty if it has none."""
        return self.first.subject


def events(terra: Simulator) -> list[Event]:
    """Return every event, newest first."""
    found: dict[str, list[Delivery]] = {}
    for delivery in terra.outbox.deliveries():
        found.setdefault(delivery.event_id, []).append(delivery)
    return [Event(event_id, deliveries) for event_id, deliveries in reversed(found.items())]


def subject(terra: Simulator, event: Event) -> Row:
    """Return the fields about an event's user; `user_id` and `reference_id` are absent if the connection is gone."""
    user_id = str(event.user.get("user_id") or "")
    row: Row = {"provider": str(event.user.get("provider") or "").lower()}
    user = terra.users.by_id.get(user_id) or terra.users.deauthenticated.get(user_id)
    if user_id:
        row["connection_id"] = str(int(hashlib.sha256(user_id.encode()).hexdigest()[:15], 16))
    if user is not None:
        row["user_id"] = user_id
        if user.reference_id is not None:
            row["reference_id"] = user.reference_id
    return row


def dispatches(terra: Simulator, event: Event) -> Iterator[tuple[float, Row]]:
    """Yield October's rows of an event, each with its time: one for each attempt, newest first."""
    for delivery in reversed(event.deliveries):
        destination = terra.destinations.by_id.get(delivery.destination_id or "")
        for attempt in reversed(delivery.attempts):
            row = {
                "event_id": event.event_id,
                "sent_at": rfc3339(attempt.at),
                "data_type": event.type,
                "destination_type": "webhook",
                "destination_id": delivery.destination_id,
                "destination_url": attempt.url or (destination.shown_url if destination else ""),
                "response_time_ms": attempt.took_ms,
                "bytes": len(delivery.body),
                **_status(terra, attempt),
                **subject(terra, event),
            }
            if not terra.settings.failed_rows_name_destination or delivery.destination_id is None:
                del row["destination_id"]
            yield attempt.at, row
        if delivery.destination_id is None and not delivery.attempts:
            yield delivery.created_at, _undispatched(terra, event)


def _undispatched(terra: Simulator, event: Event) -> Row:
    """Return the row of an event that no destination admits."""
    return {
        "event_id": event.event_id,
        "sent_at": rfc3339(event.first.created_at),
        "data_type": event.type,
        "destination_type": "",
        "destination_url": "",
        "response_time_ms": 0,
        "bytes": len(event.first.body),
        "http_status": 0,
        **subject(terra, event),
    }


def _status(terra: Simulator, attempt: Attempt) -> Row:
    if attempt.status is None and terra.settings.unanswered_status == "absent":
        return {}
    return {"http_status": attempt.status or 0}


def summary(terra: Simulator, event: Event) -> Row:
    """Return November's row of an event: where its delivery stands at every destination. The fields are assumed."""
    states: dict[str, str] = {}
    for delivery in event.deliveries:
        if delivery.destination_id is not None and states.get(delivery.destination_id) != "delivered":
            states[delivery.destination_id] = _state(delivery)
    return {
        "id": event.event_id,
        "type": event.type,
        "created_at": rfc3339(event.first.created_at),
        "deliveries": [{"destination_id": each, "status": state} for each, state in states.items()],
        **subject(terra, event),
    }


def detail(terra: Simulator, event: Event) -> Row:
    """Return November's event with the attempts of each delivery. The fields are assumed."""
    deliveries = [
        {
            "id": delivery.delivery_id,
            "destination_id": delivery.destination_id,
            "status": _state(delivery),
            "attempts": [
                {
                    "sent_at": rfc3339(attempt.at),
                    "destination_url": attempt.url,
                    "response_time_ms": attempt.took_ms,
                    **_status(terra, attempt),
                }
                for attempt in delivery.attempts
            ],
        }
        for delivery in event.deliveries
        if delivery.destination_id is not None
    ]
    return summary(terra, event) | {"deliveries": deliveries}


def _state(delivery: Delivery) -> str:
    return {"delivered": "delivered", "pending": "pending", "held": "pending"}.get(delivery.state, "failed")
