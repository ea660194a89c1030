"""POST /erasures: erase a user's data."""

from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response
from terra_connections.erasure.user import erase_user
from terra_connections.handler import http_handler
from terra_connections.request_body import UserBody

_pseudonyms = wiring.pseudonyms()
_erase = partial(
    erase_user,
    terra=wiring.terra(),
    sessions=wiring.sessions(),
    claims=wiring.claims(),
    reports=wiring.widget_reports(),
    connections=wiring.connections(),
    users=wiring.users(),
    payloads=wiring.payloads(),
    backfills=wiring.backfills(),
)
_limits = wiring.user_limits("erasures")


def erase_person(request: Request) -> Response:
    """Write tombstones, disconnect at Terra and delete the items; returns 204 only when nothing is left."""
    reference_id = request.require_caller().reference_id(UserBody.parse(request.body).reference_id)
    request.log_fields["user_hash"] = _pseudonyms.in_logs(reference_id)
    _limits.count(reference_id, now=datetime.now(UTC))
    request.log_fields["erased"] = _erase(reference_id)
    return Response(HTTPStatus.NO_CONTENT, headers={"cache-control": "no-store"})


lambda_handler = http_handler(erase_person)
