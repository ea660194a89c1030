"""A client for the control API of the Terra simulator."""

from typing import Any

import httpx


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
        event = {"body": body} if body is not None else {}
        responses: list[dict[str, Any]] = self._send("POST", "deliveries", {**event, **details})
        return responses

    def hold(self) -> None:
        self._send("POST", "hold")

    def release(self, **how: object) -> list[dict[str, Any]]:
        deliveries: list[dict[str, Any]] = self._send("POST", "release", how)
        return deliveries

    def connect(self, reference_id: str, **details: object) -> dict[str, Any]:
        """Connect a user outside the stack. Return Terra's user."""
        created = self._send("POST", "users", {"reference_id": reference_id, **details})
        user: dict[str, Any] = created["user"]
        return user

    def change(self, user_id: str, **changes: object) -> None:
        self._send("PATCH", f"users/{user_id}", changes)

    def happen(self, user_id: str, type_: str, **details: object) -> None:
        """Cause an event at the provider, which Terra reports by a webhook."""
        self._send("POST", f"users/{user_id}/events", {"type": type_, **details})

    def retry_now(self) -> list[dict[str, Any]]:
        deliveries: list[dict[str, Any]] = self._send("POST", "retry_now")
        return deliveries

    def admin_token(self, **fields: object) -> str:
        """Create a token of the Admin API."""
        return str(self._send("POST", "admin_tokens", fields)["token"])

    def decide_admin_login(self, user_code: str, decision: str) -> None:
        self._send("POST", f"admin_logins/{user_code}", {"decision": decision})

    def _send(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        response = self.client.request(method, f"/_control/{path}", json=body)
        assert response.is_success, response.text
        return response.json() if response.content else None
