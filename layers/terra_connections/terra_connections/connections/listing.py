"""A page of the connections of all users, for a consumer that lost events."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from terra_connections.connections.connection import Connection
from terra_connections.connections.cursor import Cursors
from terra_connections.connections.facts import Status
from terra_connections.connections.list_query import ListQuery
from terra_connections.connections.store import ConnectionStore


@dataclass(frozen=True, slots=True)
class ConnectionPage:
    """A page.

    Attributes:
        connections: in the order of the table, which means nothing to the caller.
        next_cursor: the cursor of the next page; None after the last one.
    """

    connections: list[Connection]
    next_cursor: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the page in the format of openapi.yaml."""
        return {
            "connections": [connection.as_json() for connection in self.connections],
            "next_cursor": self.next_cursor,
        }


def page_of_all_users(
    query: ListQuery, *, connections: ConnectionStore, cursors: Cursors, now: datetime
) -> ConnectionPage:
    """Return the page that a query of a service key asks for.

    Raises:
        InvalidRequest: the cursor is invalid or too old.
    """
    start = None if query.cursor is None else cursors.open(query.cursor, now=now)
    found, last = connections.page_of_connections(start=start, limit=query.limit)
    return ConnectionPage(
        [each for each in found if query.include_revoked or each.status is not Status.REVOKED],
        None if last is None else cursors.issue(last, now=now),
    )
