"""A connection as the API shows it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from terra_connections.connections.facts import Position, Status
from terra_connections.errors import NotFound
from terra_connections.ids import ReferenceId, UserId

UNKNOWN_PROVIDER = "UNKNOWN"
CONNECTION_ID_PREFIX = "con_"


@dataclass(frozen=True, slots=True)
class Connection:
    """One connection: `Connection` in openapi.yaml."""

    connection_id: str
    user_id: UserId
    reference_id: ReferenceId | None
    provider: str
    status: Status
    scopes: tuple[str, ...]
    connected_at: Position
    updated_at: Position

    def as_json(self) -> dict[str, Any]:
        """Return the connection in the format of openapi.yaml."""
        return {
            "connection_id": self.connection_id,
            "user_id": self.user_id,
            "reference_id": self.reference_id,
            "provider": self.provider,
            "status": self.status,
            "scopes": list(self.scopes),
            "connected_at": format_timestamp(self.connected_at),
            "updated_at": format_timestamp(self.updated_at),
        }


def format_timestamp(position: int) -> str:
    """Format Unix milliseconds as a date-time of openapi.yaml, always UTC."""
    moment = datetime.fromtimestamp(position / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def no_connection(requested: str) -> NotFound:
    """Return the error for an id that is not a connection of the caller. The message depends only on the id's format.

    Args:
        requested: the id in the request. A `connection_id` is a hash, and not a key of the table.
    """
    message = "There is no such connection."
    if requested.startswith(CONNECTION_ID_PREFIX):
        message += " This is a connection_id: use the user_id of the connection instead."
    return NotFound(message)
