"""GET /connections/{user_id}: get a connection."""

from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.connections.connection import no_connection
from terra_connections.handler import http_handler
from terra_connections.ids import user_id_from

_connections = wiring.connections()


def get_connection(request: Request) -> Response:
    """Return the connection of Terra's `user_id`, with its user, read consistently."""
    caller, user_id = request.require_caller(), user_id_from(request.path("user_id"))
    connection = _connections.find(user_id, caller=caller) if user_id else None
    if connection is None:
        raise no_connection(request.path("user_id"))
    return json_response(HTTPStatus.OK, connection.as_json())


lambda_handler = http_handler(get_connection)
