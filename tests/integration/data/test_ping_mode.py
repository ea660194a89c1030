"""Ping mode in the running stack: Terra sends URLs that expire, and their payloads are kept as pushed ones."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from local import messages
from local.testing import Stack
from tests.support.data import Bucket, DataListener
from tests.support.terra import Terra
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

EVENTS = "/api/v3/admin/environments/local-dev/webhook-events"


@pytest.fixture
def pings(terra: Terra) -> Iterator[Terra]:
    """Terra, whose destination is in ping mode."""
    terra.settings(webhook_delivery="ping", admin_version="october")
    yield terra
    terra.settings(webhook_delivery="push")


@pytest.fixture
def sqs(stack: Stack) -> "SQSClient":
    return messages.services(stack.dynamodb_url, stack.aws_url).queues()


def send(terra: Terra, user_id: str, **data: object) -> dict[str, Any]:
    """Let Terra send data, and return the delivery."""
    response = terra.client.post(f"/_control/users/{user_id}/data", json=data)
    assert response.is_success, response.text
    [delivery] = response.json()["deliveries"]
    assert delivery["type"] == "s3_payload"
    return dict(delivery)


@pytest.mark.parametrize("type_", ["daily", "sleep", "athlete", "health_observation"])
def test_a_payload_at_a_url_is_kept_and_announced(
    pings: Terra, bucket: Bucket, listener: DataListener, user_id: str, type_: str
) -> None:
    delivery = send(pings, user_id, type=type_)
    assert delivery["state"] == "delivered"
    [detail] = listener.expect(user_id, 1)
    assert (detail["type"], detail["records"], detail["trace_id"]) == (type_, 1, delivery["trace_id"])
    assert detail["position"] == delivery["ordering_timestamp"]
    assert detail["key"].startswith(f"p/{user_id}/{type_}/")
    body = bucket.body(detail["key"])
    assert json.loads(body)["user"]["user_id"] == user_id
    assert (len(body), bucket.metadata(detail["key"])["event-id"]) == (detail["bytes"], detail["event_id"])


def test_a_payload_that_is_too_large_for_a_push_is_kept(
    pings: Terra, bucket: Bucket, listener: DataListener, user_id: str
) -> None:
    send(pings, user_id, type="daily", size=10_500_000)
    [detail] = listener.expect(user_id, 1)
    assert detail["bytes"] == 10_500_000
    assert len(bucket.body(detail["key"])) == 10_500_000


def test_the_payload_of_an_expired_url_is_kept_after_a_resend(
    pings: Terra, stack: Stack, sqs: "SQSClient", bucket: Bucket, listener: DataListener, user_id: str
) -> None:
    pings.settings(payload_expires_in_s=0)
    delivery = send(pings, user_id, type="daily")
    queue = stack.queues["DeadPayloadFetches"]

    def dead() -> Any:  # noqa: ANN401 - a TypedDict of the stubs
        # Other tests leave messages, too.
        answer = sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=["reason"], VisibilityTimeout=0
        )
        found = answer.get("Messages", [])
        return next((each for each in found if delivery["trace_id"] in each["Body"]), None)

    message = eventually(dead)
    assert message["MessageAttributes"]["reason"]["StringValue"] == "expired"
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert bucket.of_user(user_id) == []

    pings.settings(payload_expires_in_s=300)
    token = pings.admin_token(scopes=["events:read", "events:write"])
    resent = {"user_id": user_id, "event_id": delivery["event_id"], "event_type": "daily"}
    response = pings.client.post(f"{EVENTS}/resend", json=resent, headers={"authorization": f"Bearer {token}"})
    assert response.is_success, response.text
    [detail] = listener.expect(user_id, 1)
    assert bucket.of_user(user_id) == [detail["key"]]
