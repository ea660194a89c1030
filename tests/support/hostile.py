"""A hostile server, unlike the simulator: it drips bytes, stalls, never stops sending, or accepts no connection."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

Talk = Callable[[socket.socket, threading.Event], None]


def head(length: int, *, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n".encode()


def drip(connection: socket.socket, is_over: threading.Event) -> None:
    """Send the response one byte at a time, with short pauses."""
    connection.sendall(head(100_000))
    while not is_over.wait(0.3):
        connection.sendall(b" ")


def drip_head(connection: socket.socket, is_over: threading.Event) -> None:
    """Send the response's headers one byte at a time, without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while not is_over.wait(0.3):
        connection.sendall(b"x")


def stall_after(seconds: float) -> Talk:
    """Send the headers after `seconds`, and then nothing."""

    def talk(connection: socket.socket, is_over: threading.Event) -> None:
        if not is_over.wait(seconds):
            connection.sendall(head(100))
            is_over.wait()

    return talk


def talk_forever(connection: socket.socket, is_over: threading.Event) -> None:
    """Send a response without end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while not is_over.is_set():
        connection.sendall(b" " * 65_536)


def answer(content: bytes) -> Talk:
    """Send the bytes unchanged."""

    def talk(connection: socket.socket, is_over: threading.Event) -> None:
        del is_over
        connection.sendall(content)

    return talk


@contextmanager
def hostile(talk: Talk) -> Iterator[tuple[str, list[bytes]]]:
    """Serve on a free port. Yield its URL and the received requests."""
    is_over = threading.Event()
    heard: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                heard.append(connection.recv(65_536))
                talk(connection, is_over)
            except OSError:
                return  # the client gave up, as the test expects

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed: the test is over
            thread = threading.Thread(target=serve, args=(connection,), daemon=True)
            threads.append(thread)
            thread.start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
        is_over.set()
        listener.shutdown(socket.SHUT_RDWR)
    for thread in (accepting, *threads):
        thread.join(5)


@contextmanager
def unreachable() -> Iterator[str]:
    """Yield a URL that neither accepts nor rejects a connection: its queue is full and never served."""
    with ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = held.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
