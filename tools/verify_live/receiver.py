"""What Terra's deliveries and redirects reach: a server on this machine, behind a tunnel of the user's.

A request without a valid signature of the scratch destination is rejected and not recorded. Of the others only the
facts are kept, in memory: a test environment may deliver the health data of its other users, too.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from terra_connections.webhooks.signature import sign
from tools.stages import StageError, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from pydantic import SecretStr
    from starlette.requests import Request

HOST: Final = "127.0.0.1"
DISTINCT_AFTER: Final = 2.0
"""Seconds between two deliveries whose `t` are compared: it has whole seconds."""
LARGEST_BODY: Final = 16 * 1024 * 1024
_REASON: Final = re.compile(r"[a-z][a-z_ -]{0,40}", re.ASCII)
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)


@dataclass(frozen=True)
class Arrival:
    """One signed request to a scratch destination.

    Attributes:
        at: when it arrived, in unix seconds.
        digest: identifies the body.
        signed_by: the names of the secrets that have signed it.
        values: the number of `v1`.
        content: the body's members, without those of the health data.
    """

    destination: str
    at: float
    status: int
    digest: bytes
    signed_by: frozenset[str]
    t: int
    values: int
    trace_id: str | None
    ordering_timestamp: str | None
    content: Mapping[str, Any]

    @property
    def type(self) -> str:
        """The type of the event."""
        return str(self.content.get("type"))

    @property
    def user(self) -> Mapping[str, Any]:
        """Its user; empty if it has none."""
        user = self.content.get("user") or self.content.get("new_user")
        return user if isinstance(user, dict) else {}

    @property
    def reference_id(self) -> object:
        """The `reference_id` of its user, or its own."""
        return self.user.get("reference_id", self.content.get("reference_id"))


@dataclass(frozen=True)
class Redirect:
    """A browser's request for a redirect URL.

    Attributes:
        kind: success or failure.
        parameters: the names, in their order.
        reason: the value of `reason`, if it is a plain word.
    """

    kind: str
    parameters: tuple[str, ...]
    reason: str


class Receiver:
    """The server, and what it has received.

    Attributes:
        secrets: the signing secrets of each destination, by destination and name.
        refusing: the destinations all of whose deliveries are rejected.
        refusing_first: the destinations whose deliveries are rejected for a while after their first attempt.
    """

    def __init__(self, path: str, port: int) -> None:
        """Listen.

        Args:
            path: the random last part of the path before the name of a destination.
            port: on 127.0.0.1.

        Raises:
            StageError: the port cannot be used.
        """
        self.secrets: dict[str, dict[str, SecretStr]] = {}
        self.refusing: set[str] = set()
        self.refusing_first: set[str] = set()
        self._nonce = secrets.token_urlsafe(16)
        self._arrivals: list[Arrival] = []
        self._redirects: list[Redirect] = []
        self._lock = threading.Lock()
        try:
            self._listener = socket.create_server((HOST, port))
        except OSError as error:
            message = f"Port {port} on {HOST} cannot be used ({one_line(error)[:-1]}): choose another by RECEIVER_PORT."
            raise StageError(message) from None
        # A tunnel may add a path of its own.
        paths = [f"{before}{path}/{{name}}" for before in ("", "/{before:path}")]
        routes = [Route(each, self._receive, methods=["POST"]) for each in paths]
        app = Starlette(routes=[*routes, *(Route(each, self._visit, methods=["GET"]) for each in paths)])
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)

    @property
    def nonce(self) -> str:
        """What `check` returns, which shows that a URL leads to this process."""
        return self._nonce

    def at(self, destination: str) -> list[Arrival]:
        """Return what has arrived at a destination, oldest first."""
        with self._lock:
            return [each for each in self._arrivals if each.destination == destination]

    def of(self, destination: str, user_id: str) -> list[Arrival]:
        """Return what has arrived at a destination about a user."""
        return [each for each in self.at(destination) if each.user.get("user_id") == user_id]

    def redirects(self) -> list[Redirect]:
        """Return the redirects so far."""
        with self._lock:
            return list(self._redirects)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._listener.close()

    async def _receive(self, request: Request) -> Response:
        name, body = request.path_params["name"], bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_BODY:
                    return Response(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)
        header = request.headers.get("x-terra-signature") or request.headers.get("terra-signature") or ""
        t, values = _signature(header)
        known = self.secrets.get(name, {})
        signed_by = {
            each for each, secret in known.items() if sign(bytes(body), secret.get_secret_value(), t) in values
        }
        if not signed_by:
            return Response(status_code=HTTPStatus.UNAUTHORIZED)
        digest = hashlib.sha256(body).digest()
        with self._lock:
            now = time.time()
            tried = [each.at for each in self._arrivals if (each.destination, each.digest) == (name, digest)]
            is_early = not tried or now - tried[0] < DISTINCT_AFTER
            refuses = name in self.refusing or (name in self.refusing_first and is_early)
            status = HTTPStatus.SERVICE_UNAVAILABLE if refuses else HTTPStatus.OK
            self._arrivals.append(
                Arrival(
                    destination=name,
                    at=now,
                    status=status,
                    digest=digest,
                    signed_by=frozenset(signed_by),
                    t=int(t),
                    values=len(values),
                    trace_id=request.headers.get("x-terra-trace-id"),
                    ordering_timestamp=request.headers.get("x-terra-ordering-timestamp"),
                    content=_content(bytes(body)),
                )
            )
        return Response(status_code=status)

    async def _visit(self, request: Request) -> Response:
        name, query = request.path_params["name"], parse_qsl(request.url.query, keep_blank_values=True)
        if name == "check":
            return PlainTextResponse(self._nonce)
        if name not in {"success", "failure"}:
            return Response(status_code=HTTPStatus.NOT_FOUND)
        reason = dict(query).get("reason", "")
        with self._lock:
            self._redirects.append(
                Redirect(name, tuple(each for each, _ in query), reason if _REASON.fullmatch(reason) else "")
            )
        return PlainTextResponse("Recorded. You can close this page.")


def _signature(header: str) -> tuple[str, list[str]]:
    """Return `t` of a signature, and its `v1` values."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    t = next((value for key, _, value in pairs if key == "t"), "")
    return t if _TIMESTAMP.fullmatch(t) else "0", [value for key, _, value in pairs if key == "v1"]


def _content(body: bytes) -> dict[str, Any]:
    """Return the members of an event; of its data only that they exist."""
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    kept = content if isinstance(content, dict) else {}
    return {name: None if name in {"data", "athlete"} else value for name, value in kept.items()}
