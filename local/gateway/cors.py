"""CORS as in an HTTP API with a CorsConfiguration: it responds to preflights and replaces a function's own headers."""

from http import HTTPMethod, HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from local.gateway.template import CorsSpec

_PREFIX: Final = b"access-control-"


class Cors:
    """The API's CORS rules."""

    def __init__(self, spec: CorsSpec) -> None:
        self._spec = spec

    def preflight(self, request: Request) -> Response | None:
        """The response if the request is a preflight; an origin that is not allowed gets one without headers."""
        if request.method != HTTPMethod.OPTIONS or "access-control-request-method" not in request.headers:
            return None
        headers = self._origin(request)
        if headers:
            headers += [
                (name, ",".join(values).encode())
                for name, values in (
                    (b"access-control-allow-methods", self._spec.methods),
                    (b"access-control-allow-headers", self._spec.headers),
                )
                if values
            ]
            if self._spec.max_age is not None:
                headers.append((b"access-control-max-age", str(self._spec.max_age).encode()))
        response = Response(status_code=HTTPStatus.NO_CONTENT)
        response.raw_headers += headers
        return response

    def apply(self, request: Request, response: Response) -> None:
        """Replace a function's own CORS headers by the API's."""
        own = self._origin(request)
        if own and self._spec.exposed:
            own.append((b"access-control-expose-headers", ",".join(self._spec.exposed).encode()))
        kept = [(name, value) for name, value in response.raw_headers if not name.startswith(_PREFIX)]
        response.raw_headers = [*kept, *own]

    def _origin(self, request: Request) -> list[tuple[bytes, bytes]]:
        origin = request.headers.get("origin")
        if origin is None:
            return []
        if "*" in self._spec.origins:
            headers = [(b"access-control-allow-origin", b"*")]
        elif origin in self._spec.origins:
            headers = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]
        else:
            return []
        if self._spec.credentials:
            headers.append((b"access-control-allow-credentials", b"true"))
        return headers
