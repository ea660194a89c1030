"""A client of the simulator's Admin API."""

from typing import Any

import httpx

from simulator_process import DEV_ID, Terra

BASE = "/api/v3/admin"
ENVIRONMENT = f"{BASE}/environments/{DEV_ID}"
DESTINATIONS = f"{ENVIRONMENT}/unified-api/destinations"
ALL_SCOPES = [
    *("account:read", "connections:read", "destinations:read", "destinations:write", "events:read", "events:write"),
    *("payloads:read", "testdata:write", "keys:read", "keys:write"),
]


class Admin:
    def __init__(self, terra: Terra, client: httpx.Client) -> None:
        self.terra = terra
        self.client = client

    def call(self, method: str, path: str, body: object = None, *, expect: int = 200, **query: str) -> Any:  # noqa: ANN401 - JSON
        response = self.client.request(method, path, json=body, params=query or None)
        assert response.status_code == expect, response.text
        return response.json() if response.content else None

    def code(self, method: str, path: str, body: object = None, *, expect: int, **query: str) -> str:
        response = self.client.request(method, path, json=body, params=query or None)
        assert response.status_code == expect, response.text
        assert response.headers["content-type"] == "application/problem+json"
        assert "status" not in response.json()
        return str(response.json()["code"])

    def token(self, **fields: object) -> str:
        return str(self.terra.control("POST", "/admin_tokens", fields)["token"])

    def use(self, token: str) -> None:
        self.client.headers["authorization"] = f"Bearer {token}"
