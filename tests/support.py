"""Helpers for several suites with a running stack: go through a login, and make Terra send events."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx

T = TypeVar("T")


class Terra:
    """A client for the simulator's control API."""

    def __init__(self, client: httpx.Client, signing_secret: str) -> None:
        self.client = client
        self.signing_secret = signing_secret

    def reset(self) -> None:
        self._send("POST", "reset")

    def settings(self, **changes: object) -> None:
        self._send("PATCH", "settings", changes)

    def fault(self, path: str, kind: str, **details: object) -> None:
        self._send("POST", "faults", {"path": path, "kind": kind, **details})

    def calls(self, path: str) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = self._send("GET", f"requests?path={path}")
        return calls

    def deliveries(self, **wanted: str) -> list[dict[str, Any]]:
        deliveries: list[dict[str, Any]] = self._send("GET", f"deliveries?{httpx.QueryParams(wanted)}")
        return deliveries

    def deliver(self, body: object = None, **details: object) -> list[dict[str, Any]]:
        """Send a signed webhook now, without retries. Return the stack's response to each copy."""
        what = {"body": body} if body is not None else {}
        answers: list[dict[str, Any]] = self._send("POST", "deliveries", {**what, **details})
        return answers

    def hold(self) -> None:
        self._send("POST", "hold")

    def release(self, **how: object) -> list[dict[str, Any]]:
        deliveries: list[dict[str, Any]] = self._send("POST", "release", how)
        return deliveries

    def connect(self, reference_id: str, **details: object) -> dict[str, Any]:
        """Connect a user outside the stack. Return Terra's user."""
        made = self._send("POST", "users", {"reference_id": reference_id, **details})
        user: dict[str, Any] = made["user"]
        return user

    def change(self, user_id: str, **changes: object) -> None:
        self._send("PATCH", f"users/{user_id}", changes)

    def happen(self, user_id: str, type_: str, **details: object) -> None:
        """Cause an event at the provider, which Terra reports by a webhook."""
        self._send("POST", f"users/{user_id}/events", {"type": type_, **details})

    def _send(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        answer = self.client.request(method, f"/_control/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None


def create_session(api: httpx.Client, person: str, **fields: object) -> dict[str, Any]:
    answer = api.post("/sessions", json={"reference_id": person, "resource": "FITBIT", **fields})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    session: dict[str, Any] = answer.json()
    return session


def decide(auth_url: str, decision: str, **fields: str) -> str:
    """Open the consent page and press a button. Return the redirect."""
    with httpx.Client(timeout=30) as person:
        page = person.get(auth_url)
        assert page.status_code == httpx.codes.OK, page.text
        action = re.search(r'<form[^>]*action="([^"]*)"', page.text)
        target = str(page.url.join(action.group(1))) if action else auth_url
        answer = person.post(target, data={**fields, "decision": decision})
    assert answer.is_redirect, answer.text
    return answer.headers["location"]


def session_status(api: httpx.Client, session: Mapping[str, Any]) -> dict[str, Any]:
    answer = api.get(f"/sessions/{session['session_id']}")
    assert answer.status_code == httpx.codes.OK, answer.text
    status: dict[str, Any] = answer.json()
    return status


def connections_of(api: httpx.Client, person: str, **query: str) -> list[dict[str, Any]]:
    answer = api.get("/connections", params={"reference_id": person, **query})
    assert answer.status_code == httpx.codes.OK, answer.text
    connections: list[dict[str, Any]] = answer.json()["connections"]
    return connections


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


BUSY = 15.0
"""Seconds that a busy machine may take on top of a time limit in a test."""


def eventually(look: Callable[[], T], *, within: float = 60) -> T:
    """Call `look` until its result is true, and return the result."""
    give_up_at = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < give_up_at, f"not within {within} s: {seen!r}"
        time.sleep(0.05)
    return seen


def auth_event(user_id: str, reference_id: str | None, *, provider: str = "FITBIT", **more: object) -> dict[str, Any]:
    """Terra's `auth` success event, as in its OpenAPI document."""
    user = {"user_id": user_id, "provider": provider, "scopes": "ACTIVITY,SLEEP", "active": True}
    if reference_id is not None:
        user["reference_id"] = reference_id
    return {"type": "auth", "status": "success", "message": "User has successfully authenticated", "user": user, **more}


def deauth_event(user_id: str, reference_id: str | None, *, provider: str = "FITBIT") -> dict[str, Any]:
    user = {"user_id": user_id, "provider": provider, "reference_id": reference_id, "active": False}
    return {"type": "deauth", "status": "success", "message": "User has deauthenticated", "user": user}


def new_user_id() -> str:
    return str(uuid4())
