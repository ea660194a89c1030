"""DELETE /connections/{user_id}: first at Terra, then in the table. A failure changes nothing."""

import httpx
import pytest

from tests.support.api import connections_of
from tests.support.terra import Terra
from tests.support.waiting import eventually


def test_a_disconnect_ends_the_connection_at_terra_and_here(
    api: httpx.Client, terra: Terra, reference_id: str, user_id: str
) -> None:
    terra.settings(send_webhooks=False)
    assert api.delete(f"/connections/{user_id}").status_code == httpx.codes.NO_CONTENT
    assert connections_of(api, reference_id) == []
    [revoked] = connections_of(api, reference_id, include="revoked")
    assert (revoked["user_id"], revoked["status"]) == (user_id, "revoked")
    [call] = terra.calls("/auth/deauthenticateUser")
    assert call["query"]["user_id"] == user_id


def test_the_deauth_webhook_that_follows_changes_nothing(
    api: httpx.Client, terra: Terra, reference_id: str, user_id: str
) -> None:
    assert api.delete(f"/connections/{user_id}").status_code == httpx.codes.NO_CONTENT
    eventually(lambda: [one for one in terra.deliveries(type="deauth") if one["state"] == "delivered"])
    assert connections_of(api, reference_id) == []


def test_a_disconnect_and_its_repeat_succeed_for_a_connection_that_terra_has_deleted(
    api: httpx.Client, terra: Terra, reference_id: str, user_id: str
) -> None:
    terra.client.delete(f"/_control/users/{user_id}")
    for _ in range(2):
        assert api.delete(f"/connections/{user_id}").status_code == httpx.codes.NO_CONTENT
    assert connections_of(api, reference_id) == []


@pytest.mark.parametrize(
    ("kind", "details", "status", "code"),
    [
        ("status", {"status": 500}, 503, "terra_unavailable"),
        ("html", {}, 503, "terra_unavailable"),
        ("disconnect", {}, 503, "terra_unavailable"),
        ("malformed", {}, 503, "terra_unavailable"),
        ("status", {"status": 401}, 502, "terra_rejected"),
        ("rate_limit", {"retry_after": 7}, 429, "too_many_requests"),
    ],
)
def test_if_terra_fails_nothing_changes_and_a_repeat_is_safe(
    api: httpx.Client,
    terra: Terra,
    reference_id: str,
    user_id: str,
    kind: str,
    details: dict[str, int],
    status: int,
    code: str,
) -> None:
    terra.fault("/auth/deauthenticateUser", kind, times=1, **details)
    response = api.delete(f"/connections/{user_id}")
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert [c["status"] for c in connections_of(api, reference_id)] == ["connected"]
    assert api.delete(f"/connections/{user_id}").status_code == httpx.codes.NO_CONTENT


def test_a_disconnect_of_a_replaced_user_id_ends_its_successor(
    api: httpx.Client, terra: Terra, reference_id: str, user_id: str
) -> None:
    again = terra.connect(reference_id)
    eventually(lambda: [c for c in connections_of(api, reference_id) if c["user_id"] == again["user_id"]])
    eventually(lambda: api.get(f"/connections/{user_id}").json()["user_id"] == again["user_id"])
    assert api.delete(f"/connections/{user_id}").status_code == httpx.codes.NO_CONTENT
    assert connections_of(api, reference_id) == []
    assert terra.calls("/auth/deauthenticateUser")[-1]["query"]["user_id"] == again["user_id"]


@pytest.mark.parametrize("unknown", ["unknown", "x" * 200, "a%20b"])
def test_an_unknown_connection_is_not_found_and_terra_gets_no_request(
    api: httpx.Client, terra: Terra, unknown: str
) -> None:
    response = api.delete(f"/connections/{unknown}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")
    assert terra.calls("/auth/deauthenticateUser") == []


def test_without_a_key_nothing_is_disconnected(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, user_id: str
) -> None:
    assert browser.delete(f"/connections/{user_id}").status_code == httpx.codes.UNAUTHORIZED
    assert len(connections_of(api, reference_id)) == 1
    assert terra.calls("/auth/deauthenticateUser") == []
