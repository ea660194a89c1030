"""POST /mobile-tokens: create a single-use token for Terra's mobile SDKs, bound to one user."""

from datetime import UTC, datetime
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.handler import http_handler
from terra_connections.request_body import UserBody

_pseudonyms = wiring.pseudonyms()
_terra = wiring.terra()
_users = wiring.users()
_limits = wiring.user_limits("mobile-tokens")


def create_mobile_token(request: Request) -> Response:
    """Get a new token from Terra, for the user token's subject, or with a service key for the user in the body.

    The call to Terra is not retried. The caller may retry: a token whose response was lost expires unused.
    """
    # With a user token the body is optional, because the token contains the user.
    reference_id = request.require_caller().reference_id(UserBody.parse(request.body or b"{}").reference_id)
    request.log_fields["user_hash"] = _pseudonyms.in_logs(reference_id)
    _users.begin_mobile_token(reference_id, _limits, now=datetime.now(UTC))
    token = _terra.mobile_token(reference_id)
    return json_response(HTTPStatus.CREATED, {"token": token.token, "expires_in": token.expires_in})


lambda_handler = http_handler(create_mobile_token)
