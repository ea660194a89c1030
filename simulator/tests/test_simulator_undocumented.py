"""What Terra does not document, and settings choose: resends, retries after a rotation, pings, the widget's path."""

import time

import httpx
import pytest

from admin_client import DESTINATIONS, ENVIRONMENT, Admin
from receiver import Receiver
from simulator_process import Terra

WIDGET = ("/api/widget/session", "/widget/session", "/widget/api/session", "/api/v2/auth/generateWidgetSession")


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_resend_has_new_or_the_original_headers(
    terra: Terra, admin: Admin, receiver: Receiver, *, is_kept: bool
) -> None:
    terra.set(
        resend_trace_id="same" if is_kept else "new",
        refresh_t_on_resend=not is_kept,
        refresh_ordering_on_resend=not is_kept,
    )
    user_id = terra.control("POST", "/users", {"reference_id": "anna"})["user"]["user_id"]
    (first,) = receiver.wait_for(1)
    event_id = admin.call("GET", f"{ENVIRONMENT}/events")["data"][0]["id"]
    time.sleep(1.1)
    body = {"user_id": user_id, "event_id": event_id, "event_type": "auth"}
    admin.call("POST", f"{ENVIRONMENT}/events/resend", body, expect=202)

    _, again = receiver.wait_for(2)
    assert again.body == first.body
    assert (again.t == first.t) is is_kept
    for name in ("X-Terra-Trace-Id", "X-Terra-Ordering-Timestamp"):
        assert (again.headers[name] == first.headers[name]) is is_kept


@pytest.mark.parametrize("is_anew", [True, False])
def test_a_retry_after_a_rotation_has_the_new_or_the_old_secret(
    terra: Terra, admin: Admin, receiver: Receiver, *, is_anew: bool
) -> None:
    terra.set(webhook_url=None, retry_scale=1, refresh_t_on_retry=False, signs_retries_anew=is_anew)
    made = admin.call("POST", DESTINATIONS, {"config": {"url": receiver.url}}, expect=201)
    receiver.answers.append(500)
    terra.control("POST", "/users", {"reference_id": "anna"})
    admin.call("POST", f"{DESTINATIONS}/{made['id']}/signing-secret/rotate")
    terra.control("POST", "/retry_now")
    first, retry = receiver.wait_for(2)
    assert (first.signature != retry.signature) is is_anew


def test_a_ping_has_the_address_of_the_payload_until_it_expires(terra: Terra, admin: Admin, receiver: Receiver) -> None:
    terra.set(webhook_url=None, payload_expires_in_s=60, ping_ordering_header=False)
    config = {"url": receiver.url, "delivery": "ping"}
    destination = admin.call("POST", DESTINATIONS, {"config": config}, expect=201)["id"]
    body = {"type": "sleep", "destination_id": destination}
    generated = admin.call("POST", f"{ENVIRONMENT}/events/generate", body, expect=202)

    (arrival,) = receiver.wait_for(1)
    assert arrival.event.keys() == {"type", "status", "url", "expires_in"}
    assert (arrival.type, arrival.event["expires_in"]) == ("s3_payload", 60)
    assert arrival.headers["X-Terra-Ordering-Timestamp"] is None
    payload = httpx.get(arrival.event["url"], trust_env=False)
    assert payload.json() == generated["payload"]
    event = f"{ENVIRONMENT}/events/{generated['event_id']}/payload"
    assert admin.call("GET", event) == generated["payload"]

    terra.control("POST", "/users", {"reference_id": "anna"})
    assert receiver.wait_for(2)[1].type == "auth"
    terra.set(pings_auth_events=True, payload_expires_in_s=0, payload_url="http://localhost:1/payloads")
    terra.control("POST", "/users", {"reference_id": "bella"})
    ping = receiver.wait_for(3)[2]
    assert ping.type == "s3_payload"
    assert ping.event["url"].startswith("http://localhost:1/payloads/")
    expired = ping.event["url"].replace("http://localhost:1", terra.url)
    assert httpx.get(expired, trust_env=False).status_code == 400


@pytest.mark.parametrize("path", WIDGET)
def test_the_widget_has_the_path_of_the_setting(terra: Terra, path: str) -> None:
    terra.set(widget_paths=[path])
    statuses = {each: terra.back_end.post(each, json={"reference_id": "anna"}).status_code for each in WIDGET}
    assert statuses.pop(path) == 201
    assert set(statuses.values()) <= {404, 410}


@pytest.mark.parametrize(("setting", "reference_id"), [("honoured", "anna"), ("ignored", "bella")])
def test_a_bound_token_overrides_the_sdk_or_not(terra: Terra, setting: str, reference_id: str) -> None:
    terra.set(bound_tokens=setting)
    token = terra.back_end.post("/api/v2/auth/tokens", params={"reference_id": "anna"}).json()["token"]
    user = terra.control("POST", "/users", {"token": token, "reference_id": "bella"})["user"]
    assert user["reference_id"] == reference_id
