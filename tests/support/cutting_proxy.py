"""A network that fails: a TCP proxy that is cut, or stops, when a request with certain content passes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

from local.gateway.http_server import listen

CHUNK = 65536
Failure = Literal["cut", "stopped"]


class CuttingProxy:
    """Forwards connections until the n-th request that contains a text.

    `cut`: that request is processed, but its response and everything after it is lost; new connections are refused.
    `stopped`: neither that request nor anything after it is forwarded; connections stay open.
    """

    def __init__(self, target: str, text: bytes, *, occurrence: int = 1, failure: Failure = "cut") -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)
        self._text = text
        self._left = occurrence
        self._failure = failure
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._is_closed = False
        self._listening = listen("127.0.0.1", 0)
        self._listening.setblocking(True)  # noqa: FBT003 - the name of the method says it
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.has_failed = threading.Event()
        self.requests: list[bytes] = []
        """Everything that clients have sent, in parts."""
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close every connection, and refuse new ones."""
        with self._lock:
            self._is_closed = True
            for each in (self._listening, *self._open):
                _close(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._target)
                with self._lock:
                    if self._is_closed:
                        _close(client)
                        _close(server)
                        return
                    self._open += [client, server]
                threading.Thread(target=self._forward_requests, args=(client, server), daemon=True).start()

    def _forward_requests(self, client: socket.socket, server: socket.socket) -> None:
        responses: threading.Thread | None = None
        is_last = threading.Event()
        with suppress(OSError):
            while chunk := client.recv(CHUNK):
                self.requests.append(chunk)
                # The rest of the failing request still goes on: it often comes in a second chunk.
                if self.has_failed.is_set() and not is_last.is_set():
                    return
                if not is_last.is_set() and self._text in chunk and self._is_the_one():
                    self.has_failed.set()
                    if self._failure == "stopped":
                        return
                    is_last.set()
                server.sendall(chunk)
                if responses is None:
                    responses = threading.Thread(
                        target=self._forward_responses, args=(server, client, is_last), daemon=True
                    )
                    responses.start()
        if not self.has_failed.is_set():
            with suppress(OSError):
                server.shutdown(socket.SHUT_WR)

    def _forward_responses(self, server: socket.socket, client: socket.socket, is_last: threading.Event) -> None:
        with suppress(OSError):
            while chunk := server.recv(CHUNK):
                if is_last.is_set():
                    self.close()
                    return
                client.sendall(chunk)
            client.shutdown(socket.SHUT_WR)

    def _is_the_one(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == 0


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def failing_network(target: str, text: str, *, occurrence: int = 1, failure: Failure = "cut") -> Iterator[CuttingProxy]:
    """Return a proxy in front of a server."""
    proxy = CuttingProxy(target, text.encode(), occurrence=occurrence, failure=failure)
    try:
        yield proxy
    finally:
        proxy.close()
