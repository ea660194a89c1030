"""Redirects from Terra: find the session of the login, and redirect the user to the app or show a page."""

from collections.abc import Callable, Collection
from datetime import datetime
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qsl

from terra_connections.api_gateway import Request, Response
from terra_connections.errors import InvalidRequest, NotFound, TooManySessions
from terra_connections.ids import session_id_from
from terra_connections.redirects.language import of_tag, preferred
from terra_connections.redirects.pages import PRIVATE, PageLinks, Pages
from terra_connections.sessions.idempotency import ClaimStore
from terra_connections.sessions.return_target import ReturnTargets
from terra_connections.sessions.session import Session, SessionStatus, SessionView, is_one_of
from terra_connections.sessions.store import SessionStore

_MAX_RETRY_BUTTONS = 50  # a page that is loaded more often has no button
_CONFIRMING_AGAIN_AFTER = 5  # seconds; the shortest interval between calls to Terra


def authenticate_redirect(
    request: Request, sessions: SessionStore, *, after: Literal["success", "failure"], now: datetime
) -> Session:
    """Return the session of a redirect. Each of its two redirects has its own secret.

    Raises:
        NotFound: the session does not exist, or the state is not the secret of this redirect. The error is the same.
    """

    def hashes(session: Session) -> Collection[str]:
        return [session.success_hash if after == "success" else session.failure_hash]

    query = request.redirect_query
    return _found(query.get("session"), query.get("state", ""), hashes, request, sessions, now=now)


def session_to_retry(request: Request, sessions: SessionStore, *, now: datetime) -> Session:
    """Return the session of a "Try again" form. The form contains a secret that is in no URL.

    Raises:
        NotFound: the session does not exist, or the secret is not one of its forms. The error is the same.
    """
    form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
    secret = form.get("secret", "")
    return _found(form.get("session"), secret, lambda session: session.retry_hashes, request, sessions, now=now)


def may_offer_retry(session: Session, *, claims: ClaimStore) -> bool:
    """Whether a page may show a button "Try again": no retry has succeeded, and the limit is not reached.

    The first page of a session needs no read.
    """
    if not session.retry_hashes:
        return True
    return len(session.retry_hashes) < _MAX_RETRY_BUTTONS and not claims.is_settled(session.retry_claim_id)


def _found(
    name: str | None,
    secret: str,
    hashes: Callable[[Session], Collection[str]],
    request: Request,
    sessions: SessionStore,
    *,
    now: datetime,
) -> Session:
    session_id = session_id_from(name)
    session = sessions.find(session_id, now=now) if session_id else None
    if session is None or not is_one_of(hashes(session), secret):
        message = "There is no such login."
        raise NotFound(message)
    request.log_fields["session_id"] = session.session_id
    return session


class Redirector:
    """Redirects users to a page of the app, or shows a result page."""

    def __init__(self, targets: ReturnTargets, pages: Pages) -> None:
        self._targets = targets
        self._pages = pages

    def has_page_of_ours(self, session: Session) -> bool:
        """Whether the user sees a page of this stack, because the app has none of its own."""
        target = self._targets.find(session.return_to)
        return target is None or not target.is_page

    def respond(
        self, view: SessionView, request: Request, *, now: datetime, retry_secret: str | None = None
    ) -> Response:
        """Redirect to the app's page, if the session has one; else show a page, with a button to the app if possible.

        Args:
            view: the state of the login.
            request: a request whose link was verified to be the session's own.
            now: the current time. After an hour a login can only be retried from the app.
            retry_secret: the secret of the button "Try again"; without one the page has no such button.
        """
        session, target = view.session, self._targets.find(view.session.return_to)
        back = refresh = again = None
        if target is not None:
            back = target.address(_return_parameters(view))
            if target.is_page:
                return Response(HTTPStatus.SEE_OTHER, headers={"location": back, **PRIVATE})
        if view.status is SessionStatus.PENDING:
            # A page that is the response to a POST cannot be refreshed.
            refresh = str(_CONFIRMING_AGAIN_AFTER) if request.method == "GET" else None
        elif target is not None and target.opens_by_itself:
            refresh = f"0;url={back}"
        if retry_secret is not None and view.may_be_retried(now=now):
            again = {"session": session.session_id, "secret": retry_secret}
        language = of_tag(session.language) or _language_of(request)
        return self._pages.page_for(view, language, PageLinks(back, again, refresh))

    def error_page(self, error: Exception, request: Request) -> Response:
        """Return the page for an error. It is the same for every reason why a link is invalid."""
        language = _language_of(request)
        match error:
            case NotFound() | InvalidRequest():
                return self._pages.unknown_link(language)
            case TooManySessions():
                return self._pages.too_many(language, retry_after=error.retry_after)
            case _:
                return self._pages.trouble(language)


def _return_parameters(view: SessionView) -> dict[str, str]:
    """Return the query parameters for the app. They are only for display: the API has the authoritative result."""
    values = {
        "session_id": view.session.session_id,
        "status": view.status.value,
        "resource": view.resource,
        "reason": view.reason and view.reason.value,
    }
    return {name: value for name, value in values.items() if value is not None}


def _language_of(request: Request) -> str | None:
    return preferred(request.header("accept-language"))
