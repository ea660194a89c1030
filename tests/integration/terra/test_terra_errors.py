"""Errors of Terra during POST /sessions: each response maps to a code, and Terra is called once."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.handlers import Handlers, Run, http_event
from tests.support.hostile import (
    Talk,
    answer,
    drip,
    drip_head,
    head,
    hostile,
    stall_after,
    talk_forever,
    unreachable,
)
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.waiting import BUSY

FUNCTION_LIMIT_S = 28


def asking(reference_id: str, **headers: str) -> dict[str, Any]:
    body = json.dumps({"reference_id": reference_id, "resource": "FITBIT"})
    return http_event("POST", "/sessions", body=body, headers=headers)


def at(url: str) -> dict[str, str]:
    return {"TERRA_API_URL": f"{url}/api/v2"}


@pytest.fixture(scope="module", autouse=True)
def patience(handlers: Handlers) -> Iterator[Mapping[str, Future[Run]]]:
    """Runs that take the maximum time for Terra: started here, checked later."""

    def long(talk: Talk) -> Run:
        with hostile(talk) as (url, heard):
            run = handlers.run("create_session", asking("somebody"), environment=at(url))
        assert len(heard) == 1
        return run

    def in_vain() -> Run:
        with unreachable() as url:
            return handlers.run("create_session", asking("somebody"), environment=at(url))

    with ThreadPoolExecutor(5) as pool:
        yield {
            "is silent": pool.submit(long, stall_after(60)),
            "drips": pool.submit(long, drip),
            "drips its head": pool.submit(long, drip_head),
            "stalls": pool.submit(long, stall_after(15)),
            "lets nobody connect": pool.submit(in_vain),
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
    answered = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"})
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    assert answered.headers["content-type"] == "application/problem+json"
    assert ("retry-after" in answered.headers) == (status == 503)
    assert reference_id not in answered.text
    assert len(terra.calls("/authenticateUser")) == 1
    assert tables.count() == before


@pytest.mark.parametrize(("asked", "told"), [(0, "1"), (7, "7"), (100_000, "3600")])
def test_the_rate_limit_of_terra_is_passed_on(
    api: httpx.Client, terra: Terra, reference_id: str, asked: int, told: str
) -> None:
    terra.fault("/authenticateUser", "rate_limit", retry_after=asked)
    answered = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"})
    assert (answered.status_code, answered.json()["code"]) == (429, "too_many_requests")
    assert answered.headers["retry-after"] == told
    assert len(terra.calls("/authenticateUser")) == 1


@pytest.mark.parametrize("retry_after", ["Wed, 21 Oct 2026 07:28:00 GMT", "", "-1", "1.5", "\u00b2", "9" * 5000])
def test_an_invalid_retry_after_becomes_a_valid_wait(handlers: Handlers, reference_id: str, retry_after: str) -> None:
    limited = f"HTTP/1.1 429 Slow\r\nretry-after: {retry_after}\r\ncontent-length: 0\r\n\r\n".encode("latin-1")
    with hostile(answer(limited)) as (url, _):
        run = handlers.run("create_session", asking(reference_id), environment=at(url))
    assert (run.status, run.json["code"]) == (429, "too_many_requests")
    assert run.result is not None
    assert 1 <= int(run.result["headers"]["retry-after"]) <= 3600


TALKS: dict[str, Talk] = {
    "no HTTP": answer(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "nothing": answer(b""),
    "half a head": answer(b"HTTP/1.1 200 OK\r\ncontent-le"),
    "half a body": answer(head(1000) + b'{"status"'),
    "no gzip": answer(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nzzzz"),
    "a redirect": answer(head(0, status="307 Temporary Redirect").replace(b"\r\n", b"\r\nlocation: http://x/\r\n", 1)),
    "endless": talk_forever,
}


@pytest.mark.parametrize("talk", TALKS.values(), ids=TALKS)
def test_an_invalid_http_response_is_unavailable_and_terra_gets_one_request(
    handlers: Handlers, reference_id: str, talk: Talk
) -> None:
    with hostile(talk) as (url, heard):
        run = handlers.run("create_session", asking(reference_id), environment=at(url))
    assert (run.status, run.json["code"]) == (503, "terra_unavailable")
    assert len(heard) == 1
    assert run.seconds < 5 + BUSY


def test_a_terra_that_refuses_connections_is_unavailable(handlers: Handlers, reference_id: str) -> None:
    run = handlers.run("create_session", asking(reference_id), environment=at("http://127.0.0.1:9"))
    assert (run.status, run.json["code"]) == (503, "terra_unavailable")


def test_a_slow_response_of_terra_is_awaited(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    terra.fault("/authenticateUser", "slow", delay_s=4)
    assert api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"}).status_code == 201
    assert len(terra.calls("/authenticateUser")) == 1


def test_wrong_credentials_are_502(handlers: Handlers, terra: Terra, reference_id: str) -> None:
    run = handlers.run("create_session", asking(reference_id), environment={"TERRA_DEV_ID": "somebody-else"})
    assert (run.status, run.json["code"]) == (502, "terra_rejected")
    assert len(terra.calls("/authenticateUser")) == 1


@pytest.mark.parametrize("how", ["is silent", "drips", "drips its head", "stalls", "lets nobody connect"])
def test_a_timeout_of_terra_is_reported_before_the_function_times_out(
    patience: Mapping[str, Future[Run]], how: str
) -> None:
    run = patience[how].result()
    assert (run.status, run.json["code"]) == (503, "terra_unavailable")
    # Open logins are counted before the call to Terra, and nothing is stored.
    assert [trip for trip in run.trips if trip.startswith("dynamodb")] == ["dynamodb.BatchGetItem"]
    assert run.seconds < FUNCTION_LIMIT_S - 3
