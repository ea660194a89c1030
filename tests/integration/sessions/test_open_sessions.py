"""The number of unfinished logins per user is limited, because each one is a pending user at Terra."""

import json
import time
from collections.abc import Mapping
from typing import Any

import httpx

from local.testing import Stack
from tests.support.api import create_session
from tests.support.handlers import STALE_INDEX, Handlers, Rule, Run, http_event
from tests.support.redirects import begin
from tests.support.tables import Tables
from tests.support.terra import Terra

BATCH, QUERY = "dynamodb.BatchGetItem", "dynamodb.Query"


def start(
    handlers: Handlers, reference_id: str, *rules: Rule, limit: int = 2, headers: Mapping[str, str] | None = None
) -> Run:
    body = json.dumps({"reference_id": reference_id, "resource": "FITBIT"})
    event = http_event("POST", "/sessions", body=body, headers=headers)
    return handlers.run("create_session", event, *rules, environment={"OPEN_SESSIONS_PER_PERSON": str(limit)})


def retry_after_of(run: Run) -> int:
    """Return the Retry-After seconds of a rejected request."""
    assert (run.status, run.json["code"]) == (429, "too_many_sessions")
    assert run.result is not None
    return int(run.result["headers"]["retry-after"])


def age(tables: Tables, session: Mapping[str, Any], *, seconds: int) -> None:
    item = tables.session(session["session_id"])
    assert item is not None
    moved = {name: item[name] - seconds * 1000 for name in ("created_at", "expires_at")}
    tables.change_session(session["session_id"], **moved)


def test_a_session_above_the_limit_is_rejected_until_the_oldest_expires(
    handlers: Handlers, api: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    first, second = create_session(api, reference_id), create_session(api, reference_id)
    age(tables, first, seconds=3000)
    request_count = len(terra.calls("/auth/authenticateUser"))
    run = start(handlers, reference_id)
    assert 500 < retry_after_of(run) <= 600
    assert run.trips == [BATCH, QUERY]
    assert len(terra.calls("/auth/authenticateUser")) == request_count
    # It expires without any job.
    age(tables, first, seconds=601)
    assert start(handlers, reference_id).status == 201
    assert 3500 < retry_after_of(start(handlers, reference_id)) <= 3600
    assert tables.session(second["session_id"]) is not None


def test_the_wait_lasts_until_the_open_sessions_are_below_the_limit(
    handlers: Handlers, api: httpx.Client, tables: Tables, reference_id: str
) -> None:
    for seconds in (3500, 3000, 2000):
        age(tables, create_session(api, reference_id), seconds=seconds)
    assert 500 < retry_after_of(start(handlers, reference_id, limit=2)) <= 600
    assert 1500 < retry_after_of(start(handlers, reference_id, limit=1)) <= 1600


def test_a_completed_login_does_not_count_against_the_limit(
    handlers: Handlers, api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    assert retry_after_of(start(handlers, reference_id, limit=1))
    attempt.return_from_login(browser, "failure")
    assert start(handlers, reference_id, limit=1).status == 201
    assert retry_after_of(start(handlers, reference_id, limit=1))


def test_each_user_has_a_separate_limit(handlers: Handlers, api: httpx.Client, reference_id: str) -> None:
    create_session(api, reference_id)
    assert retry_after_of(start(handlers, reference_id, limit=1))
    assert start(handlers, f"{reference_id}-other", limit=1).status == 201


def test_zero_disables_the_limit_and_costs_no_read(handlers: Handlers, reference_id: str) -> None:
    for _ in range(3):
        run = start(handlers, reference_id, limit=0)
        assert (run.status, run.trips) == (201, ["terra.authenticateUser", "dynamodb.TransactWriteItems"])


def test_a_repeat_is_accepted_at_the_limit_and_a_rejection_releases_its_key(
    handlers: Handlers, tables: Tables, reference_id: str
) -> None:
    first = start(handlers, reference_id, limit=1, headers={"idempotency-key": f"{reference_id}-1"})
    assert first.status == 201
    assert start(handlers, reference_id, limit=1, headers={"idempotency-key": f"{reference_id}-1"}).json == first.json
    another = {"idempotency-key": f"{reference_id}-2"}
    assert retry_after_of(start(handlers, reference_id, limit=1, headers=another))
    age(tables, first.json, seconds=3601)
    assert start(handlers, reference_id, limit=1, headers=another).status == 201


def test_a_stale_index_can_only_allow_more_sessions(handlers: Handlers, api: httpx.Client, reference_id: str) -> None:
    create_session(api, reference_id)
    assert start(handlers, reference_id, STALE_INDEX, limit=1).status == 201


def test_the_default_configuration_limits_open_sessions(browser: httpx.Client, stack: Stack, reference_id: str) -> None:
    access_token = httpx.post(f"{stack.oidc_issuer}/token", json={"subject": reference_id}, timeout=30).json()[
        "access_token"
    ]
    headers = {"authorization": f"Bearer {access_token}"}
    began = time.monotonic()
    responses = [browser.post("/sessions", json={"resource": "FITBIT"}, headers=headers) for _ in range(21)]
    assert [response.status_code for response in responses] == [201] * 20 + [429]
    assert responses[-1].json()["code"] == "too_many_sessions"
    assert 3600 - (time.monotonic() - began) - 1 <= int(responses[-1].headers["retry-after"]) <= 3600
