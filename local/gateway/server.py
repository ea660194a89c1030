"""The handling of a request by the API: preflight, route, authorizer, limits, function, response."""

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from local.gateway.access import Access, OnAccess, reference_id_of
from local.gateway.authorizer import Authorizer, MalformedDecisionError
from local.gateway.cors import Cors
from local.gateway.event import (
    Api,
    Event,
    Target,
    authorizer_event,
    build_event,
    new_request_id,
    with_authorizer,
)
from local.gateway.http_server import read_body
from local.gateway.response import MalformedResponseError, internal_error, message, translate
from local.gateway.routes import Routes
from local.gateway.runtime_api import Failure, FunctionError
from local.gateway.template import Stack
from local.gateway.workers import OnLog, Workers

HEAD_LIMIT: Final = 10_240  # bytes of the request line and the headers' values: API Gateway's
BODY_LIMIT: Final = 10 * 1024 * 1024  # bytes of a request's body: API Gateway's
EVENT_LIMIT: Final = 6 * 1024 * 1024  # bytes of an event as JSON: Lambda's


class Front:
    """The API as its clients see it, as an ASGI application."""

    def __init__(
        self,
        stack: Stack,
        *,
        port: int,
        functions: Mapping[str, Workers],
        authorizers: Mapping[str, Authorizer],
        integration_timeout: timedelta,
        on_log: OnLog,
        on_access: OnAccess,
    ) -> None:
        self._api = Api(stack.api_id, stack.region, port)
        self._routes = Routes(stack.routes)
        self._cors = None if stack.cors is None else Cors(stack.cors)
        self._functions = functions
        self._authorizers = authorizers
        self._integration_timeout = integration_timeout
        self._on_log = on_log
        self._on_access = on_access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one request."""
        request = Request(scope, receive)
        try:
            body = await read_body(request, BODY_LIMIT)
        except ClientDisconnect:
            return
        request_id, began = new_request_id(), time.perf_counter()
        response = await self._answer(request, body, request_id)
        self._on_access(
            Access(
                request_id,
                request.method,
                scope["raw_path"].decode("latin-1"),
                response.status_code,
                round((time.perf_counter() - began) * 1000),
                reference_id_of(request, body or b"", response, getattr(request.state, "subject", None)),
            )
        )
        await response(scope, receive, send)

    async def _answer(self, request: Request, body: bytes | None, request_id: str) -> Response:
        response = self._cors.preflight(request) if self._cors is not None else None
        if response is None:
            response = await self._handle(request, body, request_id)
            if self._cors is not None:
                self._cors.apply(request, response)
        response.headers["apigw-requestid"] = request_id
        return response

    async def _handle(self, request: Request, body: bytes | None, request_id: str) -> Response:
        if _head_size(request) > HEAD_LIMIT:
            # AWS documents the limit but not the response; this is the HTTP status for it.
            return message(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large")
        target = Target.of(request)
        match = self._routes.find(request.method, target.path)
        if match is None:
            return message(HTTPStatus.NOT_FOUND, "Not Found")
        if body is None:
            return message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Entity Too Large")
        event = build_event(request, body, target, match, self._api, request_id)
        if match.route.authorizer is not None:
            admitted = await self._authorize(request, self._authorizers[match.route.authorizer], event)
            if isinstance(admitted, Response):
                return admitted
            event = admitted
        return await self._invoke(match.route.function, event)

    async def _authorize(self, request: Request, authorizer: Authorizer, event: Event) -> Event | Response:
        identity = authorizer.identity(request)
        if identity is None:
            return message(HTTPStatus.UNAUTHORIZED, "Unauthorized")
        try:
            decision = await authorizer.decide(identity, authorizer_event(event, request, self._api, identity))
        except FunctionError as error:
            if error.failure is Failure.CALLER_TIMEOUT:
                self._on_log(f"[{authorizer.name}] {error}")
            return internal_error()
        except MalformedDecisionError as error:
            self._on_log(f"[{authorizer.name}] returned a malformed decision: {error}")
            return internal_error()
        if not decision.is_authorized:
            return message(HTTPStatus.FORBIDDEN, "Forbidden")
        request.state.subject = (decision.context or {}).get("reference_id")
        return with_authorizer(event, decision.context)

    async def _invoke(self, function: str, event: Event) -> Response:
        payload = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        if len(payload) > EVENT_LIMIT:
            # AWS documents no response for a body that API Gateway accepts and Lambda rejects. Lambda itself returns
            # 413, and REST APIs were observed to pass it on; so does this one.
            self._on_log(
                f"[{function}] was not invoked: the event has {len(payload)} bytes, and Lambda's limit is {EVENT_LIMIT}"
            )
            return message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Entity Too Large")
        try:
            return translate(await self._functions[function].invoke(payload, caller_timeout=self._integration_timeout))
        except FunctionError as error:
            if error.failure is Failure.CALLER_TIMEOUT:
                self._on_log(f"[{function}] {error}")
                return message(HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable")
            return internal_error()
        except MalformedResponseError as error:
            self._on_log(f"[{function}] returned a malformed response: {error}")
            return internal_error()


def _head_size(request: Request) -> int:
    scope = request.scope
    line = len(request.method) + len(scope["raw_path"]) + len(scope["query_string"]) + len(" ? HTTP/1.1")
    return line + sum(len(value) for _, value in request.headers.raw)
