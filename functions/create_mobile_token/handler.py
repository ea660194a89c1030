"""POST /mobile-tokens: a single-use token for Terra's mobile SDKs."""

from http import HTTPStatus

from terra_connections import wiring
from terra_connections.door import door
from terra_connections.http_api import Request, Response, json_response

_terra = wiring.terra()


def create_mobile_token(request: Request) -> Response:
    """Ask Terra for a new token each time. A token names nobody, so a body has nothing to say and is not read.

    Terra is asked once: a token whose answer was lost expires unused, so the caller may repeat what we do not.
    """
    _ = request.caller
    token = _terra.mobile_token()
    return json_response(HTTPStatus.CREATED, {"token": token.token, "expires_in": token.expires_in})


lambda_handler = door(create_mobile_token)
