"""GET /connections/{user_id}/facts: explain a connection's status."""

from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.connections.connection import no_connection
from terra_connections.connections.explanation import explain
from terra_connections.handler import http_handler
from terra_connections.ids import user_id_from

_connections = wiring.connections()


def get_facts(request: Request) -> Response:
    """Return the facts about a connection, with their times and sources, and its status in words."""
    request.require_caller().require_service_key()
    user_id = user_id_from(request.path("user_id"))
    history = _connections.history(user_id) if user_id else None
    if user_id is None or history is None:
        raise no_connection(request.path("user_id"))
    return json_response(HTTPStatus.OK, explain(user_id, history).as_json())


lambda_handler = http_handler(get_facts)
