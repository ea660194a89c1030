import base64
import hashlib
import hmac
import time
from typing import Any

import pytest

from receiver import Receiver
from simulator_process import SIGNING_SECRET, Terra
from terra_simulator.schedule import seconds_before_retry
from terra_simulator.signature import sign

TRACE = "X-Terra-Trace-Id"
ORDERING = "X-Terra-Ordering-Timestamp"


def deliveries_of(terra: Terra, state: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = terra.control("GET", f"/deliveries?state={state}")
    return found


def wait_for_state(terra: Terra, state: str, count: int = 1) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 30
    while len(found := deliveries_of(terra, state)) < count:
        assert time.monotonic() < deadline, terra.control("GET", "/deliveries")
        time.sleep(0.02)
    return found


def test_the_signature_equals_the_test_vector_of_terra() -> None:
    signature = sign(b"123", t=12345678, secrets=["key"])

    assert signature == "t=12345678,v1=dca55eca8f595bd4d80250ab9609c7cbecec8e581c5c3822294f7c2ee1c99377"


def test_retries_double_from_thirty_seconds_and_end_after_ten() -> None:
    waits = [seconds_before_retry(attempts, scale=1.0) for attempts in range(1, 12)]

    assert waits == [30, 60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, None]
    assert seconds_before_retry(1, scale=0.001) == pytest.approx(0.03)


def test_a_webhook_has_the_headers_of_terra(terra: Terra, receiver: Receiver) -> None:
    began = time.time()
    terra.connect()

    (arrival,) = receiver.wait_for(1)
    expected = hmac.new(SIGNING_SECRET.encode(), f"{arrival.t}.".encode() + arrival.body, hashlib.sha256).hexdigest()
    assert arrival.signature == f"t={arrival.t},v1={expected}"
    assert arrival.headers["Terra-Signature"] == arrival.signature
    assert int(began) <= arrival.t <= time.time()
    assert int(began * 1000) <= int(arrival.headers[ORDERING]) <= time.time() * 1000
    assert arrival.headers[TRACE]
    assert arrival.headers["Terra-Reference"]
    assert arrival.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(("setting", "absent"), [("new", "Terra-Signature"), ("old", "X-Terra-Signature")])
def test_settings_select_one_signature_header(terra: Terra, receiver: Receiver, setting: str, absent: str) -> None:
    terra.set(signature_headers=setting, ordering_header=False, reference_header=False)
    terra.connect()

    headers = receiver.wait_for(1)[0].headers
    assert len({"X-Terra-Signature", "Terra-Signature"} & set(headers)) == 1
    assert {absent, ORDERING, "Terra-Reference"}.isdisjoint(headers)


@pytest.mark.parametrize("status", [301, 400, 413, 500, 503])
def test_any_status_but_2xx_is_retried_with_the_same_ids(terra: Terra, receiver: Receiver, status: int) -> None:
    receiver.answers.extend([status, status, 204])
    terra.connect()

    arrivals = receiver.wait_for(3)
    (delivered,) = wait_for_state(terra, "delivered")
    assert [attempt["status"] for attempt in delivered["attempts"]] == [status, status, 204]
    assert len({(a.headers[TRACE], a.headers[ORDERING], a.headers["Terra-Reference"]) for a in arrivals}) == 1
    assert len({a.body for a in arrivals}) == 1


def test_terra_gives_up_after_ten_retries(terra: Terra, receiver: Receiver) -> None:
    terra.set(retry_scale=0.00001)
    receiver.answers.extend([500] * 20)
    terra.connect()

    (given_up,) = wait_for_state(terra, "given_up")
    assert len(given_up["attempts"]) == len(receiver.arrivals) == 11


@pytest.mark.parametrize(("refresh", "distinct"), [(True, 2), (False, 1)])
def test_a_setting_renews_the_time_of_the_signature_on_a_retry(
    terra: Terra, receiver: Receiver, *, refresh: bool, distinct: int
) -> None:
    terra.set(refresh_t_on_retry=refresh, retry_scale=1)
    receiver.answers.append(500)
    terra.connect()
    receiver.wait_for(1)
    time.sleep(1.1)

    (retried,) = terra.control("POST", "/retry_now")

    assert retried["state"] == "delivered"
    assert len({arrival.t for arrival in receiver.arrivals}) == distinct


def test_a_slow_receiver_is_a_failure(terra: Terra, receiver: Receiver) -> None:
    terra.set(webhook_timeout_s=0.3, retry_scale=1, redirect_waits_for_webhook=True)
    receiver.takes_s = 3.0
    terra.connect()

    (pending,) = deliveries_of(terra, "pending")
    assert pending["attempts"][0]["status"] is None
    assert "Timeout" in pending["attempts"][0]["error"]


def test_a_changed_retry_scale_applies_to_waiting_retries(terra: Terra, receiver: Receiver) -> None:
    terra.set(retry_scale=1)
    receiver.answers.append(500)
    terra.connect()
    wait_for_state(terra, "pending")
    receiver.wait_for(1)

    terra.set(retry_scale=0.001)

    receiver.wait_for(2)
    wait_for_state(terra, "delivered")


def test_a_setting_drops_webhooks(terra: Terra, receiver: Receiver) -> None:
    terra.set(send_webhooks=False)
    user_id = terra.connect()

    assert len(deliveries_of(terra, "lost")) == 1
    assert terra.user_info(user_id)["is_authenticated"] is True
    assert receiver.arrivals == []


def test_a_setting_delays_webhooks(terra: Terra, receiver: Receiver) -> None:
    terra.set(webhook_delay_s=0.3)
    started = time.monotonic()
    terra.connect()

    assert receiver.wait_for(1)[0].at - started >= 0.3


def test_the_redirect_can_wait_for_the_webhook(terra: Terra, receiver: Receiver) -> None:
    terra.set(redirect_waits_for_webhook=True, webhook_delay_s=0.2)
    terra.connect()

    assert len(receiver.arrivals) == 1


@pytest.mark.parametrize(("order", "reference_ids"), [("fifo", "abc"), ("reverse", "cba")])
def test_held_webhooks_are_released_in_either_order(
    terra: Terra, receiver: Receiver, order: str, reference_ids: str
) -> None:
    terra.control("POST", "/hold")
    for reference_id in "abc":
        terra.connect(reference_id)
    assert receiver.arrivals == []

    terra.control("POST", "/release", {"order": order})

    assert "".join(arrival.event["user"]["reference_id"] for arrival in receiver.arrivals) == reference_ids
    terra.connect("d")
    receiver.wait_for(4)


def test_held_webhooks_can_be_selected_and_dropped(terra: Terra, receiver: Receiver) -> None:
    terra.control("POST", "/hold")
    for reference_id in "abc":
        terra.connect(reference_id)
    a, b, c = (delivery["trace_id"] for delivery in deliveries_of(terra, "held"))

    terra.control("POST", "/release", {"order": [c], "keep_holding": True})
    assert [arrival.headers[TRACE] for arrival in receiver.arrivals] == [c]
    terra.control("POST", "/release", {"drop": [a]})

    assert [arrival.headers[TRACE] for arrival in receiver.arrivals] == [c, b]
    assert [delivery["trace_id"] for delivery in deliveries_of(terra, "lost")] == [a]
    terra.control("POST", "/release", {"drop": [a]}, expect=404)


def test_any_event_can_be_sent_exactly_as_requested(terra: Terra, receiver: Receiver) -> None:
    answers = terra.control(
        "POST",
        "/deliveries",
        {
            "body": {"type": "lab_report.completed", "name": "Ä"},
            "trace_id": "trace-1",
            "ordering_timestamp": 12,
            "t": 34,
            "secrets": ["one", "two"],
            "reference": None,
            "headers": {"terra-signature": None, "X-Extra": "yes"},
        },
    )

    assert answers == [{"trace_id": "trace-1", "status": 200, "body": "answered 200", "error": None}]
    (arrival,) = receiver.arrivals
    assert arrival.body == '{"type":"lab_report.completed","name":"Ä"}'.encode()
    assert arrival.signature == sign(arrival.body, t=34, secrets=["one", "two"])
    assert arrival.signature.count("v1=") == 2
    assert (arrival.headers[TRACE], arrival.headers[ORDERING], arrival.headers["X-Extra"]) == ("trace-1", "12", "yes")
    assert {"Terra-Signature", "Terra-Reference"}.isdisjoint(arrival.headers)


@pytest.mark.parametrize(
    ("fields", "sent"),
    [({"text": "not json"}, b"not json"), ({"base64": base64.b64encode(b"\xff\x00").decode()}, b"\xff\x00")],
)
def test_a_body_need_not_be_json(terra: Terra, receiver: Receiver, fields: dict[str, str], sent: bytes) -> None:
    terra.control("POST", "/deliveries", fields)

    assert receiver.arrivals[0].body == sent
    assert receiver.arrivals[0].signature == sign(sent, t=receiver.arrivals[0].t, secrets=[SIGNING_SECRET])


def test_concurrent_copies_have_identical_bytes(terra: Terra, receiver: Receiver) -> None:
    answers = terra.control("POST", "/deliveries", {"body": {"type": "x"}, "copies": 32, "concurrent": True})

    assert len(answers) == 32
    assert len(receiver.arrivals) == 32
    assert len({(tuple(arrival.headers.items()), arrival.body) for arrival in receiver.arrivals}) == 1


def test_a_requested_delivery_is_retried_only_on_request(terra: Terra, receiver: Receiver) -> None:
    receiver.answers.extend([503, 503])
    for retry in (False, True):
        (response,) = terra.control("POST", "/deliveries", {"body": {"type": "x"}, "retry": retry})
        assert response["status"] == 503

    receiver.wait_for(3)
    wait_for_state(terra, "delivered")
    assert len(deliveries_of(terra, "given_up")) == 1


def test_an_unreachable_receiver_leaves_the_status_null(terra: Terra) -> None:
    (response,) = terra.control("POST", "/deliveries", {"body": {}, "url": "http://127.0.0.1:1/"})

    assert response["status"] is None
    assert response["error"]


@pytest.mark.parametrize("fields", [{}, {"body": {}, "text": ""}, {"base64": "?"}, {"body": {}, "typo": 1}])
def test_an_invalid_delivery_request_is_rejected_with_an_error(terra: Terra, fields: dict[str, Any]) -> None:
    assert terra.control("POST", "/deliveries", fields, expect=400)["error"]


def test_a_user_of_the_control_api_connects_without_a_browser(terra: Terra, receiver: Receiver) -> None:
    made = terra.control("POST", "/users", {"reference_id": "anna", "provider": "OURA"})
    quiet = terra.control("POST", "/users", {"reference_id": "berta", "silent": True, "user_id": "chosen"})

    assert [arrival.event["user"]["user_id"] for arrival in receiver.arrivals] == [made["user"]["user_id"]]
    assert made["deliveries"][0]["state"] == "delivered"
    assert (quiet["user"]["user_id"], quiet["deliveries"]) == ("chosen", [])
    assert terra.user_info("chosen")["is_authenticated"] is True
    terra.control("POST", "/users", {"user_id": "chosen"}, expect=409)
    terra.control("POST", "/users", {"provider": "UNKNOWN"}, expect=400)


def test_the_data_of_a_user_can_be_changed_without_a_webhook(terra: Terra, receiver: Receiver) -> None:
    user_id = terra.control("POST", "/users", {"reference_id": "anna", "silent": True})["user"]["user_id"]

    terra.control("PATCH", f"/users/{user_id}", {"is_authenticated": False, "active": True, "reference_id": "berta"})

    info = terra.user_info(user_id)
    assert (info["is_authenticated"], info["user"]["active"], info["user"]["reference_id"]) == (False, True, "berta")
    terra.control("DELETE", f"/users/{user_id}")
    terra.control("PATCH", f"/users/{user_id}", {"active": True}, expect=404)
    assert receiver.arrivals == []


@pytest.mark.parametrize(
    ("event", "status", "is_authenticated", "active"),
    [("access_revoked", "warning", False, False), ("connection_error", "warning", True, True)],
)
def test_an_event_changes_the_user_and_sends_a_webhook(
    terra: Terra, receiver: Receiver, event: str, status: str, *, is_authenticated: bool, active: bool
) -> None:
    user_id = terra.control("POST", "/users", {"silent": True})["user"]["user_id"]

    terra.control("POST", f"/users/{user_id}/events", {"type": event, "message": None})

    (arrival,) = receiver.arrivals
    assert (arrival.type, arrival.event["status"], arrival.event["message"]) == (event, status, None)
    info = terra.user_info(user_id)
    assert (info["is_authenticated"], info["user"]["active"]) == (is_authenticated, active)


def test_a_permission_change_changes_the_scopes(terra: Terra, receiver: Receiver) -> None:
    user_id = terra.control("POST", "/users", {"provider": "GARMIN", "silent": True})["user"]["user_id"]

    change = {"type": "permission_change", "scopes_added": "BODY_EXPORT", "scopes_removed": "HEALTH_EXPORT"}
    terra.control("POST", f"/users/{user_id}/events", change)

    assert receiver.arrivals[0].event["user"]["scopes"] == "ACTIVITY_EXPORT,BODY_EXPORT"
    assert receiver.arrivals[0].event["scopes_added"] == "BODY_EXPORT"
    assert terra.user_info(user_id)["user"]["scopes"] == "ACTIVITY_EXPORT,BODY_EXPORT"


def test_a_deauth_removes_the_user(terra: Terra, receiver: Receiver) -> None:
    user_id = terra.control("POST", "/users", {"silent": True})["user"]["user_id"]

    terra.control("POST", f"/users/{user_id}/events", {"type": "deauth"})

    assert receiver.arrivals[0].event["user"]["active"] is False
    assert terra.back_end.get("/api/v2/userInfo", params={"user_id": user_id}).status_code == 404
