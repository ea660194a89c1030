"""POST /sessions: start connecting a wearable, or repairing a connection."""

from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.handler import http_handler
from terra_connections.redirects.language import preferred
from terra_connections.request_body import NewSession
from terra_connections.sessions.idempotency import idempotency_claim
from terra_connections.sessions.repair import find_repair
from terra_connections.sessions.start import SessionRequest

_api = wiring.api_settings()
_pseudonyms = wiring.pseudonyms()
_find_repair = partial(find_repair, connections=wiring.connections())
_start = wiring.session_start()


def create_session(request: Request) -> Response:
    """Get a login link from Terra and store the user's session."""
    caller = request.require_caller()
    body = NewSession.parse(request.body)
    repairs = None
    if body.user_id is None:
        reference_id, resource = caller.reference_id(body.reference_id), body.resource
    else:
        reference_id, resource, repairs = _find_repair(body.user_id, caller=caller, reference_id=body.reference_id)
    request.log_fields["user_hash"] = _pseudonyms.in_logs(reference_id)
    # The header of a back end does not contain the user's language.
    browser = request.header("accept-language") if caller.subject else None
    language = body.language or preferred(browser)
    started = _start(
        SessionRequest(reference_id, resource, body.resources, body.return_to, language, repairs),
        idempotency_claim(caller, request.header("idempotency-key"), request.body),
        base_url=request.base_url(_api.public_base_url),
        now=datetime.now(UTC),
    )
    session_id = started.answer["session_id"]
    request.log_fields["session_id"] = session_id
    if "warnings" in started.answer:
        # Only their number is logged: Terra's texts may quote the caller's input.
        request.log_fields["warnings"] = len(started.answer["warnings"])
    headers = {"location": f"/sessions/{session_id}"}
    if started.is_replay:
        headers["idempotent-replayed"] = "true"
    return json_response(HTTPStatus.CREATED, started.answer, headers=headers)


lambda_handler = http_handler(create_session)
