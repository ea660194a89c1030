"""CORS as in an HTTP API with a CorsConfiguration: it answers preflights and replaces a function's own headers."""

from http import HTTPMethod, HTTPStatus
from typing import Final

from local.gateway.http1 import Request, Response
from local.gateway.template import CorsSpec

_PREFIX: Final = b"access-control-"


class Cors:
    """The API's CORS rules."""

    def __init__(self, spec: CorsSpec) -> None:
        self._spec = spec

    def preflight(self, request: Request) -> Response | None:
        """The response if the request is a preflight; an origin that is not allowed gets one without headers."""
        if request.method != HTTPMethod.OPTIONS or _header(request, b"access-control-request-method") is None:
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
        return Response(HTTPStatus.NO_CONTENT, headers, b"")

    def apply(self, request: Request, response: Response) -> Response:
        """The response, with the function's own CORS headers replaced by the API's."""
        headers = [(name, value) for name, value in response.headers if not name.startswith(_PREFIX)]
        own = self._origin(request)
        if own and self._spec.exposed:
            own.append((b"access-control-expose-headers", ",".join(self._spec.exposed).encode()))
        return Response(response.status, [*headers, *own], response.body)

    def _origin(self, request: Request) -> list[tuple[bytes, bytes]]:
        origin = _header(request, b"origin")
        if origin is None:
            return []
        if "*" in self._spec.origins:
            headers = [(b"access-control-allow-origin", b"*")]
        elif origin.decode("latin-1") in self._spec.origins:
            headers = [(b"access-control-allow-origin", origin), (b"vary", b"origin")]
        else:
            return []
        if self._spec.credentials:
            headers.append((b"access-control-allow-credentials", b"true"))
        return headers


def _header(request: Request, name: bytes) -> bytes | None:
    return next((value for key, value in request.headers if key == name), None)
