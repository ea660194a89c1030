"""The demo's back end: receives the change events as NotifyUrl does, for the timeline (docs/events.md)."""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import Any, Final

from local.demo.timeline import Event

KEPT: Final = 500
STACK_TO_APP: Final = "API → app"
EXPLANATION: Final = "The stack notifies the app's back end of the change, after it is stored, with a key in a header."


class Notifications:
    """The latest events, each once."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        self._latest: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def accepts(self, key: str) -> bool:
        """Whether a request has the right key."""
        return hmac.compare_digest(key.encode(), self._key)

    def receive(self, event: dict[str, Any]) -> None:
        """Keep an event. A repeated one has the same id."""
        detail = event["detail"]
        self._latest[detail["event_id"]] = detail
        while len(self._latest) > KEPT:
            self._latest.popitem(last=False)

    def of(self, reference_id: str) -> list[Event]:
        """Return the events of a user for the timeline."""
        return [
            Event(event_id, detail["position"], STACK_TO_APP, f"event {detail['type']}", EXPLANATION, detail)
            for event_id, detail in self._latest.items()
            if detail["reference_id"] == reference_id
        ]
