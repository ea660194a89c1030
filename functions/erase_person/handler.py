"""POST /erasures: forget this person."""

from datetime import UTC, datetime
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response
from terra_connections.erasure import Eraser
from terra_connections.handler import door
from terra_connections.request_body import Person

_pseudonyms = wiring.pseudonyms()
_eraser = Eraser(wiring.terra(), wiring.sessions(), wiring.connections(), wiring.users())
_limits = wiring.user_limits("erasures")


def erase_person(request: Request) -> Response:
    """Tombstones, Terra, items: 204 only once nothing is left."""
    person = request.caller.person(Person.parse(request.body).reference_id)
    request.notes["person"] = _pseudonyms.in_logs(person)
    _limits.count(person, now=datetime.now(UTC))
    request.notes["erased"] = _eraser.erase(person)
    return Response(HTTPStatus.NO_CONTENT, headers={"cache-control": "no-store"})


lambda_handler = door(erase_person)
