"""GET /connections: list a user's connections (`reference_id`), or a page of those of all users (`limit`, `cursor`)."""

from datetime import UTC, datetime
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.connections.lineage import listed_connections
from terra_connections.connections.list_query import ListQuery
from terra_connections.connections.listing import page_of_all_users
from terra_connections.handler import http_handler

_connections = wiring.connections()
_cursors = wiring.cursors()
_pseudonyms = wiring.pseudonyms()


def list_connections(request: Request) -> Response:
    """Return connections; revoked ones only with `include=revoked`."""
    caller, query = request.require_caller(), ListQuery.parse(request.query)
    if query.is_of_all_users:
        caller.require_service_key()
        page = page_of_all_users(query, connections=_connections, cursors=_cursors, now=datetime.now(UTC))
        request.log_fields["connections"] = len(page.connections)
        return json_response(HTTPStatus.OK, page.as_json())
    reference_id = query.user_of(caller)
    request.log_fields["user_hash"] = _pseudonyms.in_logs(reference_id)
    connections = listed_connections(
        reference_id, _connections.of_user(reference_id), include_revoked=query.include_revoked
    )
    return json_response(HTTPStatus.OK, {"connections": [connection.as_json() for connection in connections]})


lambda_handler = http_handler(list_connections)
