"""Stored payloads are announced again when their owner becomes known and on request, and deleted by an erasure."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import httpx
import pytest

from local import messages
from local.testing import Stack
from tests.support.api import connections_of
from tests.support.data import LOADED_WITHIN, Bucket, DataListener, daily
from tests.support.handlers import Handlers, fake_response, http_event, s3_error
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.waiting import eventually
from tests.support.webhooks import Webhook, now_s
from tools.environment import ROOT

Make = Callable[..., Webhook]


def report(reference_id: str) -> dict[str, object]:
    data = {"reference_id": reference_id, "session_id": "1", "report_date": "2026-06-30", "results": []}
    return {"type": "lab_report.completed", "event_id": new_user_id(), "occurred_at": "2026-07-01", "data": data}


# --- claims ----------------------------------------------------------------------------------------------------------


def test_payloads_are_announced_again_when_their_owner_becomes_known(
    browser: httpx.Client, webhook: Make, listener: DataListener, reference_id: str
) -> None:
    user_id = new_user_id()
    for number in range(3):
        webhook(daily(user_id, steps=number)).post(browser)
    received = listener.expect(user_id, 3)
    assert {event["reference_id"] for event in received} == {None}
    webhook(auth_event(user_id, reference_id)).post(browser)
    claimed = listener.expect(user_id, 3, "data_claimed")
    assert {event["reference_id"] for event in claimed} == {reference_id}
    assert {event["event_id"] for event in claimed} == {event["event_id"] for event in received}


# --- replays ---------------------------------------------------------------------------------------------------------


def test_a_replay_of_a_user_announces_the_payloads_of_the_period_and_types(
    api: httpx.Client, browser: httpx.Client, webhook: Make, listener: DataListener, reference_id: str
) -> None:
    user_id, t = new_user_id(), now_s()
    webhook(auth_event(user_id, reference_id)).post(browser)
    for number in range(4):
        webhook(daily(user_id, steps=number), t=t - 100 + number * 10).post(browser)
    webhook({**daily(user_id), "type": "sleep"}, t=t - 75).post(browser)
    webhook(report(reference_id)).post(browser)
    by_key = {event["key"]: event for event in listener.expect(user_id, 5)}
    since, until = (f"{moment(t - 95)}", f"{moment(t - 70)}")
    body = {"reference_id": reference_id, "types": ["daily"], "from": since, "to": until}
    replay_id = api.post("/replays", json=body).raise_for_status().json()["replay_id"]
    eventually(lambda: len(replayed(listener, user_id, replay_id)) >= 2, within=LOADED_WITHIN)
    expected = {
        key: {**event, "replay_id": replay_id} for key, event in by_key.items() if f"{(t - 90) * 1000:015d}" in key
    }
    expected |= {
        key: {**event, "replay_id": replay_id} for key, event in by_key.items() if f"{(t - 80) * 1000:015d}" in key
    }
    assert replayed(listener, user_id, replay_id) == expected


def test_a_replay_of_a_user_includes_their_reports(
    api: httpx.Client, browser: httpx.Client, webhook: Make, listener: DataListener, reference_id: str
) -> None:
    webhook(report(reference_id)).post(browser)
    eventually(
        lambda: any(event["detail"]["reference_id"] == reference_id for event in listener.all()), within=LOADED_WITHIN
    )
    replay_id = api.post("/replays", json={"reference_id": reference_id}).raise_for_status().json()["replay_id"]
    eventually(lambda: any(event["detail"]["replay_id"] == replay_id for event in listener.all()), within=LOADED_WITHIN)
    [event] = [event["detail"] for event in listener.all() if event["detail"]["replay_id"] == replay_id]
    assert (event["user_id"], event["reference_id"], event["type"]) == (None, reference_id, "lab_report.completed")
    assert reference_id not in event["key"]


def test_a_replay_of_a_user_includes_a_reconnected_wearable_whose_owner_terra_did_not_repeat(
    api: httpx.Client, browser: httpx.Client, webhook: Make, listener: DataListener, reference_id: str
) -> None:
    before, after = new_user_id(), new_user_id()
    webhook(auth_event(before, reference_id)).post(browser)
    users = {"old_user": auth_event(before, None)["user"], "new_user": auth_event(after, None)["user"]}
    webhook({"type": "user_reauth", "status": "warning", **users}).post(browser)
    for user_id in (before, after):
        webhook(daily(user_id)).post(browser)
        [event] = listener.expect(user_id, 1)
        assert event["reference_id"] == reference_id
    replay_id = api.post("/replays", json={"reference_id": reference_id}).raise_for_status().json()["replay_id"]
    for user_id in (before, after):
        eventually(lambda: replayed(listener, user_id, replay_id), within=LOADED_WITHIN)  # noqa: B023 - called at once


def test_a_replay_of_many_payloads_continues_page_by_page(
    stack: Stack, handlers: Handlers, bucket: Bucket, listener: DataListener
) -> None:
    user_id, count = new_user_id(), 250
    for number in range(count):
        bucket.put(user_id, number)
    sqs = messages.services(stack.dynamodb_url, stack.aws_url).queues()
    url = sqs.create_queue(QueueName=f"DataAnnouncements-{user_id}")["QueueUrl"]
    event = json.loads(open_event("announce_data"))
    body = json.dumps({"user_id": user_id, "replay_id": "replay"})
    pages = 0
    while body:
        event["Records"][0]["body"] = body
        run = handlers.run("announce_data", event, environment={"ANNOUNCEMENTS_QUEUE_URL": url})
        assert run.result is not None, run.error
        if run.result["batchItemFailures"]:
            continue  # a busy machine: as in SQS, the page is repeated
        pages += 1
        received = sqs.receive_message(QueueUrl=url).get("Messages", [])
        body = received[0]["Body"] if received else ""
        for message in received:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    sqs.delete_queue(QueueUrl=url)
    assert pages == 3
    eventually(lambda: len(replayed(listener, user_id, "replay")) == count)


def test_a_replay_of_an_erased_user_id_deletes_what_is_left_of_it(
    api: httpx.Client, terra: Terra, bucket: Bucket, reference_id: str
) -> None:
    user_id = str(terra.connect(reference_id)["user_id"])
    eventually(lambda: connections_of(api, reference_id))
    assert api.post("/erasures", json={"reference_id": reference_id}).status_code == 204
    bucket.put(user_id, 1)
    api.post("/replays", json={"user_id": user_id}).raise_for_status()
    eventually(lambda: bucket.of_user(user_id) == [], within=LOADED_WITHIN)


def replayed(listener: DataListener, user_id: str, replay_id: str) -> dict[str, dict[str, object]]:
    return {event["key"]: event for event in listener.of(user_id) if event["replay_id"] == replay_id}


def moment(t: int) -> str:
    return datetime.fromtimestamp(t, UTC).isoformat()


def test_a_user_token_cannot_start_a_replay(handlers: Handlers) -> None:
    event = http_event("POST", "/replays", body=json.dumps({"user_id": "u"}))
    event["requestContext"]["authorizer"] = {"lambda": {"caller": "user", "reference_id": "ada"}}
    assert handlers.run("create_replay", event).status == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"user_id": "u", "reference_id": "ada"}, "body"),
        ({"user_id": "a b"}, "user_id"),
        ({"user_id": "u", "from": "yesterday"}, "from"),
        ({"user_id": "u", "from": 7}, "from"),
        ({"user_id": "u", "from": "2026-11-02", "to": "2026-11-01"}, "body"),
        ({"user_id": "u", "types": []}, "types"),
        ({"user_id": "u", "types": ["a/b"]}, "types"),
        ({"user_id": "u", "since": "2026-11-01"}, "since"),
    ],
)
def test_a_mistake_in_a_replay_is_named(api: httpx.Client, body: dict[str, object], field: str) -> None:
    response = api.post("/replays", json=body)
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]


# --- erasure ---------------------------------------------------------------------------------------------------------


def test_an_erasure_deletes_the_payloads_and_reports_of_the_user_and_of_no_other(
    api: httpx.Client, browser: httpx.Client, webhook: Make, terra: Terra, bucket: Bucket, reference_id: str
) -> None:
    own, other = str(terra.connect(reference_id)["user_id"]), new_user_id()
    eventually(lambda: connections_of(api, reference_id))
    for user_id in (own, other):
        webhook(daily(user_id)).post(browser)
    reports = set(bucket.keys("r/"))
    webhook(report(reference_id)).post(browser)
    [stored] = set(bucket.keys("r/")) - reports
    assert api.post("/erasures", json={"reference_id": reference_id}).status_code == 204
    assert bucket.of_user(own) == []
    assert bucket.keys(stored) == []
    assert len(bucket.of_user(other)) == 1


def test_an_erasure_that_cannot_delete_payloads_is_repeated_until_nothing_is_left(
    api: httpx.Client,
    handlers: Handlers,
    browser: httpx.Client,
    webhook: Make,
    terra: Terra,
    bucket: Bucket,
    listener: DataListener,
    reference_id: str,
) -> None:
    user_id = str(terra.connect(reference_id)["user_id"])
    eventually(lambda: connections_of(api, reference_id))
    webhook(daily(user_id)).post(browser)
    listener.expect(user_id, 1)  # a payload that is announced during an erasure is deleted by the announcement
    event = http_event("POST", "/erasures", body=json.dumps({"reference_id": reference_id}))
    failed = handlers.run("erase_person", event, s3_error("s3.DeleteObjects*:before", "SlowDown", status=503))
    assert failed.status == 503
    assert len(bucket.of_user(user_id)) == 1
    assert handlers.run("erase_person", event).status == 204
    assert bucket.of_user(user_id) == []


def test_deliveries_that_arrive_during_and_after_an_erasure_leave_nothing(
    api: httpx.Client,
    stack: Stack,
    webhook: Make,
    terra: Terra,
    bucket: Bucket,
    listener: DataListener,
    reference_id: str,
) -> None:
    user_id = str(terra.connect(reference_id)["user_id"])
    eventually(lambda: connections_of(api, reference_id))
    deliveries = [webhook(daily(user_id, steps=number)) for number in range(100)]
    with httpx.Client(base_url=stack.api_url, timeout=120) as client, ThreadPoolExecutor(5) as pool:
        posted = [pool.submit(each.post, client) for each in deliveries[:90]]
        assert api.post("/erasures", json={"reference_id": reference_id}, timeout=120).status_code == 204
        assert {each.result().status_code for each in posted} == {200}
        assert {each.post(client).status_code for each in deliveries[90:]} == {200}
    eventually(lambda: bucket.of_user(user_id) == [], within=LOADED_WITHIN)
    listener.all()


def test_an_event_that_the_bus_rejects_is_published_again(handlers: Handlers, reference_id: str) -> None:
    records = json.loads(open_event("publish_data"))
    rejected = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "ThrottlingException"}]}
    run = handlers.run("publish_data", records, fake_response("eventbridge.PutEvents:before", rejected))
    number = records["Records"][0]["dynamodb"]["SequenceNumber"]
    assert run.result == {"batchItemFailures": [{"itemIdentifier": number}]}
    assert reference_id not in run.log


def open_event(name: str) -> str:
    return (ROOT / "events" / f"{name}.json").read_text()
