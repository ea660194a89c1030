"""GET /sessions/{session_id}: get the status of a session."""

from datetime import UTC, datetime
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.errors import NotFound
from terra_connections.handler import http_handler
from terra_connections.ids import session_id_from
from terra_connections.sessions.outcome import resolve_session

_sessions = wiring.sessions()
_reports = wiring.widget_reports()
_connections = wiring.connections()


def get_session(request: Request) -> Response:
    """Return the session; its status is `connected` only if Terra has confirmed it."""
    caller, now = request.require_caller(), datetime.now(UTC)
    session_id = session_id_from(request.path("session_id"))
    session = _sessions.find(session_id, now=now) if session_id else None
    if session is None or not caller.can_access(session.reference_id):
        message = "There is no such session."
        raise NotFound(message)
    request.log_fields["session_id"] = session.session_id
    view = resolve_session(session, reports=_reports, connections=_connections, now=now)
    return json_response(HTTPStatus.OK, view.as_json())


lambda_handler = http_handler(get_session)
