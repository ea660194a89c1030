import time
from typing import Any

import httpx
import pytest

from receiver import Receiver
from simulator_process import API_KEY, Terra

PATH = "/api/v2/subscriptions"


def fault(terra: Terra, kind: str, **fields: Any) -> None:  # noqa: ANN401 - JSON
    terra.control("POST", "/faults", {"path": PATH, "kind": kind} | fields)


@pytest.mark.parametrize(
    ("kind", "fields", "status", "media_type"),
    [
        ("status", {"status": 502}, 502, "application/problem+json"),
        ("problem", {}, 500, "application/problem+json"),
        ("legacy", {"status": 503}, 503, "application/json"),
        ("html", {}, 500, "text/html; charset=utf-8"),
        ("empty", {"status": 504}, 504, None),
        ("malformed", {}, 200, "application/json"),
        ("wrong_shape", {}, 200, "application/json"),
        ("wrong_shape", {"status": 201, "body": [1]}, 201, "application/json"),
        ("rate_limit", {"retry_after": 7}, 429, "application/json"),
    ],
)
def test_a_fault_replaces_the_response(
    terra: Terra, kind: str, fields: dict[str, Any], status: int, media_type: str | None
) -> None:
    fault(terra, kind, **fields)

    response = terra.back_end.get(PATH)

    assert response.status_code == status
    assert response.headers.get("content-type") == media_type
    terra.control("DELETE", "/faults")
    assert terra.back_end.get(PATH).json() == {"status": "success", "users": []}


def test_error_responses_have_the_formats_of_terra(terra: Terra) -> None:
    for kind in ("problem", "legacy", "html", "empty", "malformed", "wrong_shape", "rate_limit"):
        fault(terra, kind, times=1)
    problem, legacy, html, empty, malformed, wrong, limited = (terra.back_end.get(PATH) for _ in range(7))

    assert problem.json() == {"type": "about:blank", "title": "internal server error", "instance": PATH}
    assert legacy.json() == {"status": "error", "message": "Internal Server Error"}
    assert "<h1>" in html.text
    assert empty.content == b""
    with pytest.raises(ValueError, match="Expecting"):
        malformed.json()
    assert wrong.json() == {"unexpected": True}
    assert limited.headers["Retry-After"] == "1"
    assert limited.headers["X-Terra-RateLimit-Remaining"] == "0"


def test_a_fault_applies_to_its_path_and_method_a_limited_number_of_times(terra: Terra) -> None:
    terra.control("POST", "/faults", {"path": "/userInfo", "method": "GET", "kind": "problem", "times": 2})

    statuses = [terra.back_end.get("/api/v2/userInfo?reference_id=a").status_code for _ in range(3)]

    assert statuses == [500, 500, 200]
    assert terra.back_end.get(PATH).status_code == 200
    assert terra.control("GET", "/faults") == []


def test_a_slow_response_is_a_normal_response(terra: Terra) -> None:
    fault(terra, "slow", delay_s=0.3)
    started = time.monotonic()

    assert terra.back_end.get(PATH).json() == {"status": "success", "users": []}
    assert time.monotonic() - started >= 0.3


def test_a_fault_can_close_the_connection(terra: Terra) -> None:
    fault(terra, "disconnect", times=1)

    with pytest.raises(httpx.TransportError):
        terra.back_end.get(PATH)

    assert terra.back_end.get(PATH).status_code == 200


def test_a_fault_after_the_call_keeps_its_effect(terra: Terra) -> None:
    terra.control("POST", "/faults", {"path": "/authenticateUser", "kind": "disconnect", "stage": "after"})

    with pytest.raises(httpx.TransportError):
        terra.authenticate("anna")

    (user,) = terra.control("GET", "/users")
    assert user["reference_id"] == "anna"


def test_calls_are_recorded_without_credentials(terra: Terra) -> None:
    terra.authenticate("anna", "OURA")
    terra.back_end.get("/api/v2/userInfo?user_id=unknown")

    (call,) = terra.control("GET", "/requests?path=/auth/authenticateUser&method=POST")
    assert call["query"] == {"resource": "OURA"}
    assert call["body"] == {"reference_id": "anna"}
    assert call["status"] == 200
    calls = terra.control("GET", "/requests")
    assert [call["status"] for call in calls] == [200, 404]
    assert API_KEY not in str(calls)
    terra.control("DELETE", "/requests")
    assert terra.control("GET", "/requests") == []


def test_the_list_of_logins_contains_their_consent_pages(terra: Terra) -> None:
    started = terra.authenticate()

    (login,) = terra.control("GET", "/logins")

    assert (login["auth_url"], login["outcome"]) == (started["auth_url"], None)


def test_invalid_settings_are_rejected(terra: Terra) -> None:
    before = terra.control("GET", "/settings")

    for wrong in ({"typo": 1}, {"reauth_order": "both"}, {"retry_scale": -1}, {"enabled_providers": ["UNKNOWN"]}, [1]):
        assert terra.control("PATCH", "/settings", wrong, expect=400)["error"]

    assert terra.control("GET", "/settings") == before


def test_the_control_api_rejects_invalid_bodies(terra: Terra) -> None:
    assert terra.browser.post("/_control/faults", content=b"{").status_code == 400
    assert terra.control("POST", "/faults", {"path": "/x", "kind": "unknown-kind"}, expect=400)["error"]


def test_a_reset_deletes_all_state(terra: Terra, receiver: Receiver) -> None:
    terra.set(retry_scale=1)
    receiver.answers.append(500)
    terra.connect()
    receiver.wait_for(1)
    fault(terra, "problem")

    terra.control("POST", "/reset")

    assert terra.control("GET", "/users") == []
    assert terra.control("GET", "/deliveries") == []
    assert terra.control("GET", "/faults") == []
    assert terra.control("GET", "/requests") == []
    assert terra.control("GET", "/settings")["webhook_url"] is None
    terra.control("POST", "/deliveries", {"body": {}}, expect=409)


@pytest.mark.parametrize("headers", [{"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}])
def test_foreign_web_pages_cannot_call_the_control_api(terra: Terra, headers: dict[str, str]) -> None:
    assert terra.browser.get("/_control/settings", headers=headers).status_code == 403
    assert terra.browser.get("/_control/health", headers={"Origin": terra.url}).status_code == 200
