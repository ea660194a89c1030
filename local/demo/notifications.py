"""The demo's back end: receives the change events as NotifyUrl does, for the timeline (docs/events.md)."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from local.demo.curl import curl
from local.demo.timeline import Event
from local.notifications import KEY_HEADER

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
    """The latest events, each once, with the time of their arrival."""

    def __init__(self, key: str, url: str = "") -> None:
        self._key = key.encode()
        self._url = url
        self._latest: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._deliveries: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._arrivals: dict[str, int] = {}

    def accepts(self, key: str) -> bool:
        """Whether a request has the right key."""
        return hmac.compare_digest(key.encode(), self._key)

    def receive(self, event: dict[str, Any]) -> None:
        """Keep an event. A repeated one has the same id."""
        detail = event["detail"]
        is_data = event["detail-type"] in DATA
        kept = self._deliveries if is_data else self._latest
        kept[detail["event_id"]] = {**detail, "event": event["detail-type"]} if is_data else detail
        self._arrivals.setdefault(detail["event_id"], int(time.time() * 1000))
        while len(kept) > KEPT:
            self._arrivals.pop(kept.popitem(last=False)[0], None)

    def of(self, reference_id: str) -> list[Event]:
        """Return the events of a user for the timeline."""
        changes = [
            self._event(detail, f"event {detail['type']}", EXPLANATION)
            for detail in self._latest.values()
            if detail["reference_id"] == reference_id
        ]
        deliveries = [
            self._event(detail, f"event {detail['event']}: {detail['type']}", DATA_EXPLANATION)
            for detail in self._deliveries.values()
            if detail["reference_id"] == reference_id
        ]
        return [*changes, *deliveries[-SHOWN:]]

    def _event(self, detail: dict[str, Any], title: str, explanation: str) -> Event:
        event_id = detail["event_id"]
        at = self._arrivals[event_id]
        body = {"detail-type": detail.get("event", detail["type"]), "detail": detail}
        command = curl("POST", self._url, headers={KEY_HEADER: "$NOTIFY_KEY"}, body=body)
        return Event(event_id, STACK_TO_APP, at, at, title, "204", explanation, detail, command)

    def deliveries_of(self, user_ids: Collection[str]) -> list[dict[str, Any]]:
        """Return the deliveries of health data for these `user_id`s, the latest one last."""
        found = [detail for detail in self._deliveries.values() if detail["user_id"] in user_ids]
        return sorted(found, key=lambda detail: detail["position"])

    def last_data(self, user_ids: Collection[str]) -> dict[str, int]:
        """Return the time of the latest health data of each of these `user_id`s, in unix milliseconds."""
        return {detail["user_id"]: self._arrivals[detail["event_id"]] for detail in self.deliveries_of(user_ids)}
