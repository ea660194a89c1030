"""Rejects requests that a foreign web page sends to a program of this machine through the user's browser.

A page may send "simple" requests to any address without a preflight, and by pointing a name of its own to 127.0.0.1
(DNS rebinding) it can even read the responses. Both show in the headers: a browser names the page in Origin or in
Sec-Fetch-Site, and the name of the target in Host. Programs (boto3, httpx, curl) send none of the first two.

Only the standard library: MiniStack's own environment imports this file, too.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Names that a page cannot own. Docker Desktop gives its containers the second one.
_NAMES: Final = frozenset({"localhost", "host.docker.internal"})
BODY: Final = json.dumps({"error": "refused: a web page of another origin, or another name of this machine"}).encode()
WEBSOCKET_REFUSED: Final = 1008


def is_foreign(
    headers: Iterable[tuple[bytes, bytes]],
    *,
    origins: Collection[str] = (),
    has_pages: bool = False,
    names: Collection[str] = (),
) -> bool:
    """Return whether a request comes from a foreign page, or reached this machine by a name that is not its own.

    Args:
        headers: As in ASGI: names in lower case.
        origins: Further origins whose pages are allowed.
        has_pages: Whether foreign links may lead here: a navigation, whose response only the user sees.
        names: Further names of this machine, such as that of a container.
    """
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1").strip())
    hosts = found.get("host", [])
    if len(hosts) != 1 or not is_own_name(hosts[0], names):
        return True
    if any(origin != f"http://{hosts[0]}" and origin not in origins for origin in found.get("origin", ())):
        return True
    is_elsewhere = any(site not in {"none", "same-origin"} for site in found.get("sec-fetch-site", ()))
    is_allowed = "origin" in found or (has_pages and found.get("sec-fetch-mode") == ["navigate"])
    return is_elsewhere and not is_allowed


def is_own_name(host: str, names: Collection[str] = ()) -> bool:
    """Return whether a Host header contains an address, or a name that only this machine has.

    Any address is accepted: DNS rebinding needs a name. Containers reach this machine by its address on their bridge.
    """
    name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
    if port and not port.isdecimal():
        return False
    if name.lower() in _NAMES or name.lower() in names:
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


class OriginGuard:
    """ASGI middleware: 403 for every foreign request."""

    def __init__(self, app: App, *, origins: Collection[str] = (), has_pages: bool = False) -> None:
        self._app = app
        self._origins = origins
        self._has_pages = has_pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject the request, or pass it on."""
        is_request = scope["type"] in {"http", "websocket"}
        if not is_request or not is_foreign(scope["headers"], origins=self._origins, has_pages=self._has_pages):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": WEBSOCKET_REFUSED})
        else:
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
            await send({"type": "http.response.start", "status": HTTPStatus.FORBIDDEN, "headers": headers})
            await send({"type": "http.response.body", "body": BODY})
