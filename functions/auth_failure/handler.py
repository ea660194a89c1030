"""GET /auth/failure: Terra sends the browser here after a login that failed or was cancelled."""

from dataclasses import replace
from datetime import UTC, datetime

from terra_connections import wiring
from terra_connections.door import door
from terra_connections.http_api import Request, Response
from terra_connections.outcome import outcome_of
from terra_connections.redirect import session_of
from terra_connections.session import reason_from

_sessions = wiring.sessions()
_connections = wiring.connections()
_way_back = wiring.way_back()


def auth_failure(request: Request) -> Response:
    """Mark the session failed - which shows unless Terra has connected it - and send the person on."""
    now = datetime.now(UTC)
    session = session_of(request, _sessions, now=now)
    reason = reason_from(request.redirect_query.get("reason"))
    _sessions.add_failure(session.session_id, reason)
    session = replace(session, failed_reasons=session.failed_reasons | {reason})
    view = outcome_of(session, _sessions, _connections, now=now)
    request.notes["session_status"] = view.status
    return _way_back.send_on(view, request, now=now)


lambda_handler = door(auth_failure, answer=_way_back.error_page)
