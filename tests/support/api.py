"""What a client of the API does: create a session, go through a login, read the result."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx


def create_session(api: httpx.Client, reference_id: str, **fields: object) -> dict[str, Any]:
    answer = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT", **fields})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    session: dict[str, Any] = answer.json()
    return session


def decide(auth_url: str, decision: str, **fields: str) -> str:
    """Open the consent page and press a button. Return the redirect."""
    with httpx.Client(timeout=30) as reference_id:
        page = reference_id.get(auth_url)
        assert page.status_code == httpx.codes.OK, page.text
        action = re.search(r'<form[^>]*action="([^"]*)"', page.text)
        target = str(page.url.join(action.group(1))) if action else auth_url
        answer = reference_id.post(target, data={**fields, "decision": decision})
    assert answer.is_redirect, answer.text
    return answer.headers["location"]


def session_status(api: httpx.Client, session: Mapping[str, Any]) -> dict[str, Any]:
    answer = api.get(f"/sessions/{session['session_id']}")
    assert answer.status_code == httpx.codes.OK, answer.text
    status: dict[str, Any] = answer.json()
    return status


def connections_of(api: httpx.Client, reference_id: str, **query: str) -> list[dict[str, Any]]:
    answer = api.get("/connections", params={"reference_id": reference_id, **query})
    assert answer.status_code == httpx.codes.OK, answer.text
    connections: list[dict[str, Any]] = answer.json()["connections"]
    return connections


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def erase(api: httpx.Client, reference_id: str) -> httpx.Response:
    return api.post("/erasures", json={"reference_id": reference_id})
