"""Converts Terra's responses about a `user_id` to facts, with their positions."""

from datetime import datetime, timedelta

from terra_connections.connections.facts import About, Facts, Kind, Position, connected
from terra_connections.ids import UserId
from terra_connections.terra.client import TerraApi

CERTAIN_SINCE = timedelta(minutes=2)
"""Terra's responses may be this stale. They are therefore dated back, so that newer events take precedence."""


def position_of_asking(now: datetime) -> Position:
    """Return the position of facts from a call to Terra."""
    return Position(int((now - CERTAIN_SINCE).timestamp() * 1000))


def answer_about(user_id: UserId, *, terra: TerraApi, within: timedelta, now: datetime) -> Facts:
    """Ask Terra about one `user_id`, and return the facts.

    `is_authenticated: true` gives CONNECTED, which also ends NEEDS_REAUTH. A 404 gives ABSENT. An unauthenticated user
    gives PRESENT, which only cancels ABSENT.

    Raises:
        TerraRejected, TerraUnavailable, TooManyRequests: the call failed.
    """
    info, at = terra.user_info(user_id, within=within), position_of_asking(now)
    if info is None:
        return About(user_id).facts(at, **{Kind.ABSENT: None})
    if not info.is_authenticated:
        return About(user_id).facts(at, **{Kind.PRESENT: None})
    return connected(About(user_id, owner=info.reference_id, provider=info.provider, scopes=info.scopes), at)
