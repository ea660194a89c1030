"""Serve the demo on the loopback address: `python -m local.demo --help`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import URL, Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from local.demo import api_reference, problems_page
from local.demo.connections import Connections, NotAvailableError
from local.demo.health_data import HealthData
from local.demo.notifications import Notifications
from local.demo.timeline import Timeline
from local.notifications import KEY_HEADER
from terra_simulator.origin_guard import OriginGuard
from tools.environment import ROOT, variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST: Final = "127.0.0.1"
STATIC: Final = Path(__file__).parent / "static"
COMPONENT: Final = ROOT / "clients" / "component"
ICONS: Final = "https://access.tryterra.co https://storage.googleapis.com"
"""Where Terra keeps the providers' logos, `icon_url` of GET /providers."""


class OneOrigin:
    """Redirects every other name of this machine (localhost) to the demo's own origin, the only one the API allows."""

    def __init__(self, app: ASGIApp, origin: str, headers: Mapping[str, str]) -> None:
        self._app = app
        self._origin = URL(origin)
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond, or redirect."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if Headers(scope=scope).get("host") != self._origin.netloc:
            here = URL(scope=scope).replace(netloc=self._origin.netloc)
            await RedirectResponse(here)(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def application(
    origin: str,
    *,
    api_url: str,
    issuer_url: str,
    terra_url: str,
    timeline: Timeline,
    notifications: Notifications,
    connections: Connections,
    health_data: HealthData,
) -> Starlette:
    """Return the demo as served at `origin`."""

    async def config(_request: Request) -> JSONResponse:
        return JSONResponse({"api": api_url, "issuer": issuer_url, "terra": terra_url})

    async def timeline_json(request: Request) -> JSONResponse:
        reference_id = request.query_params.get("reference_id")
        if not reference_id:
            return JSONResponse({"error": "?reference_id= is missing"}, status_code=400)
        return JSONResponse(await timeline.of(reference_id, notifications.of(reference_id)))

    async def data_json(request: Request) -> JSONResponse:
        return JSONResponse(await health_data.of(request.headers.get("authorization", "")))

    async def reasons_json(request: Request) -> JSONResponse:
        return JSONResponse(await connections.reasons(request.headers.get("authorization", "")))

    async def not_available(_request: Request, error: Exception) -> JSONResponse:
        status = error.status if isinstance(error, NotAvailableError) else httpx.codes.BAD_GATEWAY
        return JSONResponse({"title": str(error)}, status_code=status)

    async def events(request: Request) -> Response:
        if not notifications.accepts(request.headers.get(KEY_HEADER, "")):
            return Response(status_code=401)
        notifications.receive(await request.json())
        return Response(status_code=204)

    headers = {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' {ICONS}; "
            f"connect-src 'self' {api_url} {issuer_url}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Starlette(
        routes=[
            Route("/", home),
            Route("/connected", connected),
            Route("/config.json", config),
            Route("/timeline.json", timeline_json),
            Route("/data.json", data_json),
            Route("/reasons.json", reasons_json),
            Route("/events", events, methods=["POST"]),
            Route(problems_page.PATH, problems),
            *api_reference.routes(api_url),
            Mount("/component", StaticFiles(directory=COMPONENT)),
            Mount("/", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={NotAvailableError: not_available},
        middleware=[Middleware(OriginGuard, has_pages=True), Middleware(OneOrigin, origin=origin, headers=headers)],
    )


async def home(_request: Request) -> FileResponse:
    """Return the app's page."""
    return FileResponse(STATIC / "index.html")


async def connected(_request: Request) -> FileResponse:
    """Return the page that users return to."""
    return FileResponse(STATIC / "connected.html")


async def problems(_request: Request) -> HTMLResponse:
    """Return docs/problems.md, which errors link to."""
    return HTMLResponse(problems_page.html())


def main() -> None:
    """Serve on the loopback address until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m local.demo")
    parser.add_argument("--port", type=int, required=True)
    for name in ("api", "issuer", "terra", "dynamodb"):
        parser.add_argument(f"--{name}-url", required=True)
    parser.add_argument("--functions-log", type=Path, required=True)
    options = parser.parse_args()
    origin = f"http://{HOST}:{options.port}"
    notifications = Notifications(variable("NOTIFY_KEY"), f"{origin}/events")
    connections = Connections(options.api_url, variable("SERVICE_KEY"))
    app = application(
        origin,
        api_url=options.api_url,
        issuer_url=options.issuer_url,
        terra_url=options.terra_url,
        notifications=notifications,
        connections=connections,
        health_data=HealthData(connections, options.dynamodb_url, notifications),
        timeline=Timeline(
            api_url=options.api_url,
            terra_url=options.terra_url,
            dynamodb_url=options.dynamodb_url,
            functions_log=options.functions_log,
            pseudonym_key=variable("PSEUDONYM_KEY"),
        ),
    )
    uvicorn.run(app, host=HOST, port=options.port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
