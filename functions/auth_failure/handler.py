"""GET /auth/failure: Terra redirects the browser here after a failed or cancelled login."""

from dataclasses import replace
from datetime import UTC, datetime

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response
from terra_connections.handler import http_handler
from terra_connections.metrics import login_counted
from terra_connections.redirects.redirect import authenticate_redirect, may_offer_retry
from terra_connections.sessions.outcome import resolve_session
from terra_connections.sessions.session import Reason, SessionStatus, hash_secret, new_secret, reason_from

_sessions = wiring.sessions()
_claims = wiring.claims()
_reports = wiring.widget_reports()
_connections = wiring.connections()
_redirector = wiring.redirector()


def auth_failure(request: Request) -> Response:
    """Mark the session as failed, unless Terra has connected it, and redirect the user or show a page.

    The page of this stack has a button "Try again" with its own secret, which is in no URL and works once.
    """
    now = datetime.now(UTC)
    session = authenticate_redirect(request, _sessions, after="failure", now=now)
    reason = reason_from(request.redirect_query.get("reason"))
    offers_retry = _redirector.has_page_of_ours(session) and may_offer_retry(session, claims=_claims)
    retry_secret = new_secret() if offers_retry else None
    retry_hash = hash_secret(retry_secret) if retry_secret else None
    is_first = _sessions.add_failure(session.session_id, reason, retry_hash=retry_hash)
    session = replace(session, failed_reasons=session.failed_reasons | {reason})
    view = resolve_session(session, reports=_reports, connections=_connections, now=now)
    request.log_fields["session_status"] = view.status
    if is_first and view.status is SessionStatus.FAILED:
        # The other account of a repair is no reason of this redirect.
        login_counted(reason if view.reason in {None, Reason.OTHER_ACCOUNT} else view.reason)
    return _redirector.respond(view, request, now=now, retry_secret=retry_secret)


lambda_handler = http_handler(auth_failure, on_error=_redirector.error_page)
