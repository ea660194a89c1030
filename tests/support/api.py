"""Actions of a client of the API: create a session, go through a login, read the result."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx


def create_session(api: httpx.Client, reference_id: str, **fields: object) -> dict[str, Any]:
    response = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT", **fields})
    assert response.status_code == httpx.codes.CREATED, response.text
    session: dict[str, Any] = response.json()
    return session


def decide(auth_url: str, decision: str, **fields: str) -> str:
    """Open the consent page and press a button. Return the redirect."""
    with httpx.Client(timeout=30) as browser:
        page = browser.get(auth_url)
        assert page.status_code == httpx.codes.OK, page.text
        action = re.search(r'<form[^>]*action="([^"]*)"', page.text)
        target = str(page.url.join(action.group(1))) if action else auth_url
        response = browser.post(target, data={**fields, "decision": decision})
    assert response.is_redirect, response.text
    return response.headers["location"]


def session_status(api: httpx.Client, session: Mapping[str, Any]) -> dict[str, Any]:
    response = api.get(f"/sessions/{session['session_id']}")
    assert response.status_code == httpx.codes.OK, response.text
    status: dict[str, Any] = response.json()
    return status


def connections_of(api: httpx.Client, reference_id: str, **query: str) -> list[dict[str, Any]]:
    response = api.get("/connections", params={"reference_id": reference_id, **query})
    assert response.status_code == httpx.codes.OK, response.text
    connections: list[dict[str, Any]] = response.json()["connections"]
    return connections


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query, keep_blank_values=True).items()}


def erase(api: httpx.Client, reference_id: str) -> httpx.Response:
    return api.post("/erasures", json={"reference_id": reference_id})
