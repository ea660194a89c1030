"""A page with <terra-connect>, as a team's own server has it: with its strict policy, and with a proxy to the API."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from local.testing import Stack
from tools.environment import ROOT

COMPONENT = ROOT / "clients" / "component"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Wearables</title>
<script type="module" src="app.js"></script>
</head>
<body>
<main><h1>Connect a wearable</h1>ELEMENT</main>
</body>
</html>"""
APP = """import "./terra-connect.js";
window.seen = [];
for (const name of ["session", "connected", "failed", "cancelled", "error"]) {
  document.addEventListener(`terra-${name}`, ({ detail }) => window.seen.push([name, detail]));
}
"""
STYLE = """
const sheet = new CSSStyleSheet();
sheet.replaceSync(`:root { color-scheme: light dark }
  body { font: 1rem/1.5 system-ui; margin: 0 }
  main { max-width: 40rem; margin: 2rem auto; padding: 0 1rem }`);
document.adoptedStyleSheets = [sheet];
"""


class File(NamedTuple):
    """What the server of a page returns."""

    status: int
    headers: dict[str, str]
    body: bytes


def policy(api_url: str) -> str:
    """The Content-Security-Policy of docs/connect-component.md."""
    return f"default-src 'none'; script-src 'self'; connect-src {api_url}; img-src https:"


def file_at(path: str, page: str, app: str, api_url: str) -> File:
    """Return the page, its script, or a file of the component."""
    headers = {"Content-Security-Policy": policy(api_url), "Cache-Control": "no-store"}
    if path == "/":
        return File(200, {**headers, "Content-Type": "text/html"}, page.encode())
    file = COMPONENT / path.removeprefix("/")
    if path != "/app.js" and not file.is_file():
        return File(404, headers, b"")
    body = app.encode() if path == "/app.js" else file.read_bytes()
    return File(200, {**headers, "Content-Type": TYPES[file.suffix]}, body)


@contextmanager
def page_server(answer: Callable[[BaseHTTPRequestHandler], File]) -> Iterator[str]:
    """Serve on the loopback address. Yields the page's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = answer(self)
            self.send_response(file.status)
            for name, value in file.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(file.body)))
            self.end_headers()
            self.wfile.write(file.body)

        do_POST = do_GET  # noqa: N815  # the name is BaseHTTPRequestHandler's

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


@contextmanager
def team_server(stack: Stack, reference_id: str, element: str, *, style: bool = False) -> Iterator[str]:
    """Serve the page of a signed-in user; requests to the API are passed on with the service key.

    Args:
        style: give the page itself margins, a font and both colour schemes, as an app has.

    Yields:
        The page's URL.
    """

    def answer(request: BaseHTTPRequestHandler) -> File:
        path = urlsplit(request.path).path
        if path == "/providers" or path.startswith("/sessions"):
            return proxied(stack, reference_id, request)
        return file_at(path, PAGE.replace("ELEMENT", element), APP + STYLE if style else APP, "'self'")

    with page_server(answer) as url:
        yield url


def proxied(stack: Stack, reference_id: str, request: BaseHTTPRequestHandler) -> File:
    """Pass a request on to the API for this user; a session of another user is not found."""
    headers = {"authorization": f"Bearer {stack.service_key}"}
    body = None
    if request.command == "POST":
        headers["idempotency-key"] = request.headers["idempotency-key"]
        body = json.loads(request.rfile.read(int(request.headers["content-length"]))) | {"reference_id": reference_id}
    response = httpx.request(request.command, stack.api_url + request.path, headers=headers, json=body, timeout=30)
    if response.is_success and response.json().get("reference_id", reference_id) != reference_id:
        return File(404, {"Content-Type": "application/json"}, b'{"code": "not_found"}')
    kept = {name: value for name, value in response.headers.items() if name in {"content-type", "retry-after"}}
    return File(response.status_code, kept, response.content)
