"""Nothing acknowledged is lost: functions are killed, and services refuse, stop responding and lose responses."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.data_soak import Disturbances, soak
from local.testing import Stack
from tests.support.cutting_proxy import Failure, failing_network
from tests.support.data import Bucket, DataListener, daily
from tests.support.handlers import Handlers, kill
from tests.support.tables import Tables
from tests.support.terra_events import new_user_id
from tests.support.webhooks import Webhook
from tools.environment import ROOT

Make = Callable[..., Webhook]

PUBLISH_POINTS = [
    "dynamodb.BatchGetItem:before",
    "dynamodb.BatchGetItem:after",
    "dynamodb.BatchGetItem#2:before",
    "dynamodb.BatchGetItem#2:after",
    "eventbridge.PutEvents:before",
    "eventbridge.PutEvents:after",
    "return",
]


def records_about(user_id: str) -> dict[str, Any]:
    """Return the stream records of one pointer."""
    text = (ROOT / "events" / "publish_data.json").read_text()
    event: dict[str, Any] = json.loads(text.replace("00000000-0000-4000-8000-000000000000", user_id))
    return event


@pytest.mark.parametrize("point", PUBLISH_POINTS)
def test_after_a_crash_of_the_publisher_its_batch_is_published_with_the_same_event_id(
    handlers: Handlers, listener: DataListener, point: str
) -> None:
    user_id = new_user_id()
    event = records_about(user_id)
    run = handlers.run("publish_data", event, kill(point))
    assert run.was_killed
    assert run.points == PUBLISH_POINTS[: PUBLISH_POINTS.index(point) + 1]
    assert handlers.run("publish_data", event).result == {"batchItemFailures": []}
    found = listener.expect(user_id, 1)
    assert len(found) == (2 if point in PUBLISH_POINTS[-2:] else 1)
    assert {each["event_id"] for each in found} == {
        event["Records"][0]["dynamodb"]["NewImage"]["event_id"]["S"],
    }


NETWORKS = {
    "S3": ("AWS_ENDPOINT_URL_S3", "PUT /"),
    "DynamoDB": ("AWS_ENDPOINT_URL_DYNAMODB", "TransactWriteItems"),
}


@pytest.mark.parametrize("failure", ["cut", "stopped"])
@pytest.mark.parametrize("service", NETWORKS)
def test_a_delivery_during_a_failure_of_the_network_is_kept_once_by_its_retry(
    stack: Stack,
    handlers: Handlers,
    webhook: Make,
    bucket: Bucket,
    tables: Tables,
    listener: DataListener,
    service: str,
    failure: Failure,
) -> None:
    user_id = new_user_id()
    delivery = webhook(daily(user_id))
    variable, request = NETWORKS[service]
    target = stack.aws_url if service == "S3" else stack.dynamodb_url
    with failing_network(target, request, failure=failure) as network:
        run = handlers.run("terra_webhook", delivery.event(), environment={variable: network.url})
        assert network.has_failed.is_set()
    assert run.status == 503
    # The request was processed, but its response was lost.
    is_recorded = (service, failure) == ("DynamoDB", "cut")
    assert len(tables.deliveries(delivery.keys)) == (2 if is_recorded else 0)
    again = handlers.run("terra_webhook", delivery.event())
    assert (again.status, again.json["status"]) == (200, "duplicate" if is_recorded else "accepted")
    [key] = bucket.of_user(user_id)
    assert {each["event_id"] for each in listener.expect(user_id, 1)} == {bucket.metadata(key)["event-id"]}


def test_no_delivery_is_lost_while_functions_are_killed_and_services_stop(stack: Stack) -> None:
    """`make data-soak` does the same with 100,000 deliveries."""
    disturbances = Disturbances(kill_every=1.0, stop_every=6.0, longest_stop=3.0)
    found = soak(stack, 250, disturbances, pings=10, seed=1)
    assert found.faults() == [], found.figures()
    assert (len(found.expected), len(found.pings)) == (250, 10)
    assert found.killed["terra_webhook"]
    assert found.killed["publish_data"]
