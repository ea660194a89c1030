"""Each delivery is accepted once, in any form and with any number of repeats. 200 means durable; no partial writes."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from local.testing import Stack
from tests.support.api import connections_of
from tests.support.handlers import (
    Handlers,
    Rule,
    aws_error,
    broken_connection,
    cancelled,
    fake_response,
    lost_response,
    pause,
)
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.waiting import BUSY, eventually
from tests.support.webhooks import Webhook, now_s

Make = Callable[..., Webhook]

MAX_AGE_S = 90_000
MAX_AHEAD_S = 300


def status_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json().get("status", "")


def at_once(work: Iterable[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """Run all of them in threads that start together."""
    jobs = list(work)
    start = threading.Barrier(len(jobs))

    def run(job: Callable[[], httpx.Response]) -> httpx.Response:
        start.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


@pytest.mark.parametrize(
    "repeat",
    [
        pytest.param(lambda first: first, id="the same bytes under the same trace id"),
        pytest.param(lambda first: first.but(trace_id="another"), id="the same bytes under another trace id"),
        pytest.param(lambda first: first.but(trace_id=None), id="the same bytes without a trace id"),
        pytest.param(lambda first: first.but(t=first.t - 7), id="signed again under the same trace id"),
        pytest.param(lambda first: first.but(ordering=int(first.ordering or 0) - 1), id="ordered before"),
    ],
)
def test_a_repeated_delivery_changes_nothing(
    browser: httpx.Client,
    tables: Tables,
    webhook: Make,
    reference_id: str,
    repeat: Callable[[Webhook], Webhook],
) -> None:
    first = webhook(deauth_event(user_id := new_user_id(), reference_id), ordering=now_s() * 1000 - 60_000)
    assert status_of(first.post(browser)) == (200, "accepted")
    before = tables.connection(user_id)
    for _ in range(2):
        assert status_of(repeat(first).post(browser)) == (200, "duplicate")
    assert tables.connection(user_id) == before
    assert before is not None
    assert before["version"] == 1


def test_a_delivery_without_a_trace_id_is_recognized_by_its_signed_content(
    browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    first = webhook(auth_event(new_user_id(), reference_id), trace_id=None)
    assert status_of(first.post(browser)) == (200, "accepted")
    assert status_of(first.post(browser)) == (200, "duplicate")
    assert len(tables.deliveries(first.keys)) == 1


def test_a_delivery_signed_again_without_a_trace_id_changes_nothing(
    browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    first = webhook(auth_event(user_id := new_user_id(), reference_id), trace_id=None, ordering=now_s() * 1000 - 60_000)
    first.post(browser)
    before = tables.facts(user_id)
    assert status_of(first.but(t=first.t + 5).post(browser)) == (200, "accepted")
    assert tables.facts(user_id) == before


def test_32_concurrent_copies_of_a_delivery_are_accepted_once(
    stack: Stack, tables: Tables, webhook: Make, reference_id: str
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id))
    limits = httpx.Limits(max_connections=32)
    with httpx.Client(base_url=stack.api_url, timeout=60, limits=limits) as client:
        responses = [status_of(response) for response in at_once([lambda: delivery.post(client)] * 32)]
    assert sorted(responses) == [(200, "accepted")] + [(200, "duplicate")] * 31
    assert len(tables.deliveries(delivery.keys)) == 2
    item = tables.connection(user_id)
    assert item is not None
    assert item["version"] == 1


def test_32_concurrent_events_for_one_connection_all_count(
    stack: Stack, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    user_id, start = new_user_id(), now_s() * 1000 - 100_000
    deliveries = [
        webhook((auth_event if n % 2 else deauth_event)(user_id, f"{reference_id}-{n}"), ordering=start + n * 1000)
        for n in range(32)
    ]
    limits = httpx.Limits(max_connections=32)
    with httpx.Client(base_url=stack.api_url, timeout=60, limits=limits) as client:
        responses = at_once([lambda d=d: d.post(client) for d in deliveries])  # type: ignore[misc] # a default is bound
    assert {response.status_code for response in responses} <= {200, 503}
    for delivery, response in zip(deliveries, responses, strict=True):
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            assert status_of(delivery.post(browser)) == (200, "accepted")
    facts = tables.facts(user_id)
    assert facts is not None
    assert facts["facts"]["connected"]["at"] == start + 31_000
    assert facts["facts"]["revoked"]["at"] == start + 30_000
    assert facts["first_connected"] == start + 1000
    assert facts["reference_id"] == f"{reference_id}-31"


def test_a_record_of_a_delivery_contains_no_personal_data_and_outlives_its_signature(
    browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    began = time.time()
    delivery.post(browser)
    records = tables.deliveries(delivery.keys)
    assert len(records) == 2
    for record in records:
        assert set(record) == {"delivery_id", "type", "received_at", "ttl"}
        assert record["type"] == "auth"
        assert began - 1 <= int(record["received_at"]) / 1000 <= time.time() + 1
        assert record["ttl"] > began + MAX_AGE_S + MAX_AHEAD_S
        assert reference_id not in str(record)


def test_an_unusual_trace_id_identifies_a_delivery(browser: httpx.Client, webhook: Make, reference_id: str) -> None:
    for trace_id in ("x" * 5000, "spaces in it", "caf\u00e9", "a:chunk:1"):
        first = webhook(auth_event(new_user_id(), reference_id))
        for delivery, status in ((first, "accepted"), (first.but(t=first.t - 1), "duplicate")):
            headers = {name.encode(): value.encode() for name, value in delivery.headers.items()}
            headers[b"x-terra-trace-id"] = trace_id.encode()
            assert status_of(browser.post("/webhooks/terra", content=delivery.body, headers=headers)) == (200, status)


def test_chunks_of_one_large_request_are_separate_deliveries(terra: Terra, reference_id: str) -> None:
    responses = [
        terra.deliver(
            {"type": "activity", "user": {"user_id": new_user_id(), "reference_id": reference_id}, "data": [n]},
            reference="one-reference-for-all",
            trace_id=f"{reference_id}:chunk:{n}",
        )[0]
        for n in range(3)
    ]
    assert ["accepted" in response["body"] for response in responses] == [True] * 3


def test_a_webhook_costs_two_round_trips(handlers: Handlers, webhook: Make, reference_id: str) -> None:
    run = handlers.run("terra_webhook", webhook(auth_event(new_user_id(), reference_id)).event())
    assert run.json == {"status": "accepted"}
    assert run.trips == ["dynamodb.BatchGetItem", "dynamodb.TransactWriteItems"]


def test_the_log_contains_no_reference_id_and_no_signature(
    handlers: Handlers, webhook: Make, reference_id: str
) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    run = handlers.run("terra_webhook", delivery.event())
    assert '"type":"auth"' in run.log
    assert reference_id not in run.log
    assert delivery.signature not in run.log


# -- DynamoDB failures -------------------------------------------------------------------------------------------------

READ, WRITE = "dynamodb.BatchGetItem*:before", "dynamodb.TransactWriteItems*:before"
FAILURES: list[Callable[[str], Rule]] = [
    lambda at: aws_error(at, "ProvisionedThroughputExceededException"),
    lambda at: aws_error(at, "ThrottlingException"),
    lambda at: aws_error(at, "InternalServerError", status=500),
    lambda at: aws_error(at, "AccessDeniedException"),
    lambda at: aws_error(at, "ResourceNotFoundException"),
    lambda at: broken_connection(at, "reset"),
    lambda at: broken_connection(at, "silence"),
    lambda at: broken_connection(at, "no connection"),
]


@pytest.mark.parametrize("at", [READ, WRITE], ids=["reading", "writing"])
@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_of_dynamodb_is_503_and_a_redelivery_completes_the_write(
    handlers: Handlers,
    browser: httpx.Client,
    tables: Tables,
    webhook: Make,
    reference_id: str,
    at: str,
    failure: Callable[[str], Rule],
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id))
    run = handlers.run("terra_webhook", delivery.event(), failure(at))
    assert run.status == 503
    assert run.json["code"] == "storage_unavailable"
    assert run.result is not None
    assert run.result["headers"]["retry-after"]
    assert reference_id not in run.result["body"]
    assert tables.connection(user_id) is None
    assert tables.deliveries(delivery.keys) == []
    assert status_of(delivery.post(browser)) == (200, "accepted")
    item = tables.connection(user_id)
    assert item is not None
    assert item["version"] == 1


def test_terra_retries_until_the_stack_stores_the_delivery(
    stack: Stack, terra: Terra, api: httpx.Client, reference_id: str
) -> None:
    user_id = new_user_id()
    body = auth_event(user_id, reference_id)
    # A first URL on which nothing listens stands for a stack that is down.
    terra.settings(webhook_url="http://127.0.0.1:9/webhooks/terra")
    [first] = terra.deliver(body, retry=True)
    assert first["status"] is None
    terra.settings(webhook_url=f"{stack.api_url}/webhooks/terra")
    eventually(lambda: terra.deliveries(trace_id=first["trace_id"])[0]["state"] == "delivered")
    assert [c["user_id"] for c in connections_of(api, reference_id)] == [user_id]


@pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
@pytest.mark.parametrize("place", [0, 1, 2], ids=["trace record", "signed record", "connection"])
def test_a_write_conflict_is_retried_and_is_not_a_duplicate(
    handlers: Handlers, tables: Tables, webhook: Make, reference_id: str, code: str, place: int
) -> None:
    codes = ["None", "None", "None"]
    codes[place] = code
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id))
    run = handlers.run("terra_webhook", delivery.event(), cancelled(*codes, times=3))
    assert (run.status, run.json) == (200, {"status": "accepted"})
    assert run.trips.count("dynamodb.TransactWriteItems") == 4
    assert len(tables.deliveries(delivery.keys)) == 2
    assert tables.connection(user_id) is not None


def test_a_cancellation_without_a_conflict_is_503_without_a_retry(
    handlers: Handlers, webhook: Make, reference_id: str
) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    run = handlers.run("terra_webhook", delivery.event(), cancelled("None", "None", "ValidationError"))
    assert (run.status, run.json["code"]) == (503, "storage_unavailable")
    assert run.trips.count("dynamodb.TransactWriteItems") == 1


def test_a_lasting_write_conflict_is_503_before_the_timeout_of_terra(
    handlers: Handlers, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id))
    run = handlers.run("terra_webhook", delivery.event(), cancelled("None", "None", "TransactionConflict"))
    assert (run.status, run.json["code"]) == (503, "not_durable")
    assert 4 < run.seconds < 5 + BUSY
    assert tables.connection(user_id) is None
    assert tables.deliveries(delivery.keys) == []
    assert status_of(delivery.post(browser)) == (200, "accepted")


def test_unprocessed_keys_are_read_again_with_backoff(
    handlers: Handlers, tables: Tables, webhook: Make, reference_id: str, stack: Stack
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id))
    unprocessed = {stack.tables.connections: {"Keys": [{"user_id": {"S": user_id}}], "ConsistentRead": True}}
    empty = {"Responses": {stack.tables.connections: []}, "UnprocessedKeys": unprocessed}
    run = handlers.run("terra_webhook", delivery.event(), fake_response(READ, empty, times=200))
    assert run.trips.count("dynamodb.BatchGetItem") < 100
    assert run.status in {200, 503}
    assert len(tables.deliveries(delivery.keys)) == (2 if run.status == 200 else 0)


def test_a_key_that_is_processed_at_the_second_attempt_is_read(handlers: Handlers, webhook: Make, stack: Stack) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), None))
    unprocessed = {stack.tables.connections: {"Keys": [{"user_id": {"S": user_id}}], "ConsistentRead": True}}
    once = fake_response(READ, {"Responses": {}, "UnprocessedKeys": unprocessed}, times=1)
    assert handlers.run("terra_webhook", delivery.event(), once).json == {"status": "accepted"}


def test_a_write_whose_response_was_lost_is_accepted_by_the_retry(
    handlers: Handlers, tables: Tables, webhook: Make, reference_id: str
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id))
    run = handlers.run("terra_webhook", delivery.event(), lost_response(WRITE))
    assert (run.status, run.json) == (200, {"status": "accepted"})
    item = tables.connection(user_id)
    assert item is not None
    assert item["version"] == 1


def test_a_write_whose_responses_were_all_lost_is_503_and_then_a_duplicate(
    handlers: Handlers, browser: httpx.Client, api: httpx.Client, webhook: Make, reference_id: str
) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    assert handlers.run("terra_webhook", delivery.event(), lost_response(WRITE, times=2)).status == 503
    assert status_of(delivery.post(browser)) == (200, "duplicate")
    assert len(connections_of(api, reference_id)) == 1


def test_a_transaction_that_is_still_running_is_awaited(handlers: Handlers, webhook: Make, reference_id: str) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    run = handlers.run("terra_webhook", delivery.event(), aws_error(WRITE, "TransactionInProgressException", times=2))
    assert (run.status, run.json) == (200, {"status": "accepted"})


def test_a_concurrent_event_between_read_and_write_is_not_lost(
    handlers: Handlers, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    user_id, now = new_user_id(), now_s() * 1000
    slow = webhook(auth_event(user_id, reference_id), ordering=now - 2000)
    with handlers.start("terra_webhook", slow.event(), pause("dynamodb.TransactWriteItems:before")) as running:
        running.until_paused()
        assert status_of(webhook(deauth_event(user_id, reference_id), ordering=now - 1000).post(browser)) == (
            200,
            "accepted",
        )
        running.resume()
        run = running.end()
    assert (run.status, run.json) == (200, {"status": "accepted"})
    facts = tables.facts(user_id)
    assert facts is not None
    assert (facts["facts"]["connected"]["at"], facts["facts"]["revoked"]["at"]) == (now - 2000, now - 1000)


def test_the_slower_of_two_equal_deliveries_is_a_duplicate(
    handlers: Handlers, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id))
    with handlers.start("terra_webhook", delivery.event(), pause("dynamodb.TransactWriteItems:before")) as running:
        running.until_paused()
        assert status_of(delivery.post(browser)) == (200, "accepted")
        running.resume()
        run = running.end()
    assert (run.status, run.json) == (200, {"status": "duplicate"})
    item = tables.connection(user_id)
    assert item is not None
    assert item["version"] == 1


def test_without_its_signing_secrets_the_webhook_accepts_no_delivery(
    handlers: Handlers, tables: Tables, webhook: Make, reference_id: str
) -> None:
    delivery = webhook(auth_event(new_user_id(), reference_id))
    for rule in (
        aws_error("secrets-manager.*:before", "ResourceNotFoundException"),
        broken_connection("secrets-manager.*:before", "reset"),
        fake_response("secrets-manager.*:before", {"SecretString": "not JSON"}),
        fake_response("secrets-manager.*:before", {"SecretString": '["a"]'}),
        fake_response("secrets-manager.*:before", {"SecretString": '{"a": 1}'}),
        fake_response("secrets-manager.*:before", {"SecretString": "{}"}),
        fake_response("secrets-manager.*:before", {"SecretString": '{"a": ""}'}),
    ):
        run = handlers.run("terra_webhook", delivery.event(), rule)
        assert (run.status, run.json["code"]) == (503, "misconfigured")
        run = handlers.run("terra_webhook", delivery.but(secret="").event(), rule)
        assert run.status == 503
    assert tables.deliveries(delivery.keys) == []


def test_two_signing_secrets_are_valid_during_a_rotation(handlers: Handlers, webhook: Make, reference_id: str) -> None:
    both = fake_response("secrets-manager.*:before", {"SecretString": '{"old": "one", "new": "two"}'})
    for secret, status in (("one", 200), ("two", 200), ("three", 401)):
        delivery = webhook(auth_event(new_user_id(), reference_id)).but(secret=secret)
        assert handlers.run("terra_webhook", delivery.event(), both).status == status
