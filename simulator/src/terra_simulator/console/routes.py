"""The console at `/`: users and connections, deliveries, and the actions of both.

Showing the page changes nothing. An action is a form's POST, answered by 303 back to the item that it was for, so a
reload repeats nothing. The page's script reads the same address again and again, with the ETag that it has. Like the
control API, it serves only browsers on this machine, and rejects pages of other sites.
"""

import hashlib
import itertools
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from terra_simulator import pages
from terra_simulator.consent import form_fields
from terra_simulator.console import view
from terra_simulator.console.actions import Actions, NotPossibleError
from terra_simulator.console.query import Query
from terra_simulator.origin_guard import is_foreign
from terra_simulator.simulator import Simulator

MAX_NOTICES: Final = 100
HEADERS: Final = {
    **pages.SAME_ORIGIN_HEADERS,
    "Content-Security-Policy": (
        f"{pages.SAME_ORIGIN_HEADERS['Content-Security-Policy']}; script-src 'self'; connect-src 'self'"
    ),
}


class Console:
    """The browser interface of the simulator."""

    def __init__(self, simulator: Simulator) -> None:
        self._terra = simulator
        self._actions = Actions(simulator)
        self._notices: OrderedDict[str, str] = OrderedDict()
        self._numbers = itertools.count(1)

    def routes(self) -> list[BaseRoute]:
        """Return the page's path."""
        return [
            Route("/", self._guarded(self.show), methods=["GET"]),
            Route("/", self._guarded(self.act), methods=["POST"]),
        ]

    def _guarded(self, endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            if is_foreign(request.scope["headers"], has_pages=True, names=self._terra.names):
                return pages.message(
                    "Request rejected", "This page can only be used from this machine.", HTTPStatus.FORBIDDEN
                )
            return await endpoint(request)

        return handle

    async def show(self, request: Request) -> Response:
        """Show the current state; 304 if the browser has it."""
        query = Query.of(request.query_params)
        notice = self._notices.get(request.query_params.get("notice", ""), "")
        html = pages.text("console.html", **view.of(self._terra, query), notice=notice)
        headers = {**HEADERS, "ETag": f'"{hashlib.sha256(html.encode()).hexdigest()}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return HTMLResponse(html, headers=headers)

    async def act(self, request: Request) -> Response:
        """Carry out an action."""
        form = await form_fields(request)
        try:
            done = await self._actions.carry_out(form)
        except NotPossibleError as error:
            return pages.message("Nothing was done", str(error), error.status)
        self._terra.save()
        query = str(Query.read(form.get("here", "")))
        location = f"/?{query}&" if query else "/?"
        return RedirectResponse(
            f"{location}notice={self._kept(done.notice)}#{quote(done.at)}",
            HTTPStatus.SEE_OTHER,
            {"Cache-Control": "no-store"},
        )

    def _kept(self, notice: str) -> str:
        """Keep a notice for the page that follows; return its id."""
        notice_id = str(next(self._numbers))
        self._notices[notice_id] = notice
        if len(self._notices) > MAX_NOTICES:
            self._notices.popitem(last=False)
        return notice_id
