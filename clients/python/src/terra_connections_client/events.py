"""The events of the event bus and of NotifyUrl."""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from terra_connections_client.models import ConnectionEventType, DataEventType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from terra_connections_client.models import Event

KEY_HEADER: Final = "X-Terra-Connections-Key"
"""The header of a request to NotifyUrl that has the key of the stack."""
_TYPES: Final = frozenset((*get_args(ConnectionEventType), *get_args(DataEventType)))


class InvalidNotification(Exception):
    """A request to NotifyUrl does not have the key of the stack: respond with 401."""


def read_event(event: str | bytes | Mapping[str, Any]) -> Event | None:
    """Return an event from the event bus: that of a Lambda function, the body of an SQS message or of a request.

    `event["detail-type"]` is the type, and `event["detail"]` the content.

    Returns:
        The event; None if this version of the client does not know its type. Ignore such an event.

    Raises:
        ValueError: it is not an event.
    """
    read = json.loads(event) if isinstance(event, str | bytes) else event
    if not (isinstance(read, dict) and isinstance(read.get("detail"), dict) and "detail-type" in read):
        message = "not an event of EventBridge: detail-type and detail are missing"
        raise ValueError(message)
    return cast("Event", read) if read["detail-type"] in _TYPES else None


def read_notification(headers: Mapping[str, str], body: bytes, *, keys: str | Sequence[str]) -> Event | None:
    """Verify a request to NotifyUrl, and return its event.

    Args:
        headers: the headers of the request; upper and lower case do not matter.
        body: the body as it was received.
        keys: the key of the stack; the old and the new one while it is rotated.

    Returns:
        As `read_event`.

    Raises:
        InvalidNotification: the request does not have one of the keys.
        ValueError: the body is not an event.
    """
    given = next((value for name, value in headers.items() if name.lower() == KEY_HEADER.lower()), "").encode()
    accepted = [keys] if isinstance(keys, str) else keys
    # In constant time for each key. An empty key, such as an unset variable, is never accepted.
    if not any(hmac.compare_digest(given, key.encode()) for key in accepted if key):
        message = f"the header {KEY_HEADER} is missing or wrong"
        raise InvalidNotification(message)
    return read_event(body)
