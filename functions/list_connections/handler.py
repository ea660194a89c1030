"""GET /connections?reference_id=: everything this person has connected."""

from http import HTTPStatus

from terra_connections import wiring
from terra_connections.connection import listing
from terra_connections.door import door, hashed
from terra_connections.errors import InvalidRequest
from terra_connections.http_api import Request, Response, json_response
from terra_connections.ids import reference_id_from

_connections = wiring.connections()


def list_connections(request: Request) -> Response:
    """What is connected or needs to be reconnected, newest first; with `include=revoked` what was revoked, too."""
    _ = request.caller
    query = request.query
    reference_id = reference_id_from(query.get("reference_id"))
    if reference_id is None:
        raise InvalidRequest([("reference_id", "must be 1 to 256 characters without control characters")])
    if query.get("include", "revoked") != "revoked":
        raise InvalidRequest([("include", "may only be: revoked")])
    request.notes["person"] = hashed(reference_id)
    connections = listing(reference_id, _connections.of_person(reference_id), include_revoked="include" in query)
    return json_response(HTTPStatus.OK, {"connections": [connection.as_json() for connection in connections]})


lambda_handler = door(list_connections)
