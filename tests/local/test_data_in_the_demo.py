"""The whole path of health data: Terra's webhook, the bucket, the bus, the consumer's table, the app's back end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from tests.support.data_events import daily
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from local.testing import Stack
    from tests.support.terra import Terra


def test_a_delivery_of_terra_reaches_the_app_s_back_end(stack: Stack, terra: Terra, reference_id: str) -> None:
    user = terra.connect(reference_id)
    body = {**daily(8_250), "user": {"user_id": user["user_id"], "provider": "FITBIT", "reference_id": reference_id}}
    [response] = terra.deliver(body)
    assert response["status"] == httpx.codes.OK
    issued = httpx.post(f"{stack.oidc_issuer}/token", json={"subject": reference_id}, timeout=60)
    headers = {"authorization": f"Bearer {issued.json()['access_token']}"}

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{stack.demo_url}/data.json", headers=headers, timeout=60).json()
        return found if found.get("connections") and found["deliveries"] else {}

    found = eventually(shown, within=180)
    assert found["connections"] == [{"provider": "FITBIT", "days": [{"day": "2026-07-01", "steps": 8_250.0}]}]
    [delivery] = found["deliveries"]
    assert (delivery["type"], delivery["records"], delivery["first_day"]) == ("daily", 1, "2026-07-01")
