"""Logs contain ids and hashes: no reference_id, token, signature or body. Metrics are counted where they happen."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from terra_connections.ids import ReferenceId
from terra_connections.users.pseudonym import Pseudonyms
from tests.support.handlers import Handlers, http_event
from tests.support.metrics import metrics
from tests.support.redirects import begin
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.webhooks import Webhook


def test_a_delivery_is_counted_by_type_outcome_age_and_secret(
    handlers: Handlers, webhook: Callable[..., Webhook], reference_id: str
) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    first = metrics(handlers.run("terra_webhook", delivery.event()))
    assert first["Deliveries"] == [{"type": "auth", "outcome": "accepted", "value": 1}]
    assert 0 <= first["DeliveryAge"][0]["value"] < 60
    assert [signature["value"] for signature in first["Signatures"]] == [1]
    again = metrics(handlers.run("terra_webhook", delivery.event()))
    assert again["Deliveries"] == [{"type": "auth", "outcome": "duplicate", "value": 1}]


def test_a_forged_webhook_is_counted(handlers: Handlers, webhook: Callable[..., Webhook], reference_id: str) -> None:
    forged = webhook(auth_event(new_user_id(), reference_id)).but(secret="wrong")
    run = handlers.run("terra_webhook", forged.event())
    assert metrics(run)["Problems"] == [{"function": "terra_webhook", "code": "not_signed", "value": 1}]


@pytest.mark.parametrize(
    ("kind", "details", "outcome", "failures"),
    [
        ("slow", {"delay_s": 0.2}, "2xx", 0),
        ("status", {"status": 500}, "5xx", 1),
        ("status", {"status": 401}, "4xx", 1),
        ("status", {"status": 402}, "4xx", 1),
        ("status", {"status": 403}, "4xx", 1),
        ("status", {"status": 404}, "4xx", 0),
        ("disconnect", {}, "none", 1),
    ],
)
def test_the_responses_of_terra_are_counted_and_timed(
    handlers: Handlers, terra: Terra, reference_id: str, kind: str, details: dict[str, Any], outcome: str, failures: int
) -> None:
    terra.fault("/auth/authenticateUser", kind, times=1, **details)
    body = json.dumps({"reference_id": reference_id, "resource": "FITBIT"})
    counted = metrics(handlers.run("create_session", http_event("POST", "/sessions", body=body)))
    # After a 404 the function reads the list of providers, to explain the error.
    assert counted["TerraCalls"][0] == {"call": "/auth/authenticateUser", "outcome": outcome, "value": 1}
    assert counted["TerraLatency"][0]["value"] > (150 if kind == "slow" else 0)
    assert len(counted.get("TerraFailures", [])) == failures


def test_no_log_line_contains_a_reference_id_or_a_secret(
    handlers: Handlers, api: httpx.Client, terra: Terra, webhook: Callable[..., Webhook], reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    delivery = webhook(auth_event(attempt.user_id, reference_id, secret="health-data"))
    body = json.dumps({"reference_id": reference_id, "resource": "FITBIT"})
    by_user = http_event("GET", "/connections", query=f"reference_id={reference_id}")
    runs = [
        handlers.run("create_session", http_event("POST", "/sessions", body=body)),
        handlers.run("create_session", http_event("POST", "/sessions", body=body.replace("FITBIT", "fitbit"))),
        handlers.run("terra_webhook", delivery.event()),
        handlers.run("terra_webhook", delivery.but(secret="wrong").event()),
        handlers.run("auth_success", attempt.event("success", user_id=reference_id, reference_id=reference_id)),
        handlers.run("auth_failure", attempt.event("failure", reason=reference_id)),
        handlers.run("list_connections", by_user),
        handlers.run(
            "sync_connections", http_event("POST", "/connections/sync", body=json.dumps({"reference_id": reference_id}))
        ),
        handlers.run("erase_person", http_event("POST", "/erasures", body=json.dumps({"reference_id": reference_id}))),
    ]
    secrets = {
        "the reference_id": reference_id,
        "the state": attempt.state,
        "the failure's state": attempt.failure_state,
        "the signature": delivery.signature.partition("v1=")[2],
        "the body": "health-data",
        "the service key": handlers.stack.service_key,
        "the signing secret": handlers.stack.signing_secret,
        "Terra's key": handlers.stack.terra_api_key,
    }
    for run in runs:
        assert run.status
        assert run.log
        assert [name for name, secret in secrets.items() if secret in run.log] == []


def test_every_request_is_logged_in_one_line_with_its_request_id(handlers: Handlers, reference_id: str) -> None:
    run = handlers.run("list_connections", http_event("GET", "/connections", query=f"reference_id={reference_id}"))
    [line] = [json.loads(line) for line in run.log.splitlines() if "_aws" not in line]
    assert line["message"] == "list_connections"
    assert (line["status"], line["request_id"]) == (200, "integration")
    key = handlers.environments["list_connections"]["PSEUDONYM_KEY"]
    assert line["user_hash"] == Pseudonyms(key).in_logs(ReferenceId(reference_id))
    assert hashlib.sha256(reference_id.encode()).hexdigest()[:16] not in run.log
