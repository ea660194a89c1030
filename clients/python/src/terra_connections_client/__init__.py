"""A typed client of the Terra Connections API, synchronous and asynchronous, with types of its errors and events."""

from terra_connections_client.async_client import AsyncTerraConnections
from terra_connections_client.client import TerraConnections
from terra_connections_client.errors import TerraConnectionsError
from terra_connections_client.events import KEY_HEADER, InvalidNotification, read_event, read_notification
from terra_connections_client.models import (
    Backfill,
    Connection,
    ConnectionChanged,
    ConnectionEvent,
    ConnectionEventType,
    ConnectionList,
    CreatedSession,
    DataEvent,
    DataEventType,
    DataReceived,
    Event,
    Explanation,
    MobileToken,
    Problem,
    ProblemCode,
    Provider,
    Session,
)

__all__ = [
    "KEY_HEADER",
    "AsyncTerraConnections",
    "Backfill",
    "Connection",
    "ConnectionChanged",
    "ConnectionEvent",
    "ConnectionEventType",
    "ConnectionList",
    "CreatedSession",
    "DataEvent",
    "DataEventType",
    "DataReceived",
    "Event",
    "Explanation",
    "InvalidNotification",
    "MobileToken",
    "Problem",
    "ProblemCode",
    "Provider",
    "Session",
    "TerraConnections",
    "TerraConnectionsError",
    "read_event",
    "read_notification",
]
