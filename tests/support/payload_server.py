"""A server of payloads with its own certificate authority: it behaves as a test sets it, and counts its connections."""

import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import trustme

from tests.support.hostile import Behavior

HOST = "payloads.example.com"


def response(content: bytes, *, status: str = "200 OK", headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole response. Its content-length is that of the content, unless `headers` has another."""
    fields = {"content-length": str(len(content)), **(headers or {})}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items() if value), "", ""]
    return "\r\n".join(lines).encode() + content


@dataclass
class PayloadServer:
    """A server on the loopback address.

    Attributes:
        authority: issued its certificate.
        requests: the head of each request, as it came.
        connections: how many were accepted.
    """

    port: int
    authority: trustme.CA
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def roots(self) -> ssl.SSLContext:
        """Return the TLS settings of a client that trusts the authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context


@contextmanager
def payload_server(
    behave: Behavior, *, name: str = HOST, authority: trustme.CA | None = None, is_tls: bool = True
) -> Iterator[PayloadServer]:
    """Serve on a free port, with a certificate for `name`."""
    is_stopped = threading.Event()
    authority = authority or trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    def serve(raw: socket.socket) -> None:
        try:
            connection: socket.socket = context.wrap_socket(raw, server_side=True) if is_tls else raw
        except OSError:  # the client rejects the certificate
            raw.close()
            return
        with connection:
            try:
                server.requests.append(connection.recv(65_536))
                behave(connection, is_stopped)
            except OSError:
                return  # the client gave up, as the test expects

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed: the test is over
            server.connections += 1
            thread = threading.Thread(target=serve, args=(connection,), daemon=True)
            threads.append(thread)
            thread.start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = PayloadServer(listener.getsockname()[1], authority)
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            is_stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(5)
