"""A webhook endpoint that verifies as the functions do, with signing secrets that it caches as they do."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from terra_connections.errors import NotSigned
from terra_connections.webhooks.signature import Tolerance, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PATH = "/webhooks/terra"


class Endpoint:
    """Records accepted events, and the deliveries that it rejects.

    Attributes:
        secrets: reads the signing secrets by name.
        cached_for: how long it uses them, in seconds.
        answer: the status of accepted deliveries; anything but 200 rejects them.
    """

    def __init__(self) -> None:
        self.secrets: Callable[[], Mapping[str, str]] = dict
        self.cached_for = 0.0
        self.answer = 200
        self.accepted: list[dict[str, Any]] = []
        self.signed_with: list[str] = []
        self.rejected: list[int] = []
        self._cache: tuple[float, Mapping[str, str]] = (0.0, {})
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{PATH}"

    def types(self, user_id: str | None = None) -> list[str]:
        """The types of Terra's own events that were accepted."""
        return [each["type"] for each in self.accepted if user_id is None or each["user"]["user_id"] == user_id]

    def receive(self, path: str, body: bytes, signature: str) -> int:
        with self._lock:
            if path != PATH:
                return 404
            if self.answer != 200:
                self.rejected.append(self.answer)
                return self.answer
            if time.monotonic() >= self._cache[0]:
                self._cache = (time.monotonic() + self.cached_for, self.secrets())
            tolerance = Tolerance(timedelta(days=1), timedelta(minutes=5))
            event = json.loads(body)
            try:
                proof = verify(body, [signature], self._cache[1], now=datetime.now(UTC), tolerance=tolerance)
            except NotSigned:
                if event["type"] != "healthcheck":  # those of the tools are expected to be rejected for a while
                    self.rejected.append(401)
                return 401
            if event["type"] != "healthcheck":
                self.accepted.append(event)
                self.signed_with.append(proof.secret_name)
            return 200

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
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(endpoint.receive(self.path, body, self.headers["X-Terra-Signature"]))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                pass

        return Handler
