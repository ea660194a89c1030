"""A success redirect believes nothing; it may make us ask Terra.

Only Terra's own `is_authenticated: true`, for a connection of this person and this provider, connects. Whatever else
comes back - another person's connection, an error, nonsense - leaves the session as it was.
"""

import time
from datetime import datetime, timedelta

from terra_connections.connection import About, connected
from terra_connections.connection_store import ConnectionStore
from terra_connections.errors import RetryLater, TerraRejected
from terra_connections.ids import UserId, user_id_from
from terra_connections.session import Session
from terra_connections.session_store import SessionStore
from terra_connections.sync import position_of_asking
from terra_connections.terra_api import TerraApi, UserInfo

ASK_AT_MOST_EVERY = timedelta(seconds=5)
ASK_FOR = timedelta(seconds=3)
"""In all: a person is waiting for the page."""


def confirm(
    session: Session,
    hint: str | None,
    *,
    terra: TerraApi,
    sessions: SessionStore,
    connections: ConnectionStore,
    now: datetime,
) -> UserId | None:
    """Ask Terra whether this login made a connection, and keep it if so.

    Args:
        session: the attempt; the caller has checked its secret state.
        hint: the query's `user_id`, which anybody can have typed.
        terra: whom to ask.
        sessions: keeps what the redirect brought.
        connections: keeps what Terra said.
        now: the asking time.

    Returns:
        The connection that Terra confirmed and that is now stored, or None.
    """
    if not sessions.may_ask_terra(session.session_id, now=now, at_most_every=ASK_AT_MOST_EVERY):
        return None
    info = _ask(session, hint, terra)
    if info is None:
        return None
    told = connected(
        About(info.user_id, owner=info.reference_id, provider=info.provider, scopes=info.scopes),
        position_of_asking(now),
    )
    kept = connections.record([told], together_with=[sessions.confirmation(session.session_id, info.user_id)])
    return info.user_id if kept else None


def _ask(session: Session, hint: str | None, terra: TerraApi) -> UserInfo | None:
    """What Terra knows of the announced connection, else of the hinted one, if it is what this session was for."""
    ends_at = time.monotonic() + ASK_FOR.total_seconds()
    for user_id in dict.fromkeys([session.user_id, user_id_from(hint)]):
        if user_id is None:
            continue
        remaining = timedelta(seconds=ends_at - time.monotonic())
        if remaining <= timedelta(0):
            return None
        try:
            info = terra.user_info(user_id, within=remaining)
        except (TerraRejected, RetryLater):
            # Proves nothing about this one; the next may still be answered.
            continue
        if (
            info is not None
            and info.is_authenticated
            and info.reference_id == session.reference_id
            and info.provider == session.resource
        ):
            return info
    return None
