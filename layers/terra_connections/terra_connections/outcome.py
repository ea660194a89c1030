"""How an attempt to connect stands, read with as few questions as it takes."""

from datetime import datetime

from terra_connections.connection_store import ConnectionStore
from terra_connections.session import Session, SessionView, connected_by_name, connected_by_person, view_of


def outcome_of(session: Session, connections: ConnectionStore, *, now: datetime) -> SessionView:
    """The session's view: one consistent read, and the person's list only if that does not settle it."""
    named = connections.read(session.named_user_ids)
    connected = connected_by_name(session, named)
    if connected is None:
        connected = connected_by_person(session, connections.of_person(session.reference_id))
    return view_of(session, connected=connected, named=named, now=now)
