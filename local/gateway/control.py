"""The endpoint of `local.invoke`: runs a schedule now. On a port of its own, because the API has no such route."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.gateway.http_server import HttpServer, listen
from local.gateway.runtime_api import FunctionError
from terra_simulator.origin_guard import OriginGuard


class Control:
    """`POST /schedules/{function}`: 200 with its response, 404 without such a schedule, 502 if it failed."""

    def __init__(self, run_schedule: Callable[[str], Awaitable[object]]) -> None:
        """Listen on a free port of this machine."""
        self._run_schedule = run_schedule
        routes = [Route("/schedules/{function:path}", self._run, methods=["POST"])]
        listener = listen("127.0.0.1", 0)
        host, port = listener.getsockname()
        self.url = f"http://{host}:{port}"
        self._server = HttpServer(Starlette(routes=routes, middleware=[Middleware(OriginGuard)]), listener)

    async def stop(self) -> None:
        """Stop listening."""
        await self._server.stop()

    async def _run(self, request: Request) -> JSONResponse:
        function = request.path_params["function"]
        try:
            return JSONResponse({"answer": await self._run_schedule(function)})
        except KeyError:
            return JSONResponse({"error": f"no function {function} has a schedule"}, HTTPStatus.NOT_FOUND)
        except FunctionError as error:
            return JSONResponse({"error": str(error)}, HTTPStatus.BAD_GATEWAY)
