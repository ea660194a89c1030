"""The demo's back end: receives the change events as NotifyUrl does, for the timeline (docs/events.md)."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from local.demo.timeline import Event

if TYPE_CHECKING:
    from collections.abc import Collection

KEPT: Final = 500
SHOWN: Final = 10
"""Deliveries of health data in the timeline: a backfill has many."""
STACK_TO_APP: Final = "API → app"
DATA: Final = ("data_received", "data_claimed")
"""The types of events about a delivery of health data."""
EXPLANATION: Final = "The stack notifies the app's back end of the change, after it is stored, with a key in a header."
DATA_EXPLANATION: Final = (
    "Health data has arrived and is stored. The event names its place in the bucket, and has no content."
)


class Notifications:
    """The latest events, each once."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._latest: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._deliveries: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def accepts(self, key: str) -> bool:
        """Whether a request has the right key."""
        return hmac.compare_digest(key.encode(), self._key)

    def receive(self, event: dict[str, Any]) -> None:
        """Keep an event. A repeated one has the same id."""
        detail = event["detail"]
        is_data = event["detail-type"] in DATA
        kept = self._deliveries if is_data else self._latest
        kept[detail["event_id"]] = {**detail, "event": event["detail-type"]} if is_data else detail
        while len(kept) > KEPT:
            kept.popitem(last=False)

    def of(self, reference_id: str) -> list[Event]:
        """Return the events of a user for the timeline."""
        changes = [
            Event(event_id, detail["position"], STACK_TO_APP, f"event {detail['type']}", EXPLANATION, detail)
            for event_id, detail in self._latest.items()
            if detail["reference_id"] == reference_id
        ]
        deliveries = [
            Event(
                event_id,
                detail["position"],
                STACK_TO_APP,
                f"event {detail['event']}: {detail['type']}",
                DATA_EXPLANATION,
                detail,
            )
            for event_id, detail in self._deliveries.items()
            if detail["reference_id"] == reference_id
        ]
        return [*changes, *deliveries[-SHOWN:]]

    def deliveries_of(self, user_ids: Collection[str]) -> list[dict[str, Any]]:
        """Return the deliveries of health data for these `user_id`s, the latest one last."""
        found = [detail for detail in self._deliveries.values() if detail["user_id"] in user_ids]
        return sorted(found, key=lambda detail: detail["position"])
