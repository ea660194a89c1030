"""The endpoint of `local.invoke`: runs a schedule now. On a port of its own, because the API has no such route."""

import json
from collections.abc import Awaitable, Callable
from http import HTTPMethod, HTTPStatus
from typing import Final

from local.gateway.http1 import HttpServer, Request, Response, listen
from local.gateway.runtime_api import FunctionError

BODY_LIMIT: Final = 1024
_PREFIX: Final = "/schedules/"


class Control:
    """`POST /schedules/{function}`: 200 with its response, 404 without such a schedule, 502 if it failed."""

    def __init__(self, run_schedule: Callable[[str], Awaitable[object]]) -> None:
        self._run_schedule = run_schedule
        self._server = HttpServer(self._answer, body_limit=BODY_LIMIT, is_for_programs=True)
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port of this machine."""
        listener = listen("127.0.0.1", 0)
        host, port = listener.getsockname()
        self.url = f"http://{host}:{port}"
        await self._server.start(listener)

    async def stop(self) -> None:
        """Stop listening."""
        await self._server.stop()

    async def _answer(self, request: Request) -> Response:
        path = request.target.decode("latin-1")
        if request.method != HTTPMethod.POST or not path.startswith(_PREFIX):
            return _json(HTTPStatus.NOT_FOUND, {"error": "there is only POST /schedules/{function}"})
        function = path.removeprefix(_PREFIX)
        try:
            return _json(HTTPStatus.OK, {"answer": await self._run_schedule(function)})
        except KeyError:
            return _json(HTTPStatus.NOT_FOUND, {"error": f"no function {function} has a schedule"})
        except FunctionError as error:
            return _json(HTTPStatus.BAD_GATEWAY, {"error": str(error)})


def _json(status: HTTPStatus, content: object) -> Response:
    return Response(status, [(b"content-type", b"application/json")], json.dumps(content).encode())
