"""Lambda authorizers with payload format 2.0 and simple responses: whether a request is authorized."""

import json
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from starlette.requests import Request

from local.gateway.event import Event, Json, headers_of
from local.gateway.template import AuthorizerSpec
from local.gateway.workers import Workers

_AUTHORIZER_TIMEOUT: Final = timedelta(seconds=10)  # API Gateway's own limit for an authorizer


class MalformedDecisionError(Exception):
    """The authorizer returned something that is not a simple response."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The authorizer's decision."""

    is_authorized: bool
    context: dict[str, Json] | None


class Authorizer:
    """One authorizer of the API and its cached responses."""

    def __init__(self, spec: AuthorizerSpec, function: Workers, *, reauthorize_every: timedelta | None) -> None:
        self._spec = spec
        self._function = function
        self._cache_for = spec.reauthorize_every if reauthorize_every is None else reauthorize_every
        self._decisions: dict[tuple[str, ...], tuple[float, Decision]] = {}

    @property
    def name(self) -> str:
        """The logical id of the authorizer's function."""
        return self._function.name

    def identity(self, request: Request) -> tuple[str, ...] | None:
        """The values of the identity sources; None if one is missing or empty."""
        headers = headers_of(request)
        values = tuple(headers.get(name, "") for name in self._spec.headers)
        return values if all(values) else None

    async def decide(self, identity: tuple[str, ...], event: Event) -> Decision:
        """The authorizer's decision, cached by identity.

        Raises:
            FunctionError: The authorizer returned no response.
            MalformedDecisionError: Its response is not a simple response.
        """
        now = time.monotonic()
        cached = self._decisions.get(identity)
        if cached is not None and now < cached[0]:
            return cached[1]
        payload = json.dumps(event).encode()
        decision = _parse(await self._function.invoke(payload, caller_timeout=_AUTHORIZER_TIMEOUT))
        if identity and self._cache_for:
            # Expired responses are removed here, so that a stack that runs for days does not keep every caller.
            self._decisions = {key: entry for key, entry in self._decisions.items() if now < entry[0]}
            self._decisions[identity] = (now + self._cache_for.total_seconds(), decision)
        return decision


def _parse(payload: bytes) -> Decision:
    try:
        response = json.loads(payload)
    except ValueError as error:
        text = "the response is not JSON"
        raise MalformedDecisionError(text) from error
    if not isinstance(response, dict) or not isinstance(response.get("isAuthorized"), bool):
        text = "isAuthorized is not a boolean"
        raise MalformedDecisionError(text)
    context = response.get("context")
    if context is not None and not isinstance(context, dict):
        text = "context is not an object"
        raise MalformedDecisionError(text)
    return Decision(response["isAuthorized"], context)
