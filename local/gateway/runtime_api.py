"""The Runtime API of one Lambda process, which requests the next invocation from it and posts the result to it.

Every process has a server of its own, as every execution environment has on AWS: the port identifies the process.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from functools import partial
from http import HTTPStatus
from typing import Final
from uuid import uuid4

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from local.gateway.http_server import HttpServer, listen, read_body
from terra_simulator.origin_guard import OriginGuard

RESPONSE_LIMIT: Final = 6 * 1024 * 1024 + 100  # bytes; AWS's limit for responses, 100 above its 6 MB

_PREFIX: Final = "/2018-06-01/runtime"
_HEAD_LIMIT: Final = 2 * 1024 * 1024  # awslambdaric reports an error's cause in a header of up to 1 MB


class Failure(Enum):
    """Why an invocation returned no response; the client sees an internal error, the log has the reason."""

    UNHANDLED = "raised an exception"
    INIT = "failed to start"
    CRASH = "ended in the middle of an invocation"
    TIMEOUT = "timed out"
    TOO_LARGE = "returned more than 6 MB"
    CALLER_TIMEOUT = "took longer than the API waits"
    STOPPED = "was stopped"


class FunctionError(Exception):
    """A function returned no response."""

    def __init__(self, failure: Failure, detail: str = "") -> None:
        super().__init__(f"{failure.value}{': ' if detail else ''}{detail}")
        self.failure = failure
        self.detail = detail


@dataclass(slots=True)
class Invocation:
    """One event that a process handles."""

    payload: bytes
    arn: str
    deadline_ms: int
    request_id: str = field(default_factory=lambda: str(uuid4()))
    trace_id: str = field(default_factory=lambda: f"Root=1-{int(time.time()):08x}-{uuid4().hex[:24]};Sampled=0")
    is_received: bool = False
    answer: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def succeed(self, payload: bytes) -> None:
        """Pass the function's response to the caller."""
        if not self.answer.done():
            self.answer.set_result(payload)

    def fail(self, error: FunctionError) -> None:
        """Pass the error to the caller."""
        if not self.answer.done():
            self.answer.set_exception(error)


def deadline_ms(limit: timedelta) -> int:
    """The deadline of an invocation that starts now, in unix milliseconds."""
    return int((time.time() + limit.total_seconds()) * 1000)


class RuntimeApi:
    """The Runtime API of one process: at most one invocation at a time."""

    def __init__(self) -> None:
        """Listen on a free port."""
        self.is_ready = asyncio.get_running_loop().create_future()
        routes = [
            Route(f"{_PREFIX}/invocation/next", self._next),
            Route(f"{_PREFIX}/invocation/{{request_id}}/response", self._finish, methods=["POST"]),
            Route(f"{_PREFIX}/invocation/{{request_id}}/error", partial(self._finish, is_error=True), methods=["POST"]),
            Route(f"{_PREFIX}/init/error", self._fail_to_start, methods=["POST"]),
        ]
        app = Starlette(
            routes=routes,
            middleware=[Middleware(OriginGuard)],
            exception_handlers={ClientDisconnect: _disconnected},
        )
        self._waiting: asyncio.Queue[Invocation | None] = asyncio.Queue()
        self._current: Invocation | None = None
        listener = listen("127.0.0.1", 0)
        host, port = listener.getsockname()
        self.address = f"{host}:{port}"
        self._server = HttpServer(app, listener, head_limit=_HEAD_LIMIT)

    async def stop(self) -> None:
        """Close everything; a process that is still polling gets 503."""
        self._waiting.put_nowait(None)
        await self._server.stop()
        self.fail(FunctionError(Failure.STOPPED))

    def submit(self, invocation: Invocation) -> None:
        """Give the invocation to the process at its next request."""
        self._current = invocation
        self._waiting.put_nowait(invocation)

    def fail(self, error: FunctionError) -> None:
        """Fail the pending invocation and the wait for readiness: the process is gone."""
        if self._current is not None:
            self._current.fail(error)
        if not self.is_ready.done():
            self.is_ready.set_exception(error)
            self.is_ready.exception()  # marked as retrieved: a process that is stopped at once has no waiter

    async def _next(self, _request: Request) -> Response:
        if not self.is_ready.done():
            self.is_ready.set_result(None)
        invocation = await self._waiting.get()
        if invocation is None:
            self._waiting.put_nowait(None)
            return _status(HTTPStatus.SERVICE_UNAVAILABLE, "Stopped")
        invocation.is_received = True
        headers = {
            "lambda-runtime-aws-request-id": invocation.request_id,
            "lambda-runtime-deadline-ms": str(invocation.deadline_ms),
            "lambda-runtime-invoked-function-arn": invocation.arn,
            "lambda-runtime-trace-id": invocation.trace_id,
        }
        return Response(invocation.payload, headers=headers, media_type="application/json")

    async def _finish(self, request: Request, *, is_error: bool = False) -> Response:
        body = await read_body(request, RESPONSE_LIMIT)
        invocation = self._current
        if invocation is None or invocation.request_id != request.path_params["request_id"]:
            return _status(HTTPStatus.BAD_REQUEST, "InvalidRequestID")
        if body is None:
            invocation.fail(FunctionError(Failure.TOO_LARGE))
            return _status(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "RequestEntityTooLarge")
        self._current = None
        if is_error:
            invocation.fail(FunctionError(Failure.UNHANDLED, _describe(body, with_trace=False)))
        else:
            invocation.succeed(body)
        return _status(HTTPStatus.ACCEPTED)

    async def _fail_to_start(self, request: Request) -> Response:
        self.fail(FunctionError(Failure.INIT, _describe(await request.body())))
        return _status(HTTPStatus.ACCEPTED)


async def _disconnected(_request: Request, _error: Exception) -> Response:
    """Nothing reads this response: the process has ended, which fails its invocation."""
    return _status(HTTPStatus.BAD_REQUEST, "Disconnected")


def _status(status: HTTPStatus, error: str | None = None) -> Response:
    content = {"status": "OK"} if error is None else {"errorType": error, "errorMessage": status.phrase}
    return JSONResponse(content, status)


def _describe(body: bytes, *, with_trace: bool = True) -> str:
    """A runtime's error report as readable text: type, message and the function's own traceback."""
    try:
        report = json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")
    if not isinstance(report, dict):
        return str(report)
    text = f"{report.get('errorType', 'Error')}: {report.get('errorMessage', '')}"
    trace = report.get("stackTrace")
    if with_trace and isinstance(trace, list) and trace:
        return f"{text}\nTraceback (most recent call last):\n{''.join(map(str, trace)).rstrip()}"
    return text
