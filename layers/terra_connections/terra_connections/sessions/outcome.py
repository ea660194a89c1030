"""The outcome of a session, determined with as few reads as possible."""

from datetime import datetime

from terra_connections.connections.facts import Kind
from terra_connections.connections.store import ConnectionStore
from terra_connections.sessions.session import (
    Flow,
    Session,
    SessionView,
    connected_by_name,
    connected_by_person,
    reason_from,
    view_of,
)
from terra_connections.sessions.store import SessionStore


def outcome_of(session: Session, sessions: SessionStore, connections: ConnectionStore, *, now: datetime) -> SessionView:
    """Return the session's view: one consistent read, plus the user's list if that read is not sufficient.

    A widget session takes one more consistent read, of the events that Terra has sent with its id. It does not use the
    list: a user can have several open widget sessions, and the list does not show which of them a login belongs to.
    """
    session = sessions.with_report(session)
    family = connections.family_of(session.named_user_ids)
    connected = connected_by_name(session, family)
    if connected is None and session.flow is Flow.PROVIDER:
        connected = connected_by_person(session, connections.of_person(session.reference_id))
    known = [facts for user_id in session.named_user_ids if (facts := family.facts(user_id)) is not None]
    texts = [facts.text(Kind.FAILED) for facts in known if session.accepts(facts)]
    told = [reason_from(text) for text in texts if text is not None]
    facts = family.facts(connected) if connected is not None else None
    provider = facts.text(Kind.PROVIDER) if facts else None
    return view_of(session, connected=connected, provider=provider, told=told, now=now)
