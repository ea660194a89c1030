"""Terra sends the person's browser back: find whose login that was, and send the person on."""

from datetime import datetime
from http import HTTPStatus

from terra_connections import pages
from terra_connections.errors import InvalidRequest, NotFound
from terra_connections.http_api import Request, Response
from terra_connections.ids import session_id_from
from terra_connections.return_target import ReturnTargets
from terra_connections.session import Session, SessionView
from terra_connections.session_store import SessionStore


def session_of(request: Request, sessions: SessionStore, *, now: datetime) -> Session:
    """The session that this redirect belongs to.

    Raises:
        NotFound: there is none, or the state is not its secret; nobody can tell which from the answer.
    """
    query = request.query
    session_id = session_id_from(query.get("session"))
    session = sessions.find(session_id, now=now) if session_id else None
    if session is None or not session.knows(query.get("state", "")):
        message = "There is no such login."
        raise NotFound(message)
    request.notes["session_id"] = session.session_id
    return session


def send_on(view: SessionView, targets: ReturnTargets) -> Response:
    """Back to the app, if the session names a return target; else a page that says how it went."""
    session = view.session
    parameters = {"session_id": session.session_id, "status": view.status.value, "resource": session.resource}
    if view.reason is not None:
        parameters["reason"] = view.reason.value
    address = None if session.return_to is None else targets.address(session.return_to, parameters)
    if address is None:
        return pages.page_for(view)
    return Response(HTTPStatus.SEE_OTHER, headers={"location": address, **pages.PRIVATE})


def error_page(error: Exception) -> Response:
    """What a person is shown when it cannot go on: the same for everything that is wrong with a link."""
    if isinstance(error, NotFound | InvalidRequest):
        return pages.UNKNOWN_LINK
    return pages.TROUBLE
