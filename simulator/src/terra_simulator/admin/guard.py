"""What every call of the Admin API goes through: token, scope, environment, rate limit, dry run and idempotency key.

Terra does not document the order of rejections. Here: 401, 429, 403, 404 of the dev-id, then the endpoint's own.
"""

import hashlib
import json
import math
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from terra_simulator.admin.refusals import Refusal, invalid_fields, reject
from terra_simulator.admin.tokens import AdminToken
from terra_simulator.simulator import Simulator

SECRET_FIELDS = frozenset({"signing_secret", "token"})
"""They are null in a replay by an idempotency key."""

Fields = TypeVar("Fields", bound=BaseModel)


class AdminRequest(BaseModel):
    """A body of a call; unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Call:
    """A call that may be carried out."""

    request: Request
    token: AdminToken
    body: bytes

    def fields(self, model: type[Fields]) -> Fields:
        """Return the body; raises Refusal."""
        try:
            return model.model_validate_json(self.body or b"{}")
        except ValidationError as error:
            raise invalid_fields(error) from error

    def parameter(self, name: str) -> str:
        """Return a parameter of the path."""
        return str(self.request.path_params[name])


@dataclass(frozen=True)
class Change:
    """A change that was checked and not made yet, so that a dry run can describe it.

    Attributes:
        would: the verb of a dry run.
        preview: the content of a dry run.
        commit: makes the change, and returns the response's content; None for 204.
        status: the response's status.
    """

    would: str
    preview: Mapping[str, object]
    commit: Callable[[], Mapping[str, object] | None]
    status: int = HTTPStatus.OK


Endpoint = Callable[[Call], Awaitable[Mapping[str, object] | Change]]


@dataclass
class Guard:
    """The checks, and what they remember."""

    terra: Simulator
    answered: dict[tuple[str, ...], tuple[str, int, Mapping[str, object] | None]] = field(default_factory=dict)
    called: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def __call__(self, endpoint: Endpoint, *scopes: str) -> Callable[[Request], Awaitable[Response]]:
        """Return the handler of an endpoint that needs these scopes."""

        async def handle(request: Request) -> Response:
            limits: dict[str, str] = {}
            try:
                token = self._authenticated(request)
                limits = self._limited(token)
                self._authorized(request, token, scopes)
                call = Call(request, token, await request.body())
                response = self._answer(call, await endpoint(call))
            except Refusal as refusal:
                response = refusal.response(request)
            if request.method != "GET":
                response.headers.update(limits)
            return response

        return handle

    def _authenticated(self, request: Request) -> AdminToken:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        token = self.terra.admin_tokens.find(given.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "unauthorized", "the token is missing or unknown")
        now = self.terra.clock()
        if token.expires_at is not None and token.expires_at <= now:
            raise Refusal(HTTPStatus.UNAUTHORIZED, "token_expired", "the token has expired")
        token.last_used_at = now
        return token

    def _limited(self, token: AdminToken) -> dict[str, str]:
        settings, now = self.terra.settings, self.terra.clock()
        if settings.admin_rate_limit is None:
            return {}
        calls = self.called[token.token_id]
        while calls and calls[0] <= now - settings.admin_rate_window_s:
            calls.popleft()
        if len(calls) >= settings.admin_rate_limit:
            wait = max(1, math.ceil(calls[0] + settings.admin_rate_window_s - now))
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", "too many calls", retry_after_s=wait)
        calls.append(now)
        left = settings.admin_rate_limit - len(calls)
        return {"X-RateLimit-Limit": str(settings.admin_rate_limit), "X-RateLimit-Remaining": str(left)}

    def _authorized(self, request: Request, token: AdminToken, scopes: tuple[str, ...]) -> None:
        for scope in scopes:
            if scope not in token.scopes:
                raise Refusal(HTTPStatus.FORBIDDEN, "scope_missing", f"the token does not have the scope {scope}")
        dev_id = request.path_params.get("dev_id")
        if dev_id is not None and (
            dev_id != self.terra.dev_id or (token.dev_ids is not None and dev_id not in token.dev_ids)
        ):
            raise Refusal(HTTPStatus.NOT_FOUND, "dev_id_not_found", "no such environment")

    def _answer(self, call: Call, result: Mapping[str, object] | Change) -> Response:
        request = call.request
        if not isinstance(result, Change):
            return JSONResponse(result)
        wanted = request.query_params.get("dry_run", "false")
        if wanted not in {"true", "false"}:
            reject("dry_run: must be true or false")
        if wanted == "true":
            return JSONResponse({"dry_run": True, "would": result.would, "preview": result.preview})
        key = request.headers.get("idempotency-key")
        place = (call.token.token_id, request.method, request.url.path, key or "")
        digest = hashlib.sha256(call.body).hexdigest()
        if key and place in self.answered:
            earlier, status, content = self.answered[place]
            if earlier != digest:
                raise Refusal(HTTPStatus.CONFLICT, "idempotency_key_reuse", "the key was used for another body")
            return _response(status, content and {k: None if k in SECRET_FIELDS else v for k, v in content.items()})
        content = result.commit()
        if key:
            self.answered[place] = (digest, result.status, content)
        return _response(result.status, content)


def _response(status: int, content: Mapping[str, object] | None) -> Response:
    return Response(status_code=status) if content is None else JSONResponse(json.loads(json.dumps(content)), status)
