"""A DynamoDB that answers at once, and always the same: what is measured is the client."""

from __future__ import annotations

import threading
import zlib
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_KNOWN: Final = ("DynamoDB_20120810.PutItem", "DynamoDB_20120810.TransactWriteItems")
_ANSWER: Final = b"{}"  # what both answer to whom asks for nothing back


@contextmanager
def answering() -> Iterator[str]:
    """Answer in a thread; where."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body leave together, and wait for nobody's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        is_known = self.headers["x-amz-target"] in _KNOWN
        self.send_response(HTTPStatus.OK if is_known else HTTPStatus.BAD_REQUEST)
        self.send_header("content-type", "application/x-amz-json-1.0")
        self.send_header("content-length", str(len(_ANSWER)))
        self.send_header("x-amzn-requestid", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEF")
        # botocore computes it, too, and compares.
        self.send_header("x-amz-crc32", str(zlib.crc32(_ANSWER)))
        self.end_headers()
        self.wfile.write(_ANSWER)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's word
        """Nothing: some ten thousand requests are told by the figures."""
