"""The errors of each client, and which requests it repeats."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from local.gateway.http_server import listen
from local.testing import Stack
from tests.support.clients import Client, Failure
from tests.support.front import CUT, Answer, front
from tests.support.terra import Terra
from tests.support.waiting import eventually

Call = Callable[..., Any]


def problem(status: int, code: str, **headers: str) -> Answer:
    body = {"type": f"/docs/problems.md#{code}", "title": "A title", "status": status, "code": code, "detail": "Text."}
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"content-type": "application/problem+json", **names}, json.dumps(body).encode())


def gateway(status: int, message: str) -> Answer:
    return Answer(status, {"content-type": "application/json"}, json.dumps({"message": message}).encode())


# --- errors


def test_a_problem_has_its_code_and_its_document(call: Call, reference_id: str) -> None:
    with pytest.raises(Failure) as error:
        call("create_session", reference_id=reference_id, resource="APPLE")
    assert (error.value.name, error.value.status, error.value.code) == (
        "TerraConnectionsError",
        422,
        "sdk_only_provider",
    )
    assert error.value.problem
    assert error.value.problem["detail"] in str(error.value)
    assert error.value.request_id

    with pytest.raises(Failure) as invalid:
        call("create_session", reference_id="", resource="FITBIT")
    assert invalid.value.code == "invalid_request"
    assert invalid.value.problem
    assert [each["field"] for each in invalid.value.problem["errors"]] == ["reference_id"]


def test_an_error_of_api_gateway_has_no_code(client: Client, stack: Stack) -> None:
    with pytest.raises(Failure, match="403: Forbidden") as error:
        client.call("list_providers", stack.api_url, "wrong", {})
    assert (error.value.status, error.value.code, error.value.problem) == (403, None, None)


def test_a_code_that_the_client_does_not_know_is_passed_on(call: Call, stack: Stack) -> None:
    with front(stack.api_url, problem(422, "added_later")) as broken, pytest.raises(Failure) as error:
        call("list_providers", url=broken.url)
    assert error.value.code == "added_later"


def test_a_stack_that_does_not_respond(call: Call) -> None:
    with listen("127.0.0.1", 0) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Failure, match="no response") as error:
        call("list_providers", url=url, options={"attempts": 2})
    assert (error.value.status, error.value.code) == (None, None)


# --- retries


def test_a_session_is_created_once_although_its_response_is_lost(
    call: Call, stack: Stack, terra: Terra, reference_id: str
) -> None:
    with front(stack.api_url, CUT) as broken:
        session = call("create_session", url=broken.url, reference_id=reference_id, resource="FITBIT")
        first, second = broken.requests
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.body == second.body
    assert call("get_session", session_id=session["session_id"])["status"] == "pending"
    assert len(terra.calls("/auth/authenticateUser")) == 1


def test_each_session_has_a_key_of_its_own_unless_one_is_given(call: Call, stack: Stack, reference_id: str) -> None:
    with front(stack.api_url) as through:
        made = {
            call("create_session", url=through.url, reference_id=reference_id, resource="FITBIT")["session_id"]
            for _ in range(2)
        }
        again = {
            call(
                "create_session",
                url=through.url,
                reference_id=reference_id,
                resource="FITBIT",
                idempotency_key=reference_id,
            )["session_id"]
            for _ in range(2)
        }
        keys = [request.headers["Idempotency-Key"] for request in through.requests]
    assert (len(made), len(again)) == (2, 1)
    assert len(set(keys[:2])) == 2
    assert keys[2:] == [reference_id, reference_id]


def test_the_first_request_of_a_key_that_still_runs_is_waited_for(call: Call, stack: Stack, reference_id: str) -> None:
    with front(stack.api_url, problem(409, "request_in_progress", retry_after="1")) as busy:
        call("create_session", url=busy.url, reference_id=reference_id, resource="FITBIT")
        assert len(busy.requests) == 2


def test_retry_after_is_waited_for(call: Call, stack: Stack) -> None:
    with front(stack.api_url, problem(429, "too_many_requests", retry_after="1"), gateway(503, "-")) as limited:
        began = time.monotonic()
        assert call("list_providers", url=limited.url)
        assert time.monotonic() - began >= 1
        assert len(limited.requests) == 3


def test_a_longer_wait_than_the_longest_is_left_to_the_caller(call: Call, stack: Stack) -> None:
    with front(stack.api_url, problem(429, "too_many_sessions", retry_after="2220")) as limited:
        with pytest.raises(Failure) as error:
            call("create_session", url=limited.url, reference_id="alice", resource="FITBIT")
        assert len(limited.requests) == 1
    assert (error.value.code, error.value.retry_after) == ("too_many_sessions", 2220)


def test_the_limit_of_the_running_stack(call: Call, terra: Terra, reference_id: str) -> None:
    def sync_often() -> None:
        for _ in range(20):  # within a minute
            call("sync_connections", reference_id=reference_id, options={"longest_wait": 0})

    with pytest.raises(Failure) as error:
        sync_often()
    assert (error.value.status, error.value.code) == (429, "user_limit_reached")
    assert error.value.retry_after
    assert terra.calls("/userInfo")


def test_attempts_are_limited(call: Call, stack: Stack) -> None:
    with front(stack.api_url, *[gateway(504, "-")] * 5) as down:
        with pytest.raises(Failure, match="504"):
            call("list_providers", url=down.url, options={"attempts": 2})
        assert len(down.requests) == 2


@pytest.mark.parametrize(
    "answer", [problem(502, "terra_rejected"), gateway(500, "-"), problem(422, "unknown_resource")]
)
def test_what_another_attempt_does_not_change_is_not_repeated(call: Call, stack: Stack, answer: Answer) -> None:
    with front(stack.api_url, answer) as broken:
        with pytest.raises(Failure):
            call("list_providers", url=broken.url)
        assert len(broken.requests) == 1


@pytest.mark.parametrize("answer", [gateway(502, "-"), problem(503, "terra_unavailable", retry_after="0"), CUT])
def test_what_is_safe_is_repeated(call: Call, stack: Stack, terra: Terra, reference_id: str, answer: Answer) -> None:
    user = terra.connect(reference_id)
    eventually(lambda: call("list_connections", reference_id=reference_id))
    with front(stack.api_url, answer, gateway(503, "-")) as broken:
        call("disconnect", url=broken.url, user_id=user["user_id"])
        assert [request.method for request in broken.requests] == ["DELETE"] * 3
    assert call("get_connection", user_id=user["user_id"])["status"] == "revoked"


@pytest.mark.parametrize(
    ("method", "given"),
    [("create_replay", {}), ("create_backfill", {"from_": "2026-01-01"})],
    ids=["replay", "backfill"],
)
@pytest.mark.parametrize("answer", [CUT, gateway(503, "-"), gateway(504, "-")], ids=["cut", "503", "504"])
def test_what_starts_anew_with_each_request_is_not_repeated(
    call: Call, stack: Stack, reference_id: str, method: str, given: dict[str, str], answer: Answer
) -> None:
    with front(stack.api_url, answer) as broken:
        with pytest.raises(Failure):
            call(method, url=broken.url, reference_id=reference_id, **given)
        assert len(broken.requests) == 1


def test_a_rejected_replay_is_repeated(call: Call, stack: Stack, reference_id: str) -> None:
    with front(stack.api_url, gateway(429, "Too Many Requests")) as limited:
        assert call("create_replay", url=limited.url, reference_id=reference_id)["replay_id"]
        assert len(limited.requests) == 2


def test_an_unfinished_erasure_is_continued(call: Call, stack: Stack, reference_id: str) -> None:
    unfinished = problem(503, "erasure_unfinished", retry_after="0")
    with front(stack.api_url, unfinished, unfinished) as slow:
        assert call("erase_user", url=slow.url, reference_id=reference_id) is None
        assert len(slow.requests) == 3
