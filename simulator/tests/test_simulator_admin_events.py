"""Terra's Admin API: events and their attempts in both versions, resends, generated events, users, synthetic users."""

from collections.abc import Callable

import pytest

from admin_client import DESTINATIONS, ENVIRONMENT, Admin
from receiver import Receiver
from simulator_process import Terra

ROWS = f"{ENVIRONMENT}/webhook-events"
EVENTS = f"{ENVIRONMENT}/events"


@pytest.fixture(autouse=True)
def october(terra: Terra) -> None:
    """The older version, unless a test chooses the newer one; retries are not accelerated."""
    terra.set(admin_version="october", retry_scale=1)


def until(condition: Callable[[], bool]) -> None:
    while not condition():
        pass


def connected(terra: Terra, reference_id: str = "anna") -> str:
    return str(terra.control("POST", "/users", {"reference_id": reference_id})["user"]["user_id"])


def test_every_attempt_is_a_row(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    receiver.answers.append(500)
    user_id = connected(terra)
    terra.control("POST", "/retry_now")

    newest, first = admin.call("GET", ROWS)["data"]
    assert (first["http_status"], newest["http_status"]) == (500, 200)
    assert first["event_id"] == newest["event_id"]
    assert (first["data_type"], first["provider"], first["user_id"]) == ("auth", "fitbit", user_id)
    assert (first["destination_url"], first["reference_id"]) == (receiver.url, "anna")
    assert first["connection_id"].isdecimal()
    (row,) = admin.call("GET", ROWS, outcome="failed")["data"]
    assert row == first
    assert admin.call("GET", f"{ROWS}/{first['event_id']}") == newest
    assert admin.call("GET", f"{ROWS}/{first['event_id']}/payload")["user"]["user_id"] == user_id
    stats = admin.call("GET", f"{ROWS}/stats")
    assert (stats["delivery_attempts"], stats["failed_attempts"], stats["retry_attempts"]) == (2, 1, 1)
    assert admin.client.get(EVENTS).status_code == 404


@pytest.mark.parametrize("shape", ["zero", "absent"])
def test_an_attempt_without_a_response_counts_as_delivered_in_the_filter(
    admin: Admin, terra: Terra, shape: str
) -> None:
    terra.set(webhook_url="http://127.0.0.1:1/", unanswered_status=shape)
    connected(terra)
    (row,) = admin.call("GET", ROWS)["data"]
    assert row.get("http_status") == (0 if shape == "zero" else None)
    assert len(admin.call("GET", ROWS, outcome="delivered")["data"]) == (shape == "zero")


def test_lists_are_paged_and_filtered(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    users = [connected(terra, f"user-{number}") for number in range(5)]
    first = admin.call("GET", ROWS, limit="2")
    assert (len(first["data"]), first["has_more"]) == (2, True)
    second = admin.call("GET", ROWS, limit="2", cursor=first["next_cursor"])
    third = admin.call("GET", ROWS, limit="2", cursor=second["next_cursor"])
    assert (third["has_more"], third["next_cursor"]) == (False, None)
    listed = [row["user_id"] for page in (first, second, third) for row in page["data"]]
    assert listed == users[::-1]
    assert len(admin.call("GET", ROWS, limit="1000", user_id=users[0])["data"]) == 1
    assert admin.call("GET", ROWS, destination="2")["data"] == []
    assert admin.call("GET", ROWS, until="2026-01-01T00:00:00Z", since="2025-12-01T00:00:00Z")["data"] == []
    for query in ({"limit": "0"}, {"limit": "x"}, {"since": "yesterday"}, {"cursor": "?"}):
        assert admin.code("GET", ROWS, expect=400, **query) == "validation_failed"
    assert admin.code("GET", ROWS, expect=404, user_id="unknown") == "not_found"
    assert len(receiver.arrivals) == 5


def test_an_event_without_a_destination_is_kept_and_can_be_resent(
    admin: Admin, terra: Terra, receiver: Receiver
) -> None:
    (configured,) = admin.call("GET", DESTINATIONS)["data"]
    admin.call("PATCH", f"{DESTINATIONS}/{configured['id']}", {"active": False})
    user_id = connected(terra)
    (row,) = admin.call("GET", ROWS)["data"]
    assert (row["destination_url"], row["http_status"]) == ("", 0)
    admin.call("PATCH", f"{DESTINATIONS}/{configured['id']}", {"active": True})

    body = {"user_id": user_id, "event_id": row["event_id"], "event_type": "auth"}
    dry = admin.call("POST", f"{ROWS}/resend", body, dry_run="true")
    assert (dry["would"], dry["preview"]["destination_count"]) == ("resend", 1)
    answer = admin.call("POST", f"{ROWS}/resend", body, expect=202)
    assert answer == {"event_id": row["event_id"], "event_type": "auth", "dispatched": True}
    (arrival,) = receiver.wait_for(1)
    assert arrival.event["user"]["user_id"] == user_id


def test_a_resend_needs_a_known_user_and_the_events_type(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    user_id, gone = connected(terra), connected(terra, "berta")
    terra.control("POST", f"/users/{user_id}/events", {"type": "deauth"})
    terra.control("DELETE", f"/users/{gone}")
    deauth, of_gone, auth = admin.call("GET", ROWS)["data"]
    assert deauth["user_id"] == user_id
    assert "user_id" not in of_gone
    body = {"user_id": user_id, "event_id": deauth["event_id"], "event_type": "deauth"}
    admin.call("POST", f"{ROWS}/resend", body, expect=202)
    until(lambda: len(receiver.arrivals) == 4)
    for change in ({"user_id": gone}, {"event_id": auth["event_id"]}, {"event_type": "auth"}):
        assert admin.code("POST", f"{ROWS}/resend", body | change, expect=404) == "not_found"


def test_a_resend_keeps_the_ordering_timestamp_under_a_new_trace_id(
    admin: Admin, terra: Terra, receiver: Receiver
) -> None:
    user_id = connected(terra)
    (row,) = admin.call("GET", ROWS)["data"]
    body = {"user_id": user_id, "event_id": row["event_id"], "event_type": "auth"}
    admin.call("POST", f"{ROWS}/resend", body, expect=202)
    first, again = receiver.wait_for(2)
    assert first.body == again.body
    assert first.headers["X-Terra-Ordering-Timestamp"] == again.headers["X-Terra-Ordering-Timestamp"]
    assert first.headers["X-Terra-Trace-Id"] != again.headers["X-Terra-Trace-Id"]


def test_november_lists_events_with_the_state_at_each_destination(
    admin: Admin, terra: Terra, receiver: Receiver
) -> None:
    terra.set(admin_version="november")
    receiver.answers.append(503)
    connected(terra)
    (configured,) = admin.call("GET", DESTINATIONS)["data"]
    (event,) = admin.call("GET", EVENTS)["data"]
    assert (event["type"], event["deliveries"]) == (
        "auth",
        [{"destination_id": configured["id"], "status": "pending"}],
    )
    terra.control("POST", "/retry_now")
    detail = admin.call("GET", f"{EVENTS}/{event['id']}")
    (delivery,) = detail["deliveries"]
    assert [attempt["http_status"] for attempt in delivery["attempts"]] == [503, 200]
    assert delivery["status"] == "delivered"
    assert admin.call("GET", f"{EVENTS}/{event['id']}/payload")["type"] == "auth"
    assert admin.client.get(ROWS).status_code == 404
    assert admin.code("GET", f"{EVENTS}/unknown", expect=404) == "not_found"


def test_a_generated_event_is_delivered_with_a_made_up_user(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    made = admin.call("POST", f"{ROWS}/generate", {"type": "sleep"}, expect=202)
    (arrival,) = receiver.wait_for(1)
    assert arrival.event == made["payload"]
    assert made["user_id"] not in {each["user_id"] for each in terra.control("GET", "/users")}
    assert admin.code("POST", f"{ROWS}/generate", {"type": "auth"}, expect=400) == "validation_failed"
    assert admin.code("POST", f"{ROWS}/generate", {"type": "body", "destination_id": "1"}, expect=404) == "not_found"
    (configured,) = admin.call("GET", DESTINATIONS)["data"]
    admin.call("PATCH", f"{DESTINATIONS}/{configured['id']}", {"event_types": ["auth"]})
    refused = admin.code("POST", f"{ROWS}/generate", {"type": "sleep"}, expect=422, dry_run="true")
    assert refused == "unsupported_operation"
    samples = admin.call("GET", f"{ROWS}/{made['event_id']}/payload", samples="false")
    assert samples["data"][0]["heart_rate_data"]["detailed"] == {}


def test_users_and_the_environment_are_listed(admin: Admin, terra: Terra) -> None:
    user_id = connected(terra)
    (row,) = admin.call("GET", f"{ENVIRONMENT}/users", reference_id="anna")["data"]
    assert (row["user_id"], row["provider"], row["active"]) == (user_id, "fitbit", True)
    assert admin.call("GET", f"{ENVIRONMENT}/users", q="an")["data"] == [row]
    assert admin.call("GET", f"{ENVIRONMENT}/users", active="false")["data"] == []
    assert admin.code("GET", f"{ENVIRONMENT}/users", expect=400, provider="nothing") == "validation_failed"
    environment = admin.call("GET", ENVIRONMENT)
    assert environment["signing_secret_masked"].startswith("****")
    assert admin.call("GET", "/api/v3/admin/environments")["data"][0]["dev_id"] == environment["dev_id"]


def test_a_synthetic_user_delivers_until_it_is_stopped(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    terra.set(synthetic_cadence_s=0.02, synthetic_auth=True)
    path = f"{ENVIRONMENT}/synthetic-users"
    made = admin.call("POST", path, {"duration_hours": 24, "persona": "runner", "reference_id": "anna"}, expect=201)
    assert (made["provider"], made["status"]) == ("SYNTHETIC", "generating")
    arrivals = receiver.wait_for(3)
    assert {each.type for each in arrivals} == {"auth", "daily"}
    assert {each.event["user"]["provider"] for each in arrivals} == {"SYNTHETIC"}
    stopped = admin.call("POST", f"{path}/{made['user_id']}/stop")
    assert (stopped["status"], stopped["latest_run"]["status"]) == ("stopped", "cancelled")
    assert admin.call("POST", f"{path}/{made['user_id']}/start")["status"] == "generating"
    assert [each["user_id"] for each in admin.call("GET", path)["data"]] == [made["user_id"]]
    assert admin.code("GET", f"{path}/unknown", expect=404) == "not_found"
    assert admin.code("POST", path, {"duration_hours": 25, "persona": "x"}, expect=400) == "validation_failed"


@pytest.mark.parametrize("event_type", ["activity", "body", "daily", "menstruation", "nutrition", "sleep"])
def test_generated_events_have_plausible_data(admin: Admin, terra: Terra, receiver: Receiver, event_type: str) -> None:
    terra.set(webhook_delivery="ping")
    fields = {"type": event_type, "provider": "oura", "start_time": "2026-07-01T00:00:00Z", "samples": False}
    made = admin.call("POST", f"{ROWS}/generate", fields, expect=202)

    (arrival,) = receiver.wait_for(1)
    assert terra.browser.get(arrival.event["url"]).json() == made["payload"]
    assert made["payload"]["user"]["provider"] == "OURA"
    assert made["payload"]["data"][0]["metadata"]["end_time"].startswith(("2026-07-01", "2026-07-02"))
    assert len(made["payload"]["data"][0]) >= 2
    assert admin.code("POST", f"{ROWS}/generate", fields | {"provider": "none"}, expect=400) == "validation_failed"


def test_a_pinged_event_has_the_row_and_the_payload_of_its_data_and_is_resent_with_a_new_url(
    admin: Admin, terra: Terra, receiver: Receiver
) -> None:
    terra.set(webhook_delivery="ping")
    user_id = connected(terra)
    terra.control("POST", f"/users/{user_id}/data", {"type": "sleep"})
    terra.control("POST", "/payloads/expire")
    ping = receiver.wait_for(2)[1]
    assert terra.browser.get(ping.event["url"]).status_code == 400

    (row,) = admin.call("GET", ROWS, data_type="sleep")["data"]
    assert (row["user_id"], row["provider"]) == (user_id, "fitbit")
    payload = admin.call("GET", f"{ROWS}/{row['event_id']}/payload")
    body = {"user_id": user_id, "event_id": row["event_id"], "event_type": "sleep"}
    admin.call("POST", f"{ROWS}/resend", body, expect=202)
    again = receiver.wait_for(3)[2]
    assert again.event["url"] != ping.event["url"]
    assert terra.browser.get(again.event["url"]).json() == payload
    assert again.headers["X-Terra-Ordering-Timestamp"] == ping.headers["X-Terra-Ordering-Timestamp"]


def test_payloads_are_kept_for_a_number_of_days(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    terra.control("POST", f"/users/{user_id}/data", {})
    event_id = admin.call("GET", ROWS, data_type="daily")["data"][0]["event_id"]
    assert terra.control("GET", "/settings")["payloads_kept_days"] == 14
    terra.set(payloads_kept_days=0)

    assert admin.code("GET", f"{ROWS}/{event_id}/payload", expect=404) == "not_found"
    body = {"user_id": user_id, "event_id": event_id, "event_type": "daily"}
    assert admin.code("POST", f"{ROWS}/resend", body, expect=404) == "not_found"
    assert admin.call("GET", f"{ROWS}/{event_id}")["event_id"] == event_id
    assert len(receiver.arrivals) == 2


def test_a_report_without_a_user_has_a_row_and_cannot_be_resent(admin: Admin, terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    terra.control("POST", f"/users/{user_id}/data", {"type": "lab_report.completed"})

    (row,) = admin.call("GET", ROWS, data_type="lab_report.completed")["data"]
    assert {"user_id", "reference_id"}.isdisjoint(row)
    assert admin.call("GET", f"{ROWS}/{row['event_id']}/payload")["data"]["reference_id"] == "anna"
    body = {"user_id": user_id, "event_id": row["event_id"], "event_type": "lab_report.completed"}
    assert admin.code("POST", f"{ROWS}/resend", body, expect=404) == "not_found"
    assert len(receiver.arrivals) == 2


def test_the_time_of_the_newest_data_moves_with_deliveries(admin: Admin, terra: Terra) -> None:
    user_id = connected(terra)
    (before,) = admin.call("GET", f"{ENVIRONMENT}/users", user_id=user_id)["data"]
    terra.control("POST", f"/users/{user_id}/data", {})
    (after,) = admin.call("GET", f"{ENVIRONMENT}/users", user_id=user_id)["data"]

    assert before["most_recent_data_at"] is None
    assert after["most_recent_data_at"] > after["created_at"]
