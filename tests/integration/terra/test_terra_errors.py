"""Errors of Terra during POST /sessions: each response maps to a code, and Terra is called once."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from terra_connections.terra.client import LOGIN_WITHIN
from terra_connections.terra.transport import CONNECT_WITHIN
from tests.support.handlers import Handlers, Run, http_event
from tests.support.hostile import (
    Behavior,
    drip,
    drip_head,
    head,
    hostile,
    send_bytes,
    send_forever,
    stall_after,
    unreachable,
)
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.waiting import BUSY

FUNCTION_LIMIT_S = 28


def session_request(reference_id: str, **headers: str) -> dict[str, Any]:
    body = json.dumps({"reference_id": reference_id, "resource": "FITBIT"})
    return http_event("POST", "/sessions", body=body, headers=headers)


def at(url: str) -> dict[str, str]:
    return {"TERRA_API_URL": f"{url}/api/v2"}


@pytest.fixture(scope="module", autouse=True)
def slow_runs(handlers: Handlers) -> Iterator[Mapping[str, Future[Run]]]:
    """Runs that take the maximum time for Terra: started here, checked later."""

    def slow_run(behave: Behavior) -> Run:
        with hostile(behave) as (url, received):
            run = handlers.run("create_session", session_request("some-user"), environment=at(url))
        assert len(received) == 1
        return run

    def unreachable_run() -> Run:
        with unreachable() as url:
            return handlers.run("create_session", session_request("some-user"), environment=at(url))

    with ThreadPoolExecutor(5) as pool:
        yield {
            "is silent": pool.submit(slow_run, stall_after(60)),
            "drips": pool.submit(slow_run, drip),
            "drips its head": pool.submit(slow_run, drip_head),
            "stalls": pool.submit(slow_run, stall_after(15)),
            "accepts no connection": pool.submit(unreachable_run),
        }


SHAPES: list[object] = [
    None,
    [],
    "text",
    {},
    {"status": "success"},
    {"status": "success", "user_id": "a"},
    {"status": "success", "auth_url": "https://example.com"},
    {"user_id": None, "auth_url": "https://example.com"},
    {"user_id": 1, "auth_url": "https://example.com"},
    {"user_id": "a b", "auth_url": "https://example.com"},
    {"user_id": "a", "auth_url": None},
    {"user_id": "a", "auth_url": ""},
    {"user_id": "a", "auth_url": "javascript:alert(1)"},
    {"user_id": "a", "auth_url": "//example.com"},
    {"user_id": "a", "auth_url": "https://[half"},
    {"user_id": "a", "auth_url": "https://"},
    {"user_id": "a", "auth_url": "http://example.com"},
    {"user_id": "a", "auth_url": "http://127.0.0.1.example.com"},
    {"user_id": "a", "auth_url": "https://example.com/\r\nset-cookie: a=b"},
    {"user_id": "a", "auth_url": "https://example.com/a b"},
    {"user_id": "a", "auth_url": "https://example.com/\u00fc"},
]


def coded(status: int, code: object, **more: object) -> dict[str, Any]:
    """Build an error in Terra's newer format."""
    problem = {"type": "about:blank", "title": "no", "instance": "/", "code": code, **more}
    return {"kind": "wrong_shape", "status": status, "body": problem}


MAPPED: list[tuple[dict[str, Any], int, str]] = [
    ({"kind": "status", "status": 400}, 422, "refused_by_terra"),
    ({"kind": "legacy", "status": 400}, 422, "refused_by_terra"),
    ({"kind": "html", "status": 400}, 422, "refused_by_terra"),
    ({"kind": "empty", "status": 409}, 422, "refused_by_terra"),
    ({"kind": "empty", "status": 422}, 422, "refused_by_terra"),
    ({"kind": "status", "status": 404}, 422, "unknown_resource"),
    ({"kind": "html", "status": 404}, 422, "unknown_resource"),
    ({"kind": "status", "status": 401}, 502, "terra_rejected"),
    ({"kind": "status", "status": 403}, 502, "terra_rejected"),
    ({"kind": "html", "status": 403}, 502, "terra_rejected"),
    ({"kind": "legacy", "status": 410}, 502, "terra_rejected"),
    ({"kind": "empty", "status": 405}, 502, "terra_rejected"),
    *(({"kind": kind, "status": 402}, 502, "terra_user_limit") for kind in ("status", "legacy", "html", "empty")),
    (coded(403, "entitlement_required", product="unified_api"), 502, "terra_entitlement_required"),
    (coded(403, "entitlement_required", product=["<b>"]), 502, "terra_entitlement_required"),
    (coded(403, "environment_disabled"), 502, "terra_environment_disabled"),
    (coded(403, "something_new"), 502, "terra_rejected"),
    (coded(403, 7), 502, "terra_rejected"),
    (coded(401, "environment_disabled"), 502, "terra_rejected"),
    ({"kind": "wrong_shape", "status": 403, "body": ["entitlement_required"]}, 502, "terra_rejected"),
    (coded(503, "authorization_unavailable"), 503, "terra_authorization_unavailable"),
    (coded(503, "something_new"), 503, "terra_unavailable"),
    (coded(500, "authorization_unavailable"), 503, "terra_unavailable"),
    ({"kind": "legacy", "status": 200}, 502, "terra_rejected"),
    ({"kind": "status", "status": 500}, 503, "terra_unavailable"),
    ({"kind": "html", "status": 500}, 503, "terra_unavailable"),
    ({"kind": "empty", "status": 503}, 503, "terra_unavailable"),
    ({"kind": "html", "status": 200}, 503, "terra_unavailable"),
    ({"kind": "empty", "status": 200}, 503, "terra_unavailable"),
    ({"kind": "empty", "status": 204}, 503, "terra_unavailable"),
    ({"kind": "empty", "status": 302}, 503, "terra_unavailable"),
    ({"kind": "malformed"}, 503, "terra_unavailable"),
    ({"kind": "disconnect"}, 503, "terra_unavailable"),
    ({"kind": "disconnect", "stage": "after"}, 503, "terra_unavailable"),
    ({"kind": "status", "status": 500, "stage": "after"}, 503, "terra_unavailable"),
    *(({"kind": "wrong_shape", "body": body}, 503, "terra_unavailable") for body in SHAPES),
]


@pytest.mark.parametrize(("fault", "status", "code"), MAPPED, ids=str)
def test_each_response_of_terra_has_its_code(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str, fault: dict[str, Any], status: int, code: str
) -> None:
    terra.fault("/authenticateUser", **fault)
    before = tables.count()
    response = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in response.headers) == (status == 503)
    assert reference_id not in response.text
    assert len(terra.calls("/authenticateUser")) == 1
    assert tables.count() == before


@pytest.mark.parametrize(("retry_after", "expected"), [(0, "1"), (7, "7"), (100_000, "3600")])
def test_the_rate_limit_of_terra_is_passed_on(
    api: httpx.Client, terra: Terra, reference_id: str, retry_after: int, expected: str
) -> None:
    terra.fault("/authenticateUser", "rate_limit", retry_after=retry_after)
    response = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"})
    assert (response.status_code, response.json()["code"]) == (429, "too_many_requests")
    assert response.headers["retry-after"] == expected
    assert len(terra.calls("/authenticateUser")) == 1


@pytest.mark.parametrize("retry_after", ["Wed, 21 Oct 2026 07:28:00 GMT", "", "-1", "1.5", "\u00b2", "9" * 5000])
def test_an_invalid_retry_after_becomes_a_valid_wait(handlers: Handlers, reference_id: str, retry_after: str) -> None:
    limited = f"HTTP/1.1 429 Slow\r\nretry-after: {retry_after}\r\ncontent-length: 0\r\n\r\n".encode("latin-1")
    with hostile(send_bytes(limited)) as (url, _):
        run = handlers.run("create_session", session_request(reference_id), environment=at(url))
    assert (run.status, run.json["code"]) == (429, "too_many_requests")
    assert run.result is not None
    assert 1 <= int(run.result["headers"]["retry-after"]) <= 3600


BEHAVIORS: dict[str, Behavior] = {
    "no HTTP": send_bytes(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "nothing": send_bytes(b""),
    "half a head": send_bytes(b"HTTP/1.1 200 OK\r\ncontent-le"),
    "half a body": send_bytes(head(1000) + b'{"status"'),
    "no gzip": send_bytes(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nzzzz"),
    "a redirect": send_bytes(
        head(0, status="307 Temporary Redirect").replace(b"\r\n", b"\r\nlocation: http://x/\r\n", 1)
    ),
    "endless": send_forever,
}


@pytest.mark.parametrize("behave", BEHAVIORS.values(), ids=BEHAVIORS)
def test_an_invalid_http_response_is_unavailable_and_terra_gets_one_request(
    handlers: Handlers, reference_id: str, behave: Behavior
) -> None:
    with hostile(behave) as (url, received):
        run = handlers.run("create_session", session_request(reference_id), environment=at(url))
    assert (run.status, run.json["code"]) == (503, "terra_unavailable")
    assert len(received) == 1
    assert run.seconds < 5 + BUSY


def test_a_terra_that_refuses_connections_is_unavailable(handlers: Handlers, reference_id: str) -> None:
    run = handlers.run("create_session", session_request(reference_id), environment=at("http://127.0.0.1:9"))
    assert (run.status, run.json["code"]) == (503, "terra_unavailable")


def test_a_slow_response_of_terra_is_awaited(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    terra.fault("/authenticateUser", "slow", delay_s=4)
    assert api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"}).status_code == 201
    assert len(terra.calls("/authenticateUser")) == 1


def test_wrong_credentials_are_502(handlers: Handlers, terra: Terra, reference_id: str) -> None:
    run = handlers.run("create_session", session_request(reference_id), environment={"TERRA_DEV_ID": "another"})
    assert (run.status, run.json["code"]) == (502, "terra_rejected")
    assert len(terra.calls("/authenticateUser")) == 1


@pytest.mark.parametrize("how", ["is silent", "drips", "drips its head", "stalls", "accepts no connection"])
def test_a_timeout_of_terra_is_reported_before_the_function_times_out(
    slow_runs: Mapping[str, Future[Run]], how: str
) -> None:
    run = slow_runs[how].result()
    assert (run.status, run.json["code"]) == (503, "terra_unavailable")
    # Open logins are counted before the call to Terra, and nothing is stored.
    assert [trip for trip in run.trips if trip.startswith("dynamodb")] == ["dynamodb.BatchGetItem"]
    # The limits leave the function time to respond, on a machine that does nothing else.
    assert (LOGIN_WITHIN + 2 * CONNECT_WITHIN).total_seconds() < FUNCTION_LIMIT_S - 3
    assert run.seconds < FUNCTION_LIMIT_S + BUSY
