"""Terra's Admin API: tokens, conventions of its calls, destinations, and webhooks that the destinations drive."""

from typing import Any

import httpx
import pytest

from admin_client import ALL_SCOPES, BASE, DESTINATIONS, ENVIRONMENT, Admin
from receiver import Receiver
from simulator_process import API_KEY, DEV_ID, SIGNING_SECRET, Terra
from terra_simulator.signature import sign


def signed_by(receiver: Receiver, secret: str) -> list[str]:
    return [each.type for each in receiver.arrivals if each.signature == sign(each.body, t=each.t, secrets=[secret])]


# -- tokens and conventions --------------------------------------------------------------------------------------------


def test_a_token_is_needed_and_is_described(admin: Admin) -> None:
    described = admin.call("GET", f"{BASE}/me")
    assert (described["kind"], described["dev_ids"]) == ("admin", None)
    assert "token" not in described

    for token in ("terra_at_unknown", "terra_dt_data", API_KEY):
        admin.use(token)
        assert admin.code("GET", f"{BASE}/me", expect=401) == "unauthorized"
    admin.use(admin.token(expires_in_s=-1))
    assert admin.code("GET", DESTINATIONS, expect=401) == "token_expired"


def test_scopes_and_the_audience_limit_a_token(admin: Admin) -> None:
    admin.use(admin.token(scopes=["destinations:read"]))
    assert admin.code("POST", DESTINATIONS, {}, expect=403) == "scope_missing"
    assert admin.code("GET", f"{BASE}/environments/another/unified-api/destinations", expect=404) == "dev_id_not_found"
    admin.use(admin.token(scopes=ALL_SCOPES, dev_ids=["another"]))
    assert admin.code("GET", DESTINATIONS, expect=404) == "dev_id_not_found"


def test_a_token_is_rotated_and_revoked(admin: Admin) -> None:
    new = admin.call("POST", f"{BASE}/tokens/self/rotate", expect=201)["token"]
    assert admin.code("GET", f"{BASE}/me", expect=401) == "unauthorized"
    admin.use(new)
    admin.call("DELETE", f"{BASE}/tokens/self", expect=204)
    assert admin.code("GET", f"{BASE}/me", expect=401) == "unauthorized"


def start_login(terra: Terra, **fields: str) -> httpx.Response:
    return terra.browser.post(f"{BASE}/auth/device", data={"client_id": "cli", **fields})


def poll(terra: Terra, device_code: str, client_id: str = "cli") -> httpx.Response:
    grant = "urn:ietf:params:oauth:grant-type:device_code"
    form = {"grant_type": grant, "device_code": device_code, "client_id": client_id}
    return terra.browser.post(f"{BASE}/auth/token", data=form)


def test_a_device_login_issues_a_token_once_it_is_approved(admin: Admin, terra: Terra) -> None:
    terra.set(device_login_interval_s=0)
    started = start_login(terra, scope="destinations:read", requested_dev_ids=DEV_ID).json()
    assert started["interval"] == 0
    assert poll(terra, started["device_code"]).json() == {"error": "authorization_pending"}
    assert poll(terra, started["device_code"], "other").json() == {"error": "invalid_grant"}

    page = terra.browser.get(started["verification_uri_complete"])
    assert started["user_code"] in page.text
    approved = terra.browser.post("/cli/verify", data={"code": started["user_code"], "decision": "allow"})
    assert "approved" in approved.text

    issued = poll(terra, started["device_code"]).json()
    assert (issued["token_type"], issued["scope"], issued["expires_in"]) == ("Bearer", "destinations:read", 2_592_000)
    admin.use(issued["access_token"])
    assert admin.call("GET", f"{BASE}/me")["dev_ids"] == [DEV_ID]
    assert poll(terra, started["device_code"]).json() == {"error": "invalid_grant"}


def test_a_device_login_can_be_denied_expire_or_be_polled_too_often(terra: Terra) -> None:
    denied = start_login(terra).json()
    terra.control("POST", f"/admin_logins/{denied['user_code']}", {"decision": "denied"})
    assert poll(terra, denied["device_code"]).json() == {"error": "access_denied"}
    waiting = start_login(terra).json()
    assert poll(terra, waiting["device_code"]).json() == {"error": "authorization_pending"}
    assert poll(terra, waiting["device_code"]).json() == {"error": "slow_down"}
    terra.set(device_login_expires_in_s=0)
    assert poll(terra, start_login(terra).json()["device_code"]).json() == {"error": "expired_token"}
    assert start_login(terra, scope="auth:write").json()["error"] == "invalid_scope"
    assert start_login(terra, scope="account:read", requested_dev_ids=DEV_ID).json()["error"] == "invalid_scope"
    assert start_login(terra, client_id="").json()["error"] == "invalid_request"


def test_a_dry_run_describes_a_change_and_makes_none(admin: Admin) -> None:
    body = {"config": {"url": "https://example.com/hook"}}
    dry = admin.call("POST", DESTINATIONS, body, dry_run="true")
    assert (dry["dry_run"], dry["would"], dry["preview"]["will_return_signing_secret"]) == (True, "create", True)
    assert "id" not in dry["preview"]
    (configured,) = admin.call("GET", DESTINATIONS)["data"]
    path = f"{DESTINATIONS}/{configured['id']}"
    assert admin.call("PATCH", path, {"active": True}, dry_run="true")["would"] == "noop"
    assert admin.call("DELETE", path, dry_run="true")["would"] == "delete"
    assert len(admin.call("GET", DESTINATIONS)["data"]) == 1


def test_an_idempotency_key_repeats_the_answer_without_its_secret(admin: Admin) -> None:
    admin.client.headers["Idempotency-Key"] = "key-1"
    first = admin.call("POST", DESTINATIONS, {"config": {"url": "https://example.com"}}, expect=201)
    again = admin.call("POST", DESTINATIONS, {"config": {"url": "https://example.com"}}, expect=201)
    assert first["signing_secret"]
    assert again == {**first, "signing_secret": None}
    changed = {"config": {"url": "https://example.org"}}
    assert admin.code("POST", DESTINATIONS, changed, expect=409) == "idempotency_key_reuse"
    assert len(admin.call("GET", DESTINATIONS)["data"]) == 2


def test_calls_are_limited_for_each_token(admin: Admin, terra: Terra) -> None:
    terra.set(admin_rate_limit=2)
    admin.call("GET", f"{BASE}/me")
    limited = admin.client.post(DESTINATIONS, json={}, params={"dry_run": "true"})
    assert (limited.headers["X-RateLimit-Limit"], limited.headers["X-RateLimit-Remaining"]) == ("2", "0")
    refused = admin.client.get(f"{BASE}/me")
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    admin.use(admin.token())
    admin.call("GET", f"{BASE}/me")


# -- destinations ------------------------------------------------------------------------------------------------------


def test_the_configured_webhook_is_a_destination(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    (listed,) = admin.call("GET", DESTINATIONS)["data"]
    assert listed == {"id": listed["id"], "type": "webhook", "url": receiver.url, "active": True, "event_types": []}
    shown = admin.call("GET", f"{DESTINATIONS}/{listed['id']}")
    assert (shown["configured"], shown["missing"], shown["config"]["delivery"]) == (True, [], "push")
    secrets = admin.call("GET", f"{DESTINATIONS}/{listed['id']}/secrets")["secrets"]
    assert secrets == {"signing_secret": SIGNING_SECRET}
    admin.call("DELETE", f"{DESTINATIONS}/{listed['id']}", expect=204)
    assert terra.control("GET", "/settings")["webhook_url"] is None


def test_every_active_destination_gets_a_webhook_signed_with_its_own_secret(
    admin: Admin, terra: Terra, receiver: Receiver
) -> None:
    with Receiver() as other:
        new = admin.call(
            "POST", DESTINATIONS, {"config": {"url": other.url}, "event_types": ["auth", "deauth"]}, expect=201
        )
        user_id = terra.connect()
        receiver.wait_for(1)
        other.wait_for(1)
        terra.control("POST", f"/users/{user_id}/events", {"type": "activity"})
        admin.call("PATCH", f"{DESTINATIONS}/{new['id']}", {"active": False})
        terra.control("POST", f"/users/{user_id}/events", {"type": "deauth"})

        assert signed_by(receiver, SIGNING_SECRET) == ["auth", "activity", "deauth"]
        assert signed_by(other, new["signing_secret"]) == ["auth"]
        assert len(other.arrivals) == 1


def test_a_group_of_events_is_admitted_by_one_name(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    terra.set(destination_vocabulary="groups")
    path = f"{DESTINATIONS}/{admin.call('GET', DESTINATIONS)['data'][0]['id']}"
    refused = admin.client.patch(path, json={"event_types": ["auth", "deauth"]})
    assert refused.json()["errors"] == ["event_types: unknown event type deauth"]
    admin.call("PATCH", path, {"event_types": ["auth"]})
    user_id = terra.connect()
    receiver.wait_for(1)  # the redirect does not wait for it
    terra.control("POST", f"/users/{user_id}/events", {"type": "sleep"})
    terra.control("POST", f"/users/{user_id}/events", {"type": "deauth"})
    assert [each.type for each in receiver.wait_for(2)] == ["auth", "deauth"]


def test_a_changed_url_applies_to_retries_and_keeps_the_secret(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    path = f"{DESTINATIONS}/{admin.call('GET', DESTINATIONS)['data'][0]['id']}"
    terra.set(retry_scale=1)
    receiver.answers.append(500)
    terra.connect()
    receiver.wait_for(1)
    with Receiver() as other:
        admin.call("PATCH", path, {"config": {"url": other.url}})
        terra.control("POST", "/retry_now")
        assert signed_by(other, SIGNING_SECRET) == ["auth"]
        assert terra.control("GET", "/settings")["webhook_url"] == other.url


def test_a_disabled_destination_ends_its_retries(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    path = f"{DESTINATIONS}/{admin.call('GET', DESTINATIONS)['data'][0]['id']}"
    terra.set(disable_after_failures=2, retry_scale=0.0001)
    receiver.answers.extend([500] * 5)
    terra.connect()
    receiver.wait_for(2)
    while admin.call("GET", path)["active"]:
        pass
    while terra.control("GET", "/deliveries?state=pending"):
        pass
    assert len(receiver.arrivals) == 2
    assert terra.control("GET", "/deliveries")[0]["state"] == "given_up"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"type": "fax"}, "type: fax is not a type of destination"),
        ({}, "config.url: required for an active destination"),
        ({"config": {"url": "ftp://example.com"}}, "config.url: must be an http or https address"),
        ({"config": {"url": "https://example.com", "colour": 1}}, "config.colour: unknown field"),
        (
            {"config": {"url": "https://example.com", "delivery": "pigeon"}},
            "config.delivery: must be one of push, ping",
        ),
        ({"config": {"url": "https://example.com"}, "event_types": ["x"]}, "event_types: unknown event type x"),
        ({"url": "https://example.com", "config": {}}, "url: cannot be combined with config"),
        ({"typo": 1}, "typo: Extra inputs are not permitted"),
    ],
)
def test_an_invalid_destination_is_rejected(admin: Admin, body: dict[str, Any], error: str) -> None:
    refused = admin.client.post(DESTINATIONS, json=body)
    assert refused.status_code == 400
    assert refused.json()["code"] == "validation_failed"
    assert refused.json()["errors"] == [error]


def test_a_draft_needs_no_url_and_other_types_show_masked_secrets(admin: Admin) -> None:
    draft = admin.call("POST", DESTINATIONS, {"active": False}, expect=201)
    assert (draft["configured"], draft["missing"]) == (False, ["config.url"])
    assert admin.code("PATCH", f"{DESTINATIONS}/{draft['id']}", {"active": True}, expect=400) == "validation_failed"
    config = {"bucket": "b", "region": "eu-west-2", "access_key_id": "id", "secret_access_key": "secret-1234"}
    bucket = admin.call("POST", DESTINATIONS, {"type": "s3", "config": config}, expect=201)
    assert bucket["signing_secret"] is None
    assert bucket["config"]["secret_access_key_masked"] == "****1234"
    assert "secret-1234" not in str(bucket)
    types = admin.call("GET", f"{ENVIRONMENT}/unified-api/destination-types")["data"]
    assert len(types) == 10
    created = admin.call("POST", f"{DESTINATIONS}/batch-create", {"items": [{"active": False}] * 2}, expect=201)["data"]
    assert len({each["id"] for each in created}) == 2
    assert admin.code("GET", f"{DESTINATIONS}/1", expect=404) == "not_found"


def test_the_environments_secret_signs_a_destination_without_its_own(
    admin: Admin, terra: Terra, receiver: Receiver
) -> None:
    admin.call("DELETE", f"{DESTINATIONS}/{admin.call('GET', DESTINATIONS)['data'][0]['id']}", expect=204)
    body = {"config": {"url": receiver.url}, "signing_secret_source": "environment"}
    new = admin.call("POST", DESTINATIONS, body, expect=201)
    assert new["signing_secret"] is None
    terra.connect()
    receiver.wait_for(1)
    assert signed_by(receiver, admin.call("GET", f"{ENVIRONMENT}/api-key")["signing_secret"]) == ["auth"]


@pytest.mark.parametrize(("overlap_s", "both"), [(0, False), (60, True)])
def test_a_rotated_secret_signs_alone_or_with_the_previous_one(
    admin: Admin, terra: Terra, receiver: Receiver, *, overlap_s: int, both: bool
) -> None:
    terra.set(rotation_overlap_s=overlap_s)
    path = f"{DESTINATIONS}/{admin.call('GET', DESTINATIONS)['data'][0]['id']}/signing-secret/rotate"
    new = admin.call("POST", path)["signing_secret"]
    terra.connect()
    (arrival,) = receiver.wait_for(1)
    assert arrival.signature == sign(arrival.body, t=arrival.t, secrets=[new, SIGNING_SECRET] if both else [new])
    admin.use(admin.token(scopes=["destinations:write"]))
    assert admin.code("POST", path, expect=403) == "scope_missing"
    terra.set(admin_version="october")
    assert admin.client.post(path).headers["content-type"].startswith("text/html")
