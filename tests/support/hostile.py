"""A hostile server, unlike the simulator: it drips bytes, stalls, never stops sending, or accepts no connection."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

Behavior = Callable[[socket.socket, threading.Event], None]


def head(length: int, *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n".encode()


def drip(connection: socket.socket, is_stopped: threading.Event) -> None:
    """Send the response one byte at a time, with short pauses."""
    connection.sendall(head(100_000))
    while not is_stopped.wait(0.3):
        connection.sendall(b" ")


def drip_head(connection: socket.socket, is_stopped: threading.Event) -> None:
    """Send the response's headers one byte at a time, without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while not is_stopped.wait(0.3):
        connection.sendall(b"x")


def stall_after(seconds: float) -> Behavior:
    """Send the headers after `seconds`, and then nothing."""

    def behave(connection: socket.socket, is_stopped: threading.Event) -> None:
        if not is_stopped.wait(seconds):
            connection.sendall(head(100))
            is_stopped.wait()

    return behave


def send_forever(connection: socket.socket, is_stopped: threading.Event) -> None:
    """Send a response without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while not is_stopped.is_set():
        connection.sendall(b" " * 65_536)


def send_bytes(content: bytes) -> Behavior:
    """Send the bytes unchanged."""

    def behave(connection: socket.socket, is_stopped: threading.Event) -> None:
        del is_stopped
        connection.sendall(content)

    return behave


@dataclass
class Server:
    """A running server.

    Attributes:
        received: the first bytes of each request.
        connections: how many were accepted.
    """

    port: int
    received: list[bytes] = field(default_factory=list)
    connections: int = 0


@contextmanager
def serving(behave: Behavior, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve on a free port, with TLS if `tls` is given."""
    is_stopped = threading.Event()
    threads: list[threading.Thread] = []

    def serve(raw: socket.socket) -> None:
        try:
            connection: socket.socket = tls.wrap_socket(raw, server_side=True) if tls else raw
        except OSError:  # the client rejects the certificate
            raw.close()
            return
        with connection:
            try:
                server.received.append(connection.recv(65_536))
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

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            is_stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(5)


@contextmanager
def hostile(behave: Behavior) -> Iterator[tuple[str, list[bytes]]]:
    """Serve by http. Yield the URL and the received requests."""
    with serving(behave) as server:
        yield f"http://127.0.0.1:{server.port}", server.received


@contextmanager
def unreachable() -> Iterator[str]:
    """Yield a URL that neither accepts nor rejects a connection: its queue is full and never served."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
