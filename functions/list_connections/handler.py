"""GET /connections?reference_id=: everything this person has connected."""

from http import HTTPStatus

from terra_connections import wiring
from terra_connections.connection import listing
from terra_connections.door import door
from terra_connections.errors import InvalidRequest
from terra_connections.http_api import Request, Response, json_response
from terra_connections.ids import reference_id_from

_connections = wiring.connections()
_pseudonyms = wiring.pseudonyms()


def list_connections(request: Request) -> Response:
    """What is connected or needs to be reconnected, newest first; with `include=revoked` what was revoked, too."""
    caller, query = request.caller, request.query
    asked = reference_id_from(query.get("reference_id"))
    if asked is None and "reference_id" in query:
        raise InvalidRequest([("reference_id", "must be 1 to 256 characters without control characters")])
    if query.get("include", "revoked") != "revoked":
        raise InvalidRequest([("include", "may only be: revoked")])
    person = caller.person(asked)
    request.notes["person"] = _pseudonyms.in_logs(person)
    connections = listing(person, _connections.of_person(person), include_revoked="include" in query)
    return json_response(HTTPStatus.OK, {"connections": [connection.as_json() for connection in connections]})


lambda_handler = door(list_connections)
