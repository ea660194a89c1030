"""A real HTTP server that receives webhooks and responds as the test configures."""

import json
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Arrival:
    headers: Message
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def event(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)

    @property
    def type(self) -> str:
        return str(self.event["type"])

    @property
    def signature(self) -> str:
        return self.headers["X-Terra-Signature"]

    @property
    def t(self) -> int:
        return int(self.signature.split(",")[0].removeprefix("t="))


class _Server(ThreadingHTTPServer):
    request_queue_size = 128  # must accept 32 concurrent deliveries


class Receiver:
    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self.arrivals: list[Arrival] = []
        self.answers: deque[int] = deque()
        self.takes_s = 0.0
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/webhooks/terra?from=terra"

    def wait_for(self, count: int, *, seconds: float = 30.0) -> list[Arrival]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.arrivals) >= count, seconds), self.arrivals
            return list(self.arrivals)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver._arrived:
                    receiver.arrivals.append(Arrival(self.headers, body))
                    status = receiver.answers.popleft() if receiver.answers else 200
                    receiver._arrived.notify_all()
                time.sleep(receiver.takes_s)
                with suppress(ConnectionError):  # the sender timed out and closed the connection
                    self.send_response(status)
                    self.end_headers()
                    self.wfile.write(f"answered {status}".encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
                pass

        return Handler
