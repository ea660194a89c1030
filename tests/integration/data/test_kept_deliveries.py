"""A data delivery is in the bucket before it is acknowledged: once, whatever crashes, fails or is repeated."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from local.testing import Stack
from tests.support.data import Bucket, DataListener, daily
from tests.support.handlers import (
    Handlers,
    Rule,
    aws_error,
    broken_connection,
    cancelled,
    kill,
    lost_response,
    s3_error,
)
from tests.support.metrics import metrics
from tests.support.tables import Tables
from tests.support.terra_events import auth_event, new_user_id
from tests.support.webhooks import Webhook, now_s

Make = Callable[..., Webhook]

PUT, WRITE, BATCH = "s3.PutObject", "dynamodb.TransactWriteItems", "dynamodb.BatchGetItem"
POINTS = [
    "secrets-manager.GetSecretValue:before",
    "secrets-manager.GetSecretValue:after",
    f"{PUT}:before",
    f"{PUT}:after",
    f"{WRITE}:before",
    f"{WRITE}:after",
    "return",
]
IGNORE = {"PAYLOADS_BUCKET": ""}
"""A stack with DataDeliveries=ignore."""
DETAIL = {
    *("event_id", "trace_id", "terra_reference", "user_id", "connection_id", "reference_id", "provider", "type"),
    *("position", "records", "first_day", "last_day", "bytes", "sha256", "bucket", "key", "replay_id"),
}


def event_id_of(bucket: Bucket, key: str) -> str:
    return bucket.metadata(key)["event-id"]


def test_a_kept_delivery_costs_two_calls_and_an_auth_event_as_many_as_without_data(
    handlers: Handlers, webhook: Make, reference_id: str
) -> None:
    data = webhook(daily(new_user_id()))
    assert handlers.run("terra_webhook", data.event()).trips == [PUT, WRITE]
    assert handlers.run("terra_webhook", data.event()).trips == [PUT, WRITE]
    auth = webhook(auth_event(new_user_id(), reference_id))
    assert handlers.run("terra_webhook", auth.event()).trips == [BATCH, WRITE]


def test_with_ignore_a_data_delivery_is_counted_and_nothing_of_it_is_kept(
    handlers: Handlers, webhook: Make, bucket: Bucket
) -> None:
    user_id = new_user_id()
    run = handlers.run("terra_webhook", webhook(daily(user_id)).event(), environment=IGNORE)
    assert (run.json["status"], run.trips) == ("accepted", [WRITE])
    assert bucket.of_user(user_id) == []
    assert metrics(run)["DataDiscarded"] == [{"value": 1}]
    ping = webhook({"type": "s3_payload", "status": "success", "url": "https://example.com/a", "expires_in": 300})
    assert metrics(handlers.run("terra_webhook", ping.event(), environment=IGNORE))["DataDiscarded"]
    auth = webhook(auth_event(new_user_id(), None))
    assert "DataDiscarded" not in metrics(handlers.run("terra_webhook", auth.event(), environment=IGNORE))


def test_the_body_is_stored_as_it_came_and_announced_without_health_data(
    browser: httpx.Client, webhook: Make, bucket: Bucket, listener: DataListener
) -> None:
    user_id = new_user_id()
    body = json.dumps(daily(user_id), indent=3).encode()
    delivery = webhook(body, ordering=(now_s() - 60) * 1000)
    headers = {**delivery.headers, "terra-reference": "request-1"}
    assert delivery.post(browser, headers).json() == {"status": "accepted"}
    [key] = bucket.of_user(user_id)
    assert bucket.body(key) == body
    [detail] = listener.expect(user_id, 1)
    assert detail.keys() == DETAIL
    signed = hashlib.sha256(f"{delivery.t}.".encode() + body).hexdigest()
    assert key == f"p/{user_id}/daily/{delivery.t * 1000:015d}-{signed[:32]}.json.gz"
    assert detail | {"event_id": ""} == {
        "event_id": "",
        "trace_id": delivery.trace_id,
        "terra_reference": "request-1",
        "user_id": user_id,
        "connection_id": None,
        "reference_id": None,
        "provider": "GARMIN",
        "type": "daily",
        "position": delivery.ordering,
        "records": 1,
        "first_day": "2026-11-01",
        "last_day": "2026-11-01",
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "bucket": bucket.name,
        "key": key,
        "replay_id": None,
    }


def test_an_event_names_the_owner_of_the_connection(
    browser: httpx.Client, webhook: Make, listener: DataListener, reference_id: str
) -> None:
    user_id = new_user_id()
    webhook(auth_event(user_id, reference_id)).post(browser)
    webhook(daily(user_id)).post(browser)
    [detail] = listener.expect(user_id, 1)
    assert detail["reference_id"] == reference_id
    assert detail["connection_id"].startswith("con_")


BODIES: dict[str, tuple[bytes, str]] = {
    "a FIT file": (b"\x0e\x10\x00\x08.FIT\xff", ".bin.gz"),
    "one byte": (b"{", ".bin.gz"),
    "a list": (b"[1, 2]", ".json.gz"),
    "a type that cannot be a part of a key": (b'{"type": "../../etc"}', ".json.gz"),
    "a deeply nested body": (b"[" * 100_000, ".bin.gz"),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_without_a_user_is_kept_under_its_own_prefix(
    handlers: Handlers, webhook: Make, bucket: Bucket, name: str
) -> None:
    content, suffix = BODIES[name]
    delivery = webhook(content)
    before = set(bucket.keys("n/unknown/"))
    event = {**delivery.event(), "body": content.decode("latin-1")} if name != "a FIT file" else base64_event(delivery)
    assert handlers.run("terra_webhook", event).status == 200
    [key] = set(bucket.keys("n/unknown/")) - before
    assert key.endswith(suffix)
    assert bucket.body(key) == content


def base64_event(delivery: Webhook) -> dict[str, Any]:
    event = delivery.but(body=b"").event()
    return {**event, "headers": delivery.headers, "body": b64encode(delivery.body).decode(), "isBase64Encoded": True}


# --- crashes and failures --------------------------------------------------------------------------------------------


def test_the_list_of_steps_is_complete(handlers: Handlers, webhook: Make) -> None:
    assert handlers.run("terra_webhook", webhook(daily(new_user_id())).event()).points == POINTS


@pytest.mark.parametrize("point", POINTS)
def test_after_a_crash_the_retry_stores_the_payload_once_and_announces_it_with_the_same_id(
    handlers: Handlers, webhook: Make, bucket: Bucket, listener: DataListener, point: str
) -> None:
    user_id = new_user_id()
    delivery = webhook(daily(user_id))
    assert handlers.run("terra_webhook", delivery.event(), kill(point)).was_killed
    first = {event_id_of(bucket, key) for key in bucket.of_user(user_id)}
    assert handlers.run("terra_webhook", delivery.event()).status == 200
    [key] = bucket.of_user(user_id)
    details = listener.expect(user_id, 1)
    assert (
        {detail["event_id"] for detail in details} == {event_id_of(bucket, key)} == first | {event_id_of(bucket, key)}
    )


REFUSALS: dict[str, Rule] = {
    "S3 throttles": s3_error(f"{PUT}*:before", "SlowDown", status=503),
    "S3 fails": s3_error(f"{PUT}*:before", "InternalError", status=500),
    "the bucket does not exist": s3_error(f"{PUT}*:before", "NoSuchBucket", status=404),
    "access is denied": s3_error(f"{PUT}*:before", "AccessDenied", status=403),
    "other requests write the object": s3_error(f"{PUT}*:before", "ConditionalRequestConflict", status=409),
    "S3 does not respond": broken_connection(f"{PUT}*:before", "silence"),
    "the response of S3 is lost twice": lost_response(f"{PUT}*:before", times=2),
    "DynamoDB throttles": aws_error(f"{WRITE}*:before", "ThrottlingException"),
    "the transaction is throttled": cancelled("ThrottlingError", "None", "None"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_delivery_that_cannot_be_kept_is_not_acknowledged_and_its_retry_keeps_it_once(
    handlers: Handlers, webhook: Make, bucket: Bucket, tables: Tables, listener: DataListener, refusal: str
) -> None:
    user_id = new_user_id()
    delivery = webhook(daily(user_id))
    assert handlers.run("terra_webhook", delivery.event(), REFUSALS[refusal]).status == 503
    assert tables.deliveries(delivery.keys) == []
    assert handlers.run("terra_webhook", delivery.event()).json == {"status": "accepted"}
    [key] = bucket.of_user(user_id)
    assert {detail["event_id"] for detail in listener.expect(user_id, 1)} == {event_id_of(bucket, key)}


@pytest.mark.parametrize(
    "rule",
    [
        s3_error(f"{PUT}*:before", "SlowDown", status=503, times=1),
        s3_error(f"{PUT}*:before", "ConditionalRequestConflict", status=409, times=2),
        lost_response(f"{PUT}:before", times=1),
    ],
    ids=["one failure", "two conflicts", "a lost response"],
)
def test_a_short_disturbance_of_s3_needs_no_retry_by_terra(
    handlers: Handlers, webhook: Make, bucket: Bucket, rule: Rule
) -> None:
    user_id = new_user_id()
    assert handlers.run("terra_webhook", webhook(daily(user_id)).event(), rule).json == {"status": "accepted"}
    assert len(bucket.of_user(user_id)) == 1


# --- repeats ---------------------------------------------------------------------------------------------------------


def test_a_captured_body_under_1000_trace_ids_and_ordering_times_is_one_payload(
    stack: Stack, webhook: Make, bucket: Bucket, listener: DataListener
) -> None:
    user_id = new_user_id()
    first = webhook(daily(user_id))
    copies = [first.but(trace_id=f"copy-{number}", ordering=first.t * 1000 - number) for number in range(1000)]
    with httpx.Client(base_url=stack.api_url, timeout=120) as client, ThreadPoolExecutor(8) as pool:
        statuses = [response.json()["status"] for response in pool.map(lambda each: each.post(client), copies)]
    assert sorted(statuses) == ["accepted"] + ["duplicate"] * 999
    assert len(bucket.of_user(user_id)) == 1
    assert len(listener.expect(user_id, 1)) == 1


def test_a_retry_that_is_signed_again_is_announced_once(
    browser: httpx.Client, webhook: Make, bucket: Bucket, listener: DataListener
) -> None:
    """The object of the retry stays without a pointer until its retention ends: deleting it could race a copy."""
    user_id = new_user_id()
    first = webhook(daily(user_id))
    assert first.post(browser).json() == {"status": "accepted"}
    assert first.but(t=first.t + 7).post(browser).json() == {"status": "duplicate"}
    later = webhook(daily(user_id, steps=2))
    later.post(browser)
    announced = {detail["event_id"] for detail in listener.expect(user_id, 2)}
    assert len(announced) == 2
    assert len(bucket.of_user(user_id)) == 3


def test_a_value_that_returns_to_an_earlier_one_is_three_deliveries(
    browser: httpx.Client, webhook: Make, bucket: Bucket, listener: DataListener
) -> None:
    user_id, t = new_user_id(), now_s()
    for number, steps in enumerate((100, 120, 100)):
        delivery = webhook(daily(user_id, steps=steps), t=t + number, ordering=(t + number) * 1000)
        assert delivery.post(browser).json() == {"status": "accepted"}
    events = sorted(listener.expect(user_id, 3), key=lambda each: each["position"])
    bodies = [json.loads(bucket.body(event["key"])) for event in events]
    assert [body["data"][0]["distance_data"]["steps"] for body in bodies] == [100, 120, 100]


# --- sizes -----------------------------------------------------------------------------------------------------------

MEGABYTE = 1024 * 1024


@pytest.mark.parametrize(("size", "status"), [(5.5, 200), (5.7, 200), (6.5, 413), (10.5, 413)])
def test_bodies_up_to_the_limit_of_lambda_are_kept(
    browser: httpx.Client, webhook: Make, bucket: Bucket, size: float, status: int
) -> None:
    user_id = new_user_id()
    body = json.dumps(daily(user_id, padding="x" * (int(size * MEGABYTE) - 500))).encode()
    assert webhook(body).post(browser).status_code == status
    stored = [bucket.body(key) for key in bucket.of_user(user_id)]
    assert stored == ([body] if status == 200 else [])


def test_a_body_of_one_byte_is_kept(browser: httpx.Client, webhook: Make, bucket: Bucket) -> None:
    delivery = webhook(b"7")
    assert delivery.post(browser).json() == {"status": "accepted"}
    [key] = [key for key in bucket.keys("n/unknown/") if f"{delivery.t * 1000:015d}-{delivery.keys[-1][7:39]}" in key]
    assert bucket.body(key) == b"7"
