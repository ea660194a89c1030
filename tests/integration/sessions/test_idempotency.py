"""Idempotency-Key: one session per key, regardless of the caller, the number of retries, and crashes in between."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from local.testing import Stack
from tests.support.api import create_session
from tests.support.handlers import (
    Handlers,
    aws_error,
    broken_connection,
    http_event,
    kill,
    lost_response,
    pause,
    results_of,
)
from tests.support.tables import Item, Tables
from tests.support.terra import Terra
from tests.support.webhooks import now_s

LEASE_S = 30


@pytest.fixture
def key() -> str:
    return str(uuid4())


def body_for(reference_id: str, **more: object) -> bytes:
    return json.dumps({"reference_id": reference_id, "resource": "FITBIT", **more}).encode()


def post_session(api: httpx.Client, key: str, body: bytes) -> httpx.Response:
    return api.post("/sessions", content=body, headers={"idempotency-key": key, "content-type": "application/json"})


def event_for(key: str, body: bytes) -> dict[str, Any]:
    return http_event("POST", "/sessions", headers={"idempotency-key": key}, body=body.decode())


def the_claim(tables: Tables, before: list[Item]) -> Item | None:
    known = {item["session_id"] for item in before}
    new = [item for item in tables.claims() if item["session_id"] not in known]
    assert len(new) <= 1
    return new[0] if new else None


def test_a_repeated_request_gets_the_same_response_and_terra_gets_one_request(
    api: httpx.Client, terra: Terra, reference_id: str, key: str
) -> None:
    first = post_session(api, key, body_for(reference_id))
    assert first.status_code == 201
    for _ in range(3):
        again = post_session(api, key, body_for(reference_id))
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["location"] == first.headers["location"]
    assert len(terra.calls("/authenticateUser")) == 1


def test_another_body_is_422(api: httpx.Client, terra: Terra, reference_id: str, key: str) -> None:
    first = post_session(api, key, body_for(reference_id))
    for other in (body_for(reference_id, language="de"), body_for(reference_id) + b" ", body_for(f"{reference_id}2")):
        response = post_session(api, key, other)
        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert post_session(api, key, body_for(reference_id)).json() == first.json()
    assert len(terra.calls("/authenticateUser")) == 1


def test_another_key_is_another_session(api: httpx.Client, terra: Terra, reference_id: str, key: str) -> None:
    ids = {post_session(api, k, body_for(reference_id)).json()["session_id"] for k in (key, key.upper(), f"{key}x")}
    ids |= {create_session(api, reference_id)["session_id"], create_session(api, reference_id)["session_id"]}
    assert len(ids) == len(terra.calls("/authenticateUser")) == 5


@pytest.mark.parametrize(("letters", "status"), [(1, 201), (255, 201), (256, 400), (5000, 400)])
def test_a_key_has_up_to_255_characters(
    api: httpx.Client, terra: Terra, reference_id: str, letters: int, status: int
) -> None:
    response = post_session(
        api, ("x" * letters)[: max(letters - 36, 1)] + str(uuid4())[: letters - 1], body_for(reference_id)
    )
    assert response.status_code == status
    if status == 400:
        assert [error["field"] for error in response.json()["errors"]] == ["Idempotency-Key"]
    assert len(terra.calls("/authenticateUser")) == (status == 201)


def test_an_empty_key_is_400(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    assert post_session(api, "", body_for(reference_id)).status_code == 400
    assert terra.calls("/authenticateUser") == []


@pytest.mark.parametrize("requests", [2, 16])
def test_concurrent_requests_send_terra_one_request(
    stack: Stack, terra: Terra, reference_id: str, key: str, requests: int
) -> None:
    terra.fault("/authenticateUser", "slow", delay_s=0.3)
    headers = {"authorization": f"Bearer {stack.service_key}"}
    with (
        httpx.Client(base_url=stack.api_url, headers=headers, timeout=60) as client,
        ThreadPoolExecutor(requests) as pool,
    ):
        responses = list(pool.map(lambda _: post_session(client, key, body_for(reference_id)), range(requests)))
    made = [response.json() for response in responses if response.status_code == 201]
    others = [response for response in responses if response.status_code != 201]
    assert made
    assert all(session == made[0] for session in made)
    assert {(response.status_code, response.json()["code"]) for response in others} <= {(409, "request_in_progress")}
    assert all(int(response.headers["retry-after"]) >= 1 for response in others)
    assert len(terra.calls("/authenticateUser")) == 1


def test_a_repeat_during_the_first_request_is_409_and_another_body_is_422(
    api: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str, key: str
) -> None:
    body = body_for(reference_id)
    with handlers.start("create_session", event_for(key, body), pause("terra.authenticateUser:before")) as first:
        first.until_paused()
        second = post_session(api, key, body)
        assert (second.status_code, second.json()["code"]) == (409, "request_in_progress")
        assert post_session(api, key, body_for(f"{reference_id}2")).status_code == 422
        first.resume()
        [done] = results_of([first])
    assert post_session(api, key, body).json() == done.json
    assert len(terra.calls("/authenticateUser")) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 404},
        {"kind": "status", "status": 401},
        {"kind": "rate_limit"},
        {"kind": "disconnect"},
        {"kind": "malformed"},
    ],
    ids=str,
)
def test_a_failed_request_releases_the_key(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str, key: str, fault: dict[str, Any]
) -> None:
    before = tables.claims()
    terra.fault("/authenticateUser", **fault, times=1)
    assert post_session(api, key, body_for(reference_id)).status_code >= 400
    assert the_claim(tables, before) is None
    assert post_session(api, key, body_for(reference_id)).status_code == 201
    assert len(terra.calls("/authenticateUser")) == 2


@pytest.mark.parametrize("body", [b"{}", b"no JSON", json.dumps({"reference_id": "a", "resource": "x"}).encode()])
def test_a_malformed_request_does_not_claim_the_key(
    api: httpx.Client, tables: Tables, reference_id: str, key: str, body: bytes
) -> None:
    before = tables.claims()
    assert post_session(api, key, body).status_code == 400
    assert post_session(api, key, body_for(reference_id, return_to="nowhere")).status_code == 422
    assert the_claim(tables, before) is None
    assert post_session(api, key, body_for(reference_id)).status_code == 201


def test_a_claim_ends_with_its_session(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str, key: str
) -> None:
    before = tables.claims()
    first = post_session(api, key, body_for(reference_id)).json()
    claim = the_claim(tables, before)
    session = tables.session(first["session_id"])
    assert claim is not None
    assert session is not None
    assert claim["expires_at"] == session["expires_at"]
    assert key not in str(claim)
    assert session["claim_id"] == claim["session_id"]
    tables.change_session(claim["session_id"], expires_at=now_s() * 1000 - 1)
    again = post_session(api, key, body_for(reference_id))
    assert again.status_code == 201
    assert again.json()["session_id"] != first["session_id"]
    assert len(terra.calls("/authenticateUser")) == 2


# -- errors and crashes ------------------------------------------------------------------------------------------------

POINTS = [
    "dynamodb.PutItem:before",
    "dynamodb.PutItem:after",
    "dynamodb.BatchGetItem:before",
    "dynamodb.BatchGetItem:after",
    "secrets-manager.GetSecretValue:before",
    "secrets-manager.GetSecretValue:after",
    "terra.authenticateUser:before",
    "terra.authenticateUser:after",
    "dynamodb.TransactWriteItems:before",
    "dynamodb.TransactWriteItems:after",
    "return",
]


def test_the_list_of_steps_is_complete(terra: Terra, handlers: Handlers, reference_id: str, key: str) -> None:
    assert terra
    assert handlers.run("create_session", event_for(key, body_for(reference_id))).points == POINTS


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_releases_the_key_after_its_lease(
    api: httpx.Client,
    terra: Terra,
    handlers: Handlers,
    tables: Tables,
    reference_id: str,
    key: str,
    point: str,
) -> None:
    before, body = tables.claims(), body_for(reference_id)
    assert handlers.run("create_session", event_for(key, body), kill(point)).was_killed
    place = POINTS.index(point)
    claim = the_claim(tables, before)
    request_count = len(terra.calls("/authenticateUser"))
    assert request_count == (place > POINTS.index("terra.authenticateUser:before"))
    if place == 0:
        assert claim is None
        assert post_session(api, key, body).status_code == 201
        return
    assert claim is not None
    if place > POINTS.index("dynamodb.TransactWriteItems:before"):
        response = post_session(api, key, body)
        assert response.json() == json.loads(claim["answer"])
        assert tables.session(response.json()["session_id"]) is not None
        assert len(terra.calls("/authenticateUser")) == 1
        return
    assert "answer" not in claim
    assert now_s() < int(claim["expires_at"]) / 1000 <= now_s() + LEASE_S + 1
    assert post_session(api, key, body).status_code == 409
    tables.change_session(claim["session_id"], expires_at=now_s() * 1000 - 1)
    assert post_session(api, key, body).status_code == 201
    assert len(terra.calls("/authenticateUser")) == request_count + 1


def test_a_request_that_outlived_its_lease_stores_nothing(
    api: httpx.Client, terra: Terra, handlers: Handlers, tables: Tables, reference_id: str, key: str
) -> None:
    before, body = tables.claims(), body_for(reference_id)
    with handlers.start("create_session", event_for(key, body), pause("dynamodb.TransactWriteItems:before")) as slow:
        slow.until_paused()
        claim = the_claim(tables, before)
        assert claim is not None
        tables.change_session(claim["session_id"], expires_at=now_s() * 1000 - 1)
        second = post_session(api, key, body)
        assert second.status_code == 201
        counted = tables.count()
        slow.resume()
        run = slow.end()
    assert (run.status, run.json["code"]) == (409, "request_in_progress")
    assert tables.count() == counted
    assert post_session(api, key, body).json() == second.json()
    assert len(terra.calls("/authenticateUser")) == 2


def test_a_claim_whose_response_was_lost_is_recognized(
    terra: Terra, handlers: Handlers, reference_id: str, key: str
) -> None:
    run = handlers.run(
        "create_session", event_for(key, body_for(reference_id)), lost_response("dynamodb.PutItem:before")
    )
    assert run.status == 201
    assert len(terra.calls("/authenticateUser")) == 1


def test_a_session_whose_response_was_lost_is_returned_to_the_repeat(
    api: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str, key: str
) -> None:
    lost = lost_response("dynamodb.TransactWriteItems*:before", times=2)
    assert handlers.run("create_session", event_for(key, body_for(reference_id)), lost).status == 503
    again = post_session(api, key, body_for(reference_id))
    assert again.status_code == 201
    assert len(terra.calls("/authenticateUser")) == 1


@pytest.mark.parametrize(
    "failure",
    [
        aws_error("dynamodb.TransactWriteItems*:before", "InternalServerError", status=500),
        aws_error("dynamodb.TransactWriteItems*:before", "ProvisionedThroughputExceededException"),
        broken_connection("dynamodb.TransactWriteItems*:before", "reset"),
    ],
    ids=["500", "throttled", "reset"],
)
def test_a_session_that_cannot_be_stored_releases_the_key(
    api: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str, key: str, failure: dict[str, Any]
) -> None:
    run = handlers.run("create_session", event_for(key, body_for(reference_id)), failure)
    assert (run.status, run.json["code"]) == (503, "storage_unavailable")
    assert post_session(api, key, body_for(reference_id)).status_code == 201
    assert len(terra.calls("/authenticateUser")) == 2


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError"])
@pytest.mark.parametrize("place", [0, 1], ids=["session", "claim"])
def test_a_session_whose_write_conflicted_is_stored_or_can_be_repeated(
    api: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str, key: str, code: str, place: int
) -> None:
    codes = ["None", "None"]
    codes[place] = code
    reasons = [{"Code": one} for one in codes]
    conflict = aws_error(
        "dynamodb.TransactWriteItems:before", "TransactionCanceledException", CancellationReasons=reasons
    )
    run = handlers.run("create_session", event_for(key, body_for(reference_id)), conflict)
    assert run.status in {201, 503}
    again = post_session(api, key, body_for(reference_id))
    assert again.status_code == 201
    assert len(terra.calls("/authenticateUser")) == (1 if run.status == 201 else 2)


def test_a_failed_release_does_not_hide_the_first_error(
    api: httpx.Client, terra: Terra, handlers: Handlers, tables: Tables, reference_id: str, key: str
) -> None:
    before = tables.claims()
    terra.fault("/authenticateUser", "status", status=404, times=1)
    run = handlers.run(
        "create_session",
        event_for(key, body_for(reference_id)),
        broken_connection("dynamodb.DeleteItem*:before", "silence"),
    )
    assert (run.status, run.json["code"]) == (422, "unknown_resource")
    claim = the_claim(tables, before)
    assert claim is not None
    assert post_session(api, key, body_for(reference_id)).status_code == 409
