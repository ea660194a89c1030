"""The outcome of a session, determined with as few reads as possible."""

from dataclasses import replace
from datetime import datetime

from terra_connections.connections.facts import Kind, Status
from terra_connections.connections.lineage import Lineage
from terra_connections.connections.store import ConnectionStore
from terra_connections.sessions.session import (
    Flow,
    Reason,
    Session,
    SessionView,
    connection_by_reference_id,
    connection_by_user_id,
    made_other_connection,
    reason_from,
    session_view,
)
from terra_connections.sessions.widget_reports import WidgetReportStore


def resolve_session(
    session: Session, *, reports: WidgetReportStore, connections: ConnectionStore, now: datetime
) -> SessionView:
    """Return the session's view: one consistent read, plus the user's list if that read is not sufficient.

    A widget session takes one more consistent read, of the events that Terra has sent with its id. It does not use the
    list: a user can have several open widget sessions, and the list does not show which of them a login belongs to.
    A session that repairs a connection does not use it either: only that connection connects it.
    """
    session = reports.with_report(session)
    family = family_of(session, connections)
    connected = connection_by_user_id(session, family)
    if connected is None and session.flow is Flow.PROVIDER and session.repairs is None:
        connected = connection_by_reference_id(session, connections.of_user(session.reference_id))
    known = [facts for user_id in session.candidate_user_ids if (facts := family.facts(user_id)) is not None]
    texts = [facts.text(Kind.FAILED) for facts in known if session.accepts(facts)]
    reasons = [reason_from(text) for text in texts if text is not None]
    if made_other_connection(session, family, now=now):
        reasons.append(Reason.OTHER_ACCOUNT)
    facts = family.facts(connected) if connected is not None else None
    provider = facts.text(Kind.PROVIDER) if facts else None
    view = session_view(session, connected=connected, provider=provider, reported=reasons, now=now)
    if session.repairs is None or connected is not None:
        return view
    repaired = family.view(session.repairs.user_id)
    return replace(view, is_still_connected=repaired is not None and repaired.status is Status.CONNECTED)


def family_of(session: Session, connections: ConnectionStore) -> Lineage:
    """Read everything that decides whether a session is connected, consistently."""
    repaired = () if session.repairs is None else (session.repairs.user_id,)
    return connections.family_of((*session.candidate_user_ids, *repaired))
