"""uvicorn in the caller's event loop: the API, the Runtime APIs and the control endpoint are ASGI applications."""

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Final

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp

# Lambda's runtime client keeps its connection idle while the function works: for 15 minutes at most.
_KEEP_ALIVE: Final = 3600
_HEAD_LIMIT: Final = 64 * 1024


class HttpServer(uvicorn.Server):
    """Serves one application on one listening socket, and leaves signals to the caller."""

    def __init__(self, app: ASGIApp, listener: socket.socket, *, head_limit: int = _HEAD_LIMIT) -> None:
        """Start serving.

        Args:
            app: The application.
            listener: From `listen`.
            head_limit: The maximum size of a request's line and headers, in bytes.
        """
        config = uvicorn.Config(
            app,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
            # For clients that are still sending; other requests end with their functions.
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=head_limit,
        )
        super().__init__(config)
        self._serving = asyncio.create_task(self.serve(sockets=[listener]))

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Change no signal handlers."""
        yield

    async def stop(self) -> None:
        """Close the listening socket, and every connection as soon as its request is answered."""
        self.should_exit = True
        await self._serving


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: The port is in use or not allowed.
    """
    # asyncio disables Nagle's algorithm only if the protocol is named; with it, each response would take 40 ms longer.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # Without it a port stays blocked for a minute after the previous run; a port in use is still rejected.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


async def read_body(request: Request, limit: int) -> bytes | None:
    """The body of a request, or None if it is larger than the limit, in bytes.

    A larger body is read to its end, because a client that is still sending could see a reset instead of the response.

    Raises:
        ClientDisconnect: The client has disconnected before the end.
    """
    body = bytearray()
    is_too_large = False
    async for chunk in request.stream():
        is_too_large = is_too_large or len(body) + len(chunk) > limit
        if not is_too_large:
            body += chunk
    return None if is_too_large else bytes(body)
