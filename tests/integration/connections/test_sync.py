"""POST /connections/sync: the table agrees with Terra afterwards, whatever webhooks were lost."""

import time
from typing import Any

import httpx
import pytest

from tests.support.api import connections_of
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.waiting import eventually

AN_HOUR_AGO = int(time.time() - 3600) * 1000
"""An ordering timestamp before any response of Terra in a test, and recent enough to count."""


def sync(api: httpx.Client, reference_id: str) -> list[dict[str, Any]]:
    response = api.post("/connections/sync", json={"reference_id": reference_id})
    assert response.status_code == httpx.codes.OK, response.text
    connections: list[dict[str, Any]] = response.json()["connections"]
    assert connections_of(api, reference_id) == connections
    return connections


@pytest.fixture
def user_id(api: httpx.Client, terra: Terra, reference_id: str) -> str:
    user = terra.connect(reference_id)
    eventually(lambda: connections_of(api, reference_id))
    return str(user["user_id"])


@pytest.mark.parametrize("shape", ["array", "object"])
def test_a_connection_whose_webhook_was_lost_is_found(
    api: httpx.Client, terra: Terra, reference_id: str, shape: str
) -> None:
    terra.settings(send_webhooks=False, userinfo_reference_shape=shape)
    user = terra.connect(reference_id)
    assert connections_of(api, reference_id) == []
    [connection] = sync(api, reference_id)
    assert (connection["user_id"], connection["status"]) == (user["user_id"], "connected")


def test_absence_does_not_outrank_a_webhook_of_the_last_two_minutes(
    api: httpx.Client, terra: Terra, reference_id: str, user_id: str
) -> None:

    terra.client.delete(f"/_control/users/{user_id}")
    before = connections_of(api, reference_id)
    assert [c["user_id"] for c in before] == [user_id]
    # A response of Terra has a position two minutes before the request.
    assert [c["user_id"] for c in sync(api, reference_id)] == [user_id]


def test_an_old_connection_that_terra_does_not_know_is_revoked(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    user_id = new_user_id()
    [response] = terra.deliver(auth_event(user_id, reference_id), ordering_timestamp=AN_HOUR_AGO)
    assert response["status"] == httpx.codes.OK
    assert [c["user_id"] for c in connections_of(api, reference_id)] == [user_id]
    assert sync(api, reference_id) == []
    [revoked] = connections_of(api, reference_id, include="revoked")
    assert revoked["status"] == "revoked"


def test_an_unfinished_login_is_not_connected(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"})
    assert sync(api, reference_id) == []
    assert terra.calls("/userInfo")


def test_another_user_s_connection_in_terras_list_keeps_its_owner(
    api: httpx.Client, terra: Terra, reference_id: str, user_id: str
) -> None:
    stranger = f"{reference_id}-stranger"
    terra.fault("/userInfo", "wrong_shape", times=1, body={"users": [{"user_id": user_id, "provider": "FITBIT"}]})
    assert sync(api, stranger) == []
    assert [c["user_id"] for c in connections_of(api, reference_id)] == [user_id]


@pytest.mark.parametrize(
    ("kind", "details", "status", "code"),
    [
        ("status", {"status": 500}, 503, "terra_unavailable"),
        ("html", {}, 503, "terra_unavailable"),
        ("empty", {"status": 200}, 503, "terra_unavailable"),
        ("malformed", {}, 503, "terra_unavailable"),
        ("wrong_shape", {"body": {}}, 503, "terra_unavailable"),
        ("wrong_shape", {"body": {"users": [{}]}}, 503, "terra_unavailable"),
        ("wrong_shape", {"body": [None]}, 503, "terra_unavailable"),
        ("status", {"status": 403}, 502, "terra_rejected"),
        ("rate_limit", {"retry_after": 9}, 429, "too_many_requests"),
    ],
)
@pytest.mark.parametrize("times", [1, 2])
def test_an_unusable_response_of_terra_changes_nothing(
    api: httpx.Client,
    terra: Terra,
    reference_id: str,
    kind: str,
    details: dict[str, Any],
    status: int,
    code: str,
    times: int,
) -> None:
    user_id = new_user_id()
    terra.deliver(auth_event(user_id, reference_id), ordering_timestamp=AN_HOUR_AGO)
    if times == 2:
        # The list request succeeds. The request for one connection fails.
        terra.fault("/userInfo", "wrong_shape", times=1, body=[])
    terra.fault("/userInfo", kind, times=1, **details)
    response = api.post("/connections/sync", json={"reference_id": reference_id})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert [c["status"] for c in connections_of(api, reference_id)] == ["connected"]


def test_a_sync_clears_an_error_of_an_authenticated_connection(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    user = terra.connect(reference_id, silent=True)
    event = auth_event(user["user_id"], reference_id)
    terra.deliver(event, ordering_timestamp=AN_HOUR_AGO)
    error = {"type": "connection_error", "status": "warning", "message": "", "user": event["user"]}
    terra.deliver(error, ordering_timestamp=AN_HOUR_AGO + 1000)
    assert [c["status"] for c in connections_of(api, reference_id)] == ["needs_reauth"]
    assert [c["status"] for c in sync(api, reference_id)] == ["connected"]


def test_a_sync_of_an_unknown_user_returns_no_connections(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    assert sync(api, reference_id) == []
    assert len(terra.calls("/userInfo")) == 1
