"""Operations that call Terra are limited per user, for every caller, and an erasure resets no limit."""

import json
import time
from typing import Any

import httpx
import pytest

from tests.support.api import connections_of, create_session, decide
from tests.support.handlers import Handlers, Run, http_event
from tests.support.terra import Terra
from tests.support.waiting import eventually

LIMITS = {
    "sync_connections": ("/connections/sync", "SYNCS_PER_USER_PER_MINUTE", 60),
    "create_mobile_token": ("/mobile-tokens", "MOBILE_TOKENS_PER_USER_PER_HOUR", 3600),
    "erase_person": ("/erasures", "ERASURES_PER_USER_PER_HOUR", 3600),
}


def send_request(handlers: Handlers, function: str, reference_id: str, *, limit: int, caller: str | None = None) -> Run:
    path, variable, _ = LIMITS[function]
    event: dict[str, Any] = http_event("POST", path, body=json.dumps({"reference_id": reference_id}))
    if caller is not None:
        event["requestContext"]["authorizer"]["lambda"] = {"caller": "user", "reference_id": caller}
    return handlers.run(function, event, environment={variable: str(limit)})


def wait_for_window(seconds: int) -> None:
    """Wait until a window has at least 20 s left, so that all requests count in the same window."""
    while seconds - time.time() % seconds < 20:
        time.sleep(0.5)


def is_rejected(run: Run, window: int) -> bool:
    if run.status != 429:
        return False
    assert run.json["code"] == "user_limit_reached"
    assert run.result is not None
    assert 0 < int(run.result["headers"]["retry-after"]) <= window
    return True


def terra_requests_about(terra: Terra, reference_id: str) -> int:
    return len([call for call in terra.calls("/userInfo") if call["query"].get("reference_id") == reference_id])


@pytest.mark.parametrize("function", LIMITS)
def test_requests_above_a_user_limit_are_rejected(
    handlers: Handlers, terra: Terra, reference_id: str, function: str
) -> None:
    window = LIMITS[function][2]
    wait_for_window(window)
    assert [send_request(handlers, function, reference_id, limit=2).status for _ in range(2)] != [429, 429]
    calls = terra_requests_about(terra, reference_id)
    assert is_rejected(send_request(handlers, function, reference_id, limit=2), window)
    # Other users have their own limit, and a back end's requests count like the user's own.
    assert not is_rejected(send_request(handlers, function, f"{reference_id}-other", limit=2), window)
    assert is_rejected(send_request(handlers, function, reference_id, limit=2, caller=reference_id), window)
    assert terra_requests_about(terra, reference_id) == calls


@pytest.mark.parametrize("function", LIMITS)
def test_zero_disables_the_limit(handlers: Handlers, reference_id: str, function: str) -> None:
    assert not [
        run for run in (send_request(handlers, function, reference_id, limit=0) for _ in range(3)) if run.status == 429
    ]


@pytest.mark.parametrize("function", ["sync_connections", "create_mobile_token"])
def test_an_erasure_does_not_reset_the_limits(
    handlers: Handlers, api: httpx.Client, reference_id: str, function: str
) -> None:
    window = LIMITS[function][2]
    wait_for_window(window)
    send_request(handlers, function, reference_id, limit=1)
    assert api.post("/erasures", json={"reference_id": reference_id}).status_code == httpx.codes.NO_CONTENT
    assert is_rejected(send_request(handlers, function, reference_id, limit=1), window)


def backfill(handlers: Handlers, reference_id: str, *, limit: int) -> Run:
    body = {"reference_id": reference_id, "types": ["daily"], "from": "2026-06-01", "to": "2026-06-07"}
    event = http_event("POST", "/backfills", body=json.dumps(body))
    return handlers.run("create_backfill", event, environment={"BACKFILLS_PER_USER_PER_HOUR": str(limit)})


def test_backfills_of_a_connected_user_are_limited_also_after_an_erasure(
    handlers: Handlers, api: httpx.Client, browser: httpx.Client, reference_id: str, user_id: str
) -> None:
    assert connections_of(api, reference_id)[0]["user_id"] == user_id
    wait_for_window(3600)
    assert backfill(handlers, reference_id, limit=1).status == 202
    assert is_rejected(backfill(handlers, reference_id, limit=1), 3600)
    assert backfill(handlers, reference_id, limit=0).status == 202
    assert api.post("/erasures", json={"reference_id": reference_id}).status_code == httpx.codes.NO_CONTENT
    assert browser.get(decide(create_session(api, reference_id)["auth_url"], "allow")).status_code in {200, 303}
    eventually(lambda: connections_of(api, reference_id))
    assert is_rejected(backfill(handlers, reference_id, limit=1), 3600)


def start(handlers: Handlers, reference_id: str, limit: int) -> Run:
    body = json.dumps({"reference_id": reference_id, "resource": "FITBIT"})
    event = http_event("POST", "/sessions", body=body)
    return handlers.run("create_session", event, environment={"OPEN_SESSIONS_PER_PERSON": str(limit)})


def test_an_erasure_does_not_reset_the_limit_of_open_sessions(
    handlers: Handlers, api: httpx.Client, reference_id: str
) -> None:
    for _ in range(2):
        create_session(api, reference_id)
    assert api.post("/erasures", json={"reference_id": reference_id}).status_code == httpx.codes.NO_CONTENT
    run = start(handlers, reference_id, 2)
    assert (run.status, run.json["code"]) == (429, "too_many_sessions")
    assert run.result is not None
    assert 3000 < int(run.result["headers"]["retry-after"]) <= 3600
    assert start(handlers, reference_id, 3).status == 201


def test_sessions_completed_before_an_erasure_do_not_count_after_it(
    handlers: Handlers, api: httpx.Client, browser: httpx.Client, reference_id: str
) -> None:
    session = create_session(api, reference_id)
    assert browser.get(decide(session["auth_url"], "deny")).status_code in {200, 303}
    assert api.post("/erasures", json={"reference_id": reference_id}).status_code == httpx.codes.NO_CONTENT
    assert start(handlers, reference_id, 1).status == 201
