"""What an answer of Terra's about a `user_id` proves, and as of when."""

from datetime import datetime, timedelta

from terra_connections.connections.facts import About, Facts, Kind, Position, connected
from terra_connections.ids import UserId
from terra_connections.terra.client import TerraApi

CERTAIN_SINCE = timedelta(minutes=2)
"""An answer of Terra's may be this stale: events that are newer than it outrank it."""


def position_of_asking(now: datetime) -> Position:
    """Where facts stand that asking Terra brought."""
    return Position(int((now - CERTAIN_SINCE).timestamp() * 1000))


def answer_about(user_id: UserId, *, terra: TerraApi, within: timedelta, now: datetime) -> Facts:
    """What Terra says when it is asked about one `user_id`, as facts.

    `is_authenticated` connects and heals; 404 is absence; that it is there without being authenticated is presence,
    which undoes absence and nothing else.

    Raises:
        TerraRejected, TerraUnavailable, TooManyRequests: it said nothing that counts.
    """
    info, at = terra.user_info(user_id, within=within), position_of_asking(now)
    if info is None:
        return About(user_id).facts(at, **{Kind.ABSENT: None})
    if not info.is_authenticated:
        return About(user_id).facts(at, **{Kind.PRESENT: None})
    return connected(About(user_id, owner=info.reference_id, provider=info.provider, scopes=info.scopes), at)
