"""GET /auth/success: Terra redirects the browser here after a successful login. The query is untrusted."""

from datetime import UTC, datetime
from functools import partial

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response
from terra_connections.handler import http_handler
from terra_connections.metrics import login_counted
from terra_connections.redirects.redirect import authenticate_redirect
from terra_connections.sessions.confirm import confirm
from terra_connections.sessions.outcome import resolve_session
from terra_connections.sessions.session import SessionStatus

_sessions = wiring.sessions()
_reports = wiring.widget_reports()
_connections = wiring.connections()
_redirector = wiring.redirector()
_confirm = partial(
    confirm, terra=wiring.terra(), sessions=_sessions, connections=_connections, count_login=login_counted
)


def auth_success(request: Request) -> Response:
    """Redirect the user or show a page; ask Terra first if no webhook has confirmed the login yet."""
    now = datetime.now(UTC)
    session = authenticate_redirect(request, _sessions, after="success", now=now)
    view = resolve_session(session, reports=_reports, connections=_connections, now=now)
    if view.status is not SessionStatus.CONNECTED:
        view = _confirm(view, request.redirect_query.get("user_id"), now=now)
    request.log_fields["session_status"] = view.status
    return _redirector.respond(view, request, now=now)


lambda_handler = http_handler(auth_success, on_error=_redirector.error_page)
