"""A server in front of an API that lets some requests fail, and forwards the others."""

# ruff: noqa: ANN401 - JSON

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx


@dataclass(frozen=True)
class Answer:
    """A response that the front itself gives."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


CUT = Answer(0)
"""The request is forwarded and processed, and the connection is closed before the response."""


@dataclass(frozen=True)
class Request:
    """A received request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Front:
    """The server; `faults` are for the next requests, in order."""

    def __init__(self, target: str) -> None:
        self.faults: list[Answer] = []
        self.requests: list[Request] = []
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                front.respond(self, target)

            do_POST = do_GET  # noqa: N815 - http.server's name
            do_DELETE = do_GET  # noqa: N815 - as above

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def respond(self, handler: Any, target: str) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", "0")))
        self.requests.append(Request(handler.command, handler.path, dict(handler.headers), body))
        fault = self.faults.pop(0) if self.faults else None
        if fault is None or fault is CUT:
            names = ("authorization", "content-type", "idempotency-key")
            headers = {name: handler.headers[name] for name in names if name in handler.headers}
            response = httpx.request(handler.command, target + handler.path, headers=headers, content=body, timeout=30)
            kept = {
                name: response.headers[name] for name in ("content-type", "retry-after") if name in response.headers
            }
            answer = Answer(response.status_code, kept, response.content)
        else:
            answer = fault
        if fault is CUT:
            handler.connection.shutdown(socket.SHUT_RDWR)
            return
        handler.send_response(answer.status)
        for name, value in {**answer.headers, "content-length": str(len(answer.body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(answer.body)


@contextmanager
def front(target: str, *faults: Answer) -> Iterator[Front]:
    """Run a front."""
    running = Front(target)
    running.faults.extend(faults)
    thread = threading.Thread(target=running.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.server.shutdown()
        running.server.server_close()
        thread.join()
