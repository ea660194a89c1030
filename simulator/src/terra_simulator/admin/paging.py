"""Lists in pages: `{data, has_more, next_cursor}`. A cursor contains the window of the first page."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from starlette.datastructures import QueryParams

from terra_simulator.admin.refusals import reject

DEFAULT_LIMIT: Final = 50
LARGEST_LIMIT: Final = 200


def rfc3339(seconds: float) -> str:
    """Return a time as the Admin API shows it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def timestamp(name: str, text: str) -> float:
    """Return a time of a query in unix seconds; raises Refusal."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        reject(f"{name}: must be an RFC 3339 time")
    if found.tzinfo is None:
        reject(f"{name}: must have an offset")
    return found.timestamp()


class Window:
    """The period that a list covers, and where its page begins."""

    def __init__(self, query: QueryParams, *, now: float, default_s: float) -> None:
        since = query.get("created_since") or query.get("since")
        until = query.get("created_until") or query.get("until")
        self.since = timestamp("since", since) if since else now - default_s
        self.until = timestamp("until", until) if until else now
        self.start = 0
        try:
            self.limit = min(int(query.get("limit", DEFAULT_LIMIT)), LARGEST_LIMIT)
        except ValueError:
            reject("limit: must be an integer")
        if self.limit < 1:
            reject("limit: must be at least 1")
        if cursor := query.get("cursor"):
            try:
                self.since, self.until, self.start = json.loads(base64.urlsafe_b64decode(cursor))
            except (ValueError, TypeError):
                reject("cursor: is not a cursor of this list")

    def contains(self, at: float) -> bool:
        """Return whether a time is in the window, whose ends belong to it."""
        return self.since <= at <= self.until

    def page(self, rows: Sequence[object]) -> dict[str, object]:
        """Return the page of a list whose order does not change."""
        end = self.start + self.limit
        has_more = end < len(rows)
        content = json.dumps([self.since, self.until, end]).encode()
        cursor = base64.urlsafe_b64encode(content).decode() if has_more else None
        return {"data": list(rows[self.start : end]), "has_more": has_more, "next_cursor": cursor}


def whole(rows: Sequence[object]) -> dict[str, object]:
    """Return a list that has no pages, in the same envelope."""
    return {"data": list(rows), "has_more": False, "next_cursor": None}
