"""Fetches driven by the test itself, on a separate table and separate queues, so that no other test is affected."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from boto3.dynamodb.types import TypeDeserializer

from local import messages
from local.testing import Stack
from tests.support.handlers import Handlers, Run, fake_response
from tests.support.tables import own_tables

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

_read = TypeDeserializer().deserialize
# The receipts of these events are not from SQS.
NO_RECEIPTS = fake_response("sqs.ChangeMessageVisibility:before", {})


@dataclass(frozen=True)
class Fetching:
    """Sends pings to the webhook, and processes the messages that it has sent."""

    handlers: Handlers
    dynamodb: "DynamoDBClient"
    s3: "S3Client"
    sqs: "SQSClient"
    bucket: str
    table: str
    fetches_url: str
    dead_url: str
    prefix: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "DELIVERIES_TABLE": self.table,
            "PAYLOAD_FETCHES_QUEUE_URL": self.fetches_url,
            "DEAD_PAYLOAD_FETCHES_QUEUE_URL": self.dead_url,
            "PAYLOAD_URLS": self.prefix,
        }

    def messages(self) -> list[str]:
        """Take the bodies of the messages in the queue."""
        return [message["Body"] for message in _taken(self.sqs, self.fetches_url)]

    def dead(self) -> list[tuple[str, str]]:
        """Take the messages of the dead-letter queue: the reason and the body of each."""
        found = _taken(self.sqs, self.dead_url)
        return [(each["MessageAttributes"]["reason"]["StringValue"], each["Body"]) for each in found]

    def fetch(self, *bodies: str) -> Run:
        """Run the function with these messages."""
        return self.handlers.run("fetch_payload", event_of(*bodies), NO_RECEIPTS, environment=self.environment)

    def pointers(self) -> list[dict[str, Any]]:
        items = self.dynamodb.scan(TableName=self.table, ConsistentRead=True)["Items"]
        found = [{name: _read(value) for name, value in item.items()} for item in items]
        return sorted(
            (item for item in found if item["delivery_id"].startswith("payload:")), key=lambda item: item["delivery_id"]
        )

    def object(self, key: str) -> Any:  # noqa: ANN401 - the response of S3
        return self.s3.get_object(Bucket=self.bucket, Key=key)


def event_of(*bodies: str) -> dict[str, Any]:
    """Build the event that Lambda passes to the function."""
    attributes = {"ApproximateReceiveCount": "1"}
    return {
        "Records": [
            {
                "messageId": str(uuid4()),
                "receiptHandle": "receipt",
                "body": body,
                "attributes": attributes,
                "eventSource": "aws:sqs",
            }
            for body in bodies
        ]
    }


def outcomes(run: Run) -> list[str]:
    """Return the outcome of each message, from the log."""
    lines = [json.loads(line) for line in run.log.splitlines()]
    return [line.get("outcome") or line["reason"] for line in lines if "message_id" in line]


@contextmanager
def fetching(handlers: Handlers, dynamodb: "DynamoDBClient", stack: Stack, prefix: str) -> Iterator[Fetching]:
    services = messages.services(stack.dynamodb_url, stack.aws_url)
    sqs, s3 = services.queues(), services.buckets()
    queues = [
        sqs.create_queue(QueueName=f"{name}-{uuid4().hex[:8]}")["QueueUrl"]
        for name in ("PayloadFetches", "DeadPayloadFetches")
    ]
    assert stack.payloads is not None
    with own_tables(dynamodb, "Deliveries") as (table,):
        fetches, dead = queues
        yield Fetching(handlers, dynamodb, s3, sqs, stack.payloads["bucket"], table, fetches, dead, prefix)
    for url in queues:
        sqs.delete_queue(QueueUrl=url)


def _taken(sqs: "SQSClient", url: str) -> Iterator[Mapping[str, Any]]:
    while found := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], VisibilityTimeout=600
    ).get("Messages"):
        yield from found
