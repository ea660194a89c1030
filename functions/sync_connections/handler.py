"""POST /connections/sync: sync a user's connections with Terra."""

from datetime import UTC, datetime
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.handler import http_handler
from terra_connections.request_body import UserBody
from terra_connections.sync import sync_user

_pseudonyms = wiring.pseudonyms()
_terra = wiring.terra()
_connections = wiring.connections()
_limits = wiring.user_limits("syncs")


def sync_connections(request: Request) -> Response:
    """Update the user's connections from Terra, and return them."""
    reference_id = request.require_caller().reference_id(UserBody.parse(request.body).reference_id)
    request.log_fields["user_hash"] = _pseudonyms.in_logs(reference_id)
    now = datetime.now(UTC)
    _limits.count(reference_id, now=now)
    connections = sync_user(reference_id, terra=_terra, connections=_connections, now=now)
    return json_response(HTTPStatus.OK, {"connections": [connection.as_json() for connection in connections]})


lambda_handler = http_handler(sync_connections)
