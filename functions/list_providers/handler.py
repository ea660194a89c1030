"""GET /providers: list the available providers, for a connect screen."""

from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.etag import unless_known
from terra_connections.handler import http_handler

_providers = wiring.keyless_provider_cache()


def list_providers(request: Request) -> Response:
    """Return Terra's list of enabled providers, cached for minutes; a stale list if Terra is unavailable."""
    request.require_caller()
    listing = _providers.read()
    request.log_fields.update(providers=len(listing.providers), stale=listing.is_stale)
    # Private: a shared cache would serve it to callers that the authorizer rejects.
    kept_for = "private, max-age=30" if listing.is_stale else "private, max-age=300"
    answer = json_response(HTTPStatus.OK, listing.as_json(), headers={"cache-control": kept_for})
    return unless_known(answer, request.header("if-none-match"))


lambda_handler = http_handler(list_providers)
