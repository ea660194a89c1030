"""Terra sends the person's browser back: find whose login that was, and send the person on."""

from collections.abc import Callable, Collection
from datetime import datetime
from http import HTTPStatus
from typing import Literal
from urllib.parse import parse_qsl

from terra_connections.api_gateway import Request, Response
from terra_connections.errors import InvalidRequest, NotFound, TooManySessions
from terra_connections.ids import session_id_from
from terra_connections.redirects.language import of_tag, preferred
from terra_connections.redirects.pages import PRIVATE, Pages, Ways
from terra_connections.sessions.return_target import ReturnTargets
from terra_connections.sessions.session import Session, SessionStatus, SessionView, is_one_of
from terra_connections.sessions.store import SessionStore

_CONFIRMING_AGAIN_AFTER = 5  # seconds; Terra is asked no more often


def session_of(
    request: Request, sessions: SessionStore, *, after: Literal["success", "failure"], now: datetime
) -> Session:
    """The session that a redirect belongs to. Each of its two redirects has a secret of its own.

    Raises:
        NotFound: there is none, or the state is not the secret of this redirect; the answer does not tell which.
    """

    def hashes(session: Session) -> Collection[str]:
        return [session.success_hash if after == "success" else session.failure_hash]

    query = request.redirect_query
    return _found(query.get("session"), query.get("state", ""), hashes, request, sessions, now=now)


def session_to_retry(request: Request, sessions: SessionStore, *, now: datetime) -> Session:
    """The session whose button "Try again" was pressed: its form carries a secret that is in no address.

    Raises:
        NotFound: there is none, or the secret is of none of its buttons; the answer does not tell which.
    """
    form = dict(parse_qsl(request.body.decode("utf-8", "replace")))
    secret = form.get("secret", "")
    return _found(form.get("session"), secret, lambda session: session.retry_hashes, request, sessions, now=now)


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


class WayBack:
    """Sends people on: to a page of the app's, or to a page of ours that says how it went."""

    def __init__(self, targets: ReturnTargets, pages: Pages) -> None:
        self._targets = targets
        self._pages = pages

    def has_page_of_ours(self, session: Session) -> bool:
        """Whether the person sees a page of ours, because the app has none of its own."""
        target = self._targets.find(session.return_to)
        return target is None or not target.is_page

    def send_on(
        self, view: SessionView, request: Request, *, now: datetime, retry_secret: str | None = None
    ) -> Response:
        """Back to the app, if the session names a page of it; else a page of ours, perhaps with a button to the app.

        Args:
            view: how the login stands.
            request: of a person whose link is the session's own.
            now: after its hour a session can be tried again from the app only.
            retry_secret: what the button "Try again" carries; without one the page has no such button.
        """
        session, target = view.session, self._targets.find(view.session.return_to)
        back = refresh = again = None
        if target is not None:
            back = target.address(_what_the_app_gets(view))
            if target.is_page:
                return Response(HTTPStatus.SEE_OTHER, headers={"location": back, **PRIVATE})
        if view.status is SessionStatus.PENDING:
            # What was posted cannot be looked at again.
            refresh = str(_CONFIRMING_AGAIN_AFTER) if request.method == "GET" else None
        elif target is not None and target.opens_by_itself:
            refresh = f"0;url={back}"
        if retry_secret is not None and view.may_be_retried(now=now):
            again = {"session": session.session_id, "secret": retry_secret}
        language = of_tag(session.language) or _language_of(request)
        return self._pages.page_for(view, language, Ways(back, again, refresh))

    def error_page(self, error: Exception, request: Request) -> Response:
        """What a person is shown when it cannot go on: the same for everything that is wrong with a link."""
        language = _language_of(request)
        match error:
            case NotFound() | InvalidRequest():
                return self._pages.unknown_link(language)
            case TooManySessions():
                return self._pages.too_many(language, retry_after=error.retry_after)
            case _:
                return self._pages.trouble(language)


def _what_the_app_gets(view: SessionView) -> dict[str, str]:
    """Enough to show something at once; what is true, the app asks the API."""
    told = {
        "session_id": view.session.session_id,
        "status": view.status.value,
        "resource": view.resource,
        "reason": view.reason and view.reason.value,
    }
    return {name: value for name, value in told.items() if value is not None}


def _language_of(request: Request) -> str | None:
    return preferred(request.header("accept-language"))
