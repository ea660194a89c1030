"""Terra's deliveries as a test builds them, signed by an independent implementation."""

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import httpx

from tests.support.handlers import http_event

PATH = "/webhooks/terra"


def now_s() -> int:
    return int(time.time())


def signed(secret: str, body: bytes, t: int | str) -> str:
    return hmac.new(secret.encode(), f"{t}.".encode() + body, hashlib.sha256).hexdigest()


def as_bytes(body: object) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


@dataclass(frozen=True)
class Webhook:
    """One delivery; `ordering` is its ordering timestamp."""

    body: bytes
    secret: str
    t: int = field(default_factory=now_s)
    trace_id: str | None = field(default_factory=lambda: str(uuid4()))
    ordering: int | str | None = None

    @property
    def signature(self) -> str:
        return f"t={self.t},v1={signed(self.secret, self.body, self.t)}"

    @property
    def headers(self) -> dict[str, str]:
        headers = {"content-type": "application/json", "x-terra-signature": self.signature}
        if self.trace_id is not None:
            headers["x-terra-trace-id"] = self.trace_id
        if self.ordering is not None:
            headers["x-terra-ordering-timestamp"] = str(self.ordering)
        return headers

    @property
    def keys(self) -> list[str]:
        """The keys under which it is recorded."""
        hashed = hashlib.sha256(f"{self.t}.".encode() + self.body).hexdigest()
        return [f"trace:{self.trace_id}"] * (self.trace_id is not None) + [f"signed:{hashed}"]

    def but(self, **changes: Any) -> "Webhook":  # noqa: ANN401 - any field
        return replace(self, **changes)

    def post(self, client: httpx.Client, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return client.post(PATH, content=self.body, headers={**self.headers} if headers is None else dict(headers))

    def event(self) -> dict[str, Any]:
        return http_event("POST", PATH, headers=self.headers, body=self.body.decode())
