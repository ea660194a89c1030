"""What every alternative makes of a login that worked, as event.py does: the same objects for the same work."""

from collections.abc import Sequence

from terra_connections.connections.facts import About, Position, logged_in
from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.sessions.session import Report
from terra_connections.webhooks.payload import Event


def success(
    user_id: UserId,
    at: Position,
    *,
    owner: ReferenceId | None,
    provider: str | None,
    scopes: Sequence[str] | None,
    login: SessionId | None,
) -> Event:
    """The event that somebody has connected a `user_id`."""
    about = About(user_id, owner=owner, provider=provider.upper() if provider else None, scopes=scopes)
    report = Report(login, user_ids=frozenset({user_id})) if login else None
    return Event("auth", facts=(logged_in(about, at, widget_session_id=login),), report=report)
