"""`terra-simulator listen`: print the webhooks of a running simulator, and forward them to a back end.

The simulator gets another destination, which leads to this process and is removed at the end. The back end's response
is passed on, so that failures are retried. The signature is made with the environment's secret unless `--own-secret`.
"""

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

import httpx

from terra_simulator.commands.options import add_url
from terra_simulator.control_client import ControlClient, ControlError

_ADMIN: Final = "/api/v3/admin"
_SCOPES: Final = ["account:read", "destinations:read", "destinations:write"]
_CHECK_S: Final = 1.0
_TIMEOUT_S: Final = 60.0
_OWN: Final = frozenset({"host", "content-length", "connection", "accept", "accept-encoding", "transfer-encoding"})
"""Headers of the connection to this process, which are not forwarded."""


class CannotListenError(Exception):
    """The webhooks of a simulator cannot be received."""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "listen",
        help="print webhooks, and forward them to a URL",
        description="Print the webhooks of a running simulator, and forward them, until Ctrl-C.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--forward-to", metavar="URL", help="such as http://127.0.0.1:5000/terra; else 200 is the answer"
    )
    parser.add_argument("--events", help="only these types, separated by commas, such as auth,deauth")
    parser.add_argument("--json", action="store_true", help="print the bodies, too")
    parser.add_argument("--own-secret", action="store_true", help="sign with a secret of its own, which is printed")
    add_url(parser)


def run(options: argparse.Namespace) -> int:
    """Listen until a signal arrives, or the simulator ends."""
    stopped = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda *_: stopped.set())
    with ControlClient(options.url) as client, _Relay(options) as relay, _destination(client, options, relay.url):
        if options.forward_to:
            print(f"Webhooks of {client.url} are forwarded to {options.forward_to}. Ctrl-C ends it.", flush=True)
        else:
            print(f"Webhooks of {client.url} are printed. Ctrl-C ends it.", flush=True)
        while not stopped.wait(_CHECK_S):
            client.call("GET", "/health")
    return 0


@contextmanager
def _destination(client: ControlClient, options: argparse.Namespace, url: str) -> Iterator[None]:
    """Add a destination to the simulator, and remove it at the end."""
    token = client.call("POST", "/admin_tokens", {"scopes": _SCOPES})["token"]
    (environment,) = client.send("GET", f"{_ADMIN}/environments", token=token).json()["data"]
    destinations = f"{_ADMIN}/environments/{environment['dev_id']}/unified-api/destinations"
    new = {
        "config": {"url": url},
        "event_types": options.events.split(",") if options.events else [],
        "signing_secret_source": "destination" if options.own_secret else "environment",
    }
    created = client.send("POST", destinations, new, token=token)
    if created.status_code != HTTPStatus.CREATED:
        raise CannotListenError(_reason(created))
    try:
        if options.own_secret:
            print(f"Signing secret: {created.json()['signing_secret']}", flush=True)
        yield
    finally:
        try:
            client.send("DELETE", f"{destinations}/{created.json()['id']}", token=token)
            client.send("DELETE", f"{_ADMIN}/tokens/self", token=token)
        except ControlError:
            print("The simulator has ended.", file=sys.stderr)


def _reason(response: httpx.Response) -> str:
    content = response.json()
    details = content.get("errors") or [content.get("detail") or content.get("title")]
    return "; ".join(str(each) for each in details)


class _Relay(ThreadingHTTPServer):
    """Receives webhooks, prints them, and forwards them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.options = options
        self.client = httpx.Client(timeout=_TIMEOUT_S, trust_env=False)
        self._printing = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        self.client.close()

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Forward a webhook and return the response to the simulator; print both."""
        began = time.monotonic()
        status, content, outcome = int(HTTPStatus.OK), b"", "printed"
        if self.options.forward_to:
            try:
                response = self.client.post(self.options.forward_to, content=body, headers=headers)
                status, content = response.status_code, response.content
                outcome = f"{status} ({int((time.monotonic() - began) * 1000)} ms)"
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                status, outcome = int(HTTPStatus.BAD_GATEWAY), f"no response ({error or type(error).__name__})"
        with self._printing:
            print(f"{datetime.now(UTC):%H:%M:%S}  {_name(body)}  {outcome}", flush=True)
            if self.options.json:
                print(_readable(body), flush=True)
        return status, content


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Relay

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN}
        status, content = self.server.answer(headers, body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Write no line of its own."""


def _name(body: bytes) -> str:
    """Return the type of a webhook and its user, as one line."""
    try:
        content: Any = json.loads(body)
        user = content.get("user") or content.get("new_user") or {}
        owner = user.get("reference_id") or user.get("user_id") or content.get("reference_id") or ""
        return f"{content['type']}  {owner}".rstrip()
    except (ValueError, LookupError, AttributeError):
        return f"{len(body)} bytes"


def _readable(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return repr(body)
