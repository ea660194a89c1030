"""GET /connections?reference_id=: list a user's connections."""

from collections.abc import Mapping
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.connections.lineage import listed_connections
from terra_connections.errors import InvalidRequest
from terra_connections.handler import http_handler
from terra_connections.ids import reference_id_error, reference_id_from
from terra_connections.unknown_name import unknown

_connections = wiring.connections()
_pseudonyms = wiring.pseudonyms()
_PARAMETERS = ("reference_id", "include")


def list_connections(request: Request) -> Response:
    """Return the connections, newest first; revoked ones only with `include=revoked`."""
    caller, query = request.require_caller(), request.query
    if wrong := _wrong(query):
        raise InvalidRequest(wrong)
    reference_id = caller.reference_id(reference_id_from(query.get("reference_id")))
    request.log_fields["user_hash"] = _pseudonyms.in_logs(reference_id)
    connections = listed_connections(
        reference_id, _connections.of_user(reference_id), include_revoked="include" in query
    )
    return json_response(HTTPStatus.OK, {"connections": [connection.as_json() for connection in connections]})


def _wrong(query: Mapping[str, str]) -> list[tuple[str, str]]:
    wrong = [(name, unknown("parameter", name, _PARAMETERS)) for name in query if name not in _PARAMETERS]
    if "reference_id" in query and (sentence := reference_id_error(query["reference_id"])):
        wrong.append(("reference_id", sentence))
    if query.get("include", "revoked") != "revoked":
        wrong.append(("include", "must be revoked, or be left out"))
    return wrong


lambda_handler = http_handler(list_connections)
