"""POST /auth/retry: the button "Try again" on the page of a failed login."""

from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response
from terra_connections.handler import http_handler
from terra_connections.redirects.pages import PRIVATE
from terra_connections.redirects.redirect import session_to_retry
from terra_connections.sessions.outcome import resolve_session
from terra_connections.sessions.start import start_again

_api = wiring.api_settings()
_sessions = wiring.sessions()
_reports = wiring.widget_reports()
_connections = wiring.connections()
_redirector = wiring.redirector()
_start = wiring.session_start()


def auth_retry(request: Request) -> Response:
    """Redirect to a new session, the same one for every retry of a failed session; else show the session's page."""
    now = datetime.now(UTC)
    session = session_to_retry(request, _sessions, now=now)
    view = resolve_session(session, reports=_reports, connections=_connections, now=now)
    request.log_fields["session_status"] = view.status
    if not view.may_be_retried(now=now):
        return _redirector.respond(view, request, now=now)
    base_url = request.base_url(_api.public_base_url)
    new = start_again(session, start=partial(_start, base_url=base_url, now=now))
    request.log_fields["new_session_id"] = new["session_id"]
    return Response(HTTPStatus.SEE_OTHER, headers={"location": new["auth_url"], **PRIVATE})


lambda_handler = http_handler(auth_retry, on_error=_redirector.error_page)
