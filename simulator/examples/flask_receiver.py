"""A small back end that uses Terra: it starts logins with Terra's SDK, and keeps what Terra's webhooks report."""

import json
from typing import Any

from flask import Flask, request
from terra import Terra
from terra.utils.verify_signature import WebhookVerificationError, verify_terra_webhook_signature

STATUS = {
    "auth": "connected",
    "connection_error": "degraded",
    "access_revoked": "revoked",
    "deauth": "disconnected",
}


def create_app(*, api_url: str, dev_id: str, api_key: str, signing_secret: str) -> Flask:
    """Return the application; against the real Terra `api_url` is https://api.tryterra.co/v2."""
    app = Flask(__name__)
    client = Terra(dev_id=dev_id, api_key=api_key, base_url=api_url)
    connections: dict[str, dict[str, Any]] = {}
    days: dict[str, int] = {}

    @app.post("/connect/<reference_id>/<provider>")
    def connect(reference_id: str, provider: str) -> dict[str, Any]:
        started = client.authentication.authenticateuser(resource=provider, reference_id=reference_id)
        return {"auth_url": started.auth_url}

    @app.get("/users/<reference_id>")
    def user(reference_id: str) -> dict[str, Any]:
        found = [each for each in connections.values() if each["reference_id"] == reference_id]
        statuses = {each["provider"]: each["status"] for each in found}
        return {"connections": statuses, "days": len(days), "steps": sum(days.values())}

    @app.post("/terra")
    def receive() -> tuple[dict[str, Any], int]:
        body = request.get_data(as_text=True)
        try:
            verify_terra_webhook_signature(body, request.headers.get("Terra-Signature", ""), signing_secret)
        except WebhookVerificationError as error:
            return {"error": str(error)}, 401
        event = json.loads(body)
        if event["type"] in STATUS:
            # Webhooks arrive in any order, and more than once: the latest event counts, not the latest arrival.
            position = int(request.headers["X-Terra-Ordering-Timestamp"])
            known = connections.get(event["user"]["user_id"], {"position": 0})
            if position > known["position"]:
                status = {"status": STATUS[event["type"]], "position": position}
                connections[event["user"]["user_id"]] = {**event["user"], **status}
        elif event["type"] == "daily":
            for day in event["data"]:
                days[day["metadata"]["start_time"]] = day["distance_data"]["steps"]
        return {"status": "received"}, 200

    return app
