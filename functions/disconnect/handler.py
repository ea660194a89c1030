"""DELETE /connections/{user_id}: disconnect one wearable."""

from datetime import UTC, datetime
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response
from terra_connections.connections.connection import no_connection
from terra_connections.disconnect import disconnect_connection
from terra_connections.handler import http_handler
from terra_connections.ids import user_id_from

_terra = wiring.terra()
_connections = wiring.connections()


def disconnect(request: Request) -> Response:
    """Disconnect at Terra first, then in the table; a replaced `user_id` disconnects its successor."""
    caller, user_id = request.require_caller(), user_id_from(request.path("user_id"))
    if user_id is None:
        raise no_connection(request.path("user_id"))
    disconnect_connection(user_id, caller=caller, terra=_terra, connections=_connections, now=datetime.now(UTC))
    return Response(HTTPStatus.NO_CONTENT, headers={"cache-control": "no-store"})


lambda_handler = http_handler(disconnect)
