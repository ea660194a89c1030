"""A small HTTP/1.1 server that passes requests on unchanged: raw target, raw headers, raw body.

The API and the Runtime API use it. It runs in the caller's event loop and does not change signal handlers.
asyncio disables Nagle's algorithm on every TCP connection; with it, each response would take up to 40 ms longer.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPMethod, HTTPStatus
from typing import Final

import h11

from terra_simulator.origin_guard import BODY, is_foreign

_CHUNK: Final = 256 * 1024
_HEAD_LIMIT: Final = 64 * 1024
# A body above its limit is read to the end and discarded, because a client that is still sending would see a
# reset instead of the 413. Beyond this many bytes the connection is just closed.
_DRAIN_LIMIT: Final = 64 * 1024 * 1024
_WITHOUT_BODY: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as received; header names are lower-case."""

    method: str
    target: bytes
    headers: Headers
    body: bytes
    is_body_too_large: bool
    protocol: str
    client: str


@dataclass(frozen=True, slots=True)
class Response:
    """A response; the server adds the length, the date and the connection headers."""

    status: int
    headers: Headers
    body: bytes


Handler = Callable[[Request], Awaitable[Response]]
_FOREIGN: Final = Response(HTTPStatus.FORBIDDEN, [(b"content-type", b"application/json")], BODY)


class _ClosedEarlyError(Exception):
    """The client disconnected in the middle of a request."""


class HttpServer:
    """Serves one handler on one listening socket."""

    def __init__(
        self, handler: Handler, *, body_limit: int, head_limit: int = _HEAD_LIMIT, is_for_programs: bool = False
    ) -> None:
        """Respond with a handler.

        Args:
            handler: Returns the response to a request.
            body_limit: Bytes; the handler gets no larger body.
            head_limit: Bytes.
            is_for_programs: Whether web pages of other origins get 403, as at every control endpoint.
        """
        self._handler = handler
        self._is_for_programs = is_for_programs
        self._body_limit = body_limit
        self._head_limit = head_limit
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Start serving."""
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=_CHUNK)

    async def stop(self) -> None:
        """Close the listening socket and every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=self._head_limit)
        try:
            await self._converse(connection, reader, writer)
        except (_ClosedEarlyError, ConnectionError):
            return  # the client has disconnected
        except asyncio.CancelledError:
            return  # stop() ends connections this way; asyncio.streams would log a cancelled task as an error
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            try:
                request = await self._read(connection, reader, writer)
            except h11.RemoteProtocolError as error:
                if connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    status = HTTPStatus(error.error_status_hint)
                    body = f'{{"message":"{status.phrase}"}}'.encode()
                    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
                    await self._send(connection, writer, Response(status, headers, body))
                return
            if request is None:
                return
            is_refused = self._is_for_programs and is_foreign(request.headers)
            response = _FOREIGN if is_refused else await self._handler(request)
            await self._send(connection, writer, response, is_head=request.method == HTTPMethod.HEAD)
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _read(
        self, connection: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Request | None:
        head: h11.Request | None = None
        chunks: list[bytes] = []
        size = 0
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[])
                    writer.write(connection.send(go_on) or b"")
                connection.receive_data(await reader.read(_CHUNK))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                size += len(event.data)
                if size <= self._body_limit:
                    chunks.append(bytes(event.data))
                elif size > _DRAIN_LIMIT:
                    raise _ClosedEarlyError
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                is_too_large = size > self._body_limit
                peer = writer.get_extra_info("peername")
                return Request(
                    method=head.method.decode("ascii"),
                    target=bytes(head.target),
                    headers=[(bytes(name), bytes(value)) for name, value in head.headers],
                    body=b"" if is_too_large else b"".join(chunks),
                    is_body_too_large=is_too_large,
                    protocol=f"HTTP/{head.http_version.decode('ascii')}",
                    client=str(peer[0]) if peer else "",
                )
            elif isinstance(event, h11.ConnectionClosed):
                return None
            else:
                raise _ClosedEarlyError

    async def _send(
        self, connection: h11.Connection, writer: asyncio.StreamWriter, response: Response, *, is_head: bool = False
    ) -> None:
        headers = [*response.headers, (b"date", formatdate(usegmt=True).encode())]
        has_body = response.status not in _WITHOUT_BODY
        if has_body:
            headers.append((b"content-length", str(len(response.body)).encode()))
        out = connection.send(h11.Response(status_code=response.status, headers=headers)) or b""
        if has_body and not is_head:
            out += connection.send(h11.Data(data=response.body)) or b""
        out += connection.send(h11.EndOfMessage()) or b""
        writer.write(out)
        await writer.drain()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        OSError: The port is in use or not allowed.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Without it a port stays blocked for a minute after the previous run; a port in use is still rejected.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
        listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    except BaseException:
        listener.close()
        raise
    return listener
