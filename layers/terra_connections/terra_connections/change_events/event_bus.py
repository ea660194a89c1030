"""The stack's EventBridge event bus. An event that EventBridge does not accept is an error."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from terra_connections.change_events.change_event import ChangeEvent
from terra_connections.connections.connection import Connection
from terra_connections.connections.facts import Position

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "terra-connections"
MOST_ENTRIES = 10
"""The events of one request: the limit of PutEvents."""


class NotPublished(Exception):
    """EventBridge did not accept an event. No caller is waiting; the stream record is delivered again."""


class EventBus:
    """Publishes events."""

    def __init__(self, client: "EventBridgeClient", name: str) -> None:
        self._client = client
        self._name = name

    def put(self, events: Iterable[tuple[ChangeEvent, list[Connection]]], position: Position) -> None:
        """Publish the events of a change, each with the user's full list; at most ten, in one round trip.

        Args:
            events: the events and lists.
            position: the time when reading the lists began.

        Raises:
            NotPublished: EventBridge rejected some of them. A retry is safe, and sends the same ids.
        """
        entries = [self._entry(event, connections, position) for event, connections in events]
        answer = self._client.put_events(Entries=entries)
        if answer["FailedEntryCount"]:
            codes = sorted({entry["ErrorCode"] for entry in answer["Entries"] if "ErrorCode" in entry})
            message = f"{answer['FailedEntryCount']} of {len(entries)} events: {', '.join(codes)}"
            raise NotPublished(message)

    def put_details(self, type_: str, details: Sequence[Mapping[str, Any]]) -> list[int]:
        """Publish events of one type, at most `MOST_ENTRIES`; return the numbers of those that EventBridge rejected."""
        entries: Any = [
            {"EventBusName": self._name, "Source": SOURCE, "DetailType": type_, "Detail": json.dumps(detail)}
            for detail in details
        ]
        answer = self._client.put_events(Entries=entries)
        return [number for number, entry in enumerate(answer["Entries"]) if "ErrorCode" in entry]

    def _entry(self, event: ChangeEvent, connections: list[Connection], position: Position) -> Any:  # noqa: ANN401 - a TypedDict of the stubs
        return {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": event.type.value,
            "Time": datetime.fromtimestamp(event.at / 1000, UTC),
            "Detail": json.dumps(event.detail(connections, position), ensure_ascii=False),
        }
