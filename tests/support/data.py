"""Payloads in the bucket of the running stack, and the events about them."""

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3

from local.testing import Stack
from tests.support.bus import subscribed_queue
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

Event = dict[str, Any]

LOADED_WITHIN = 240.0
HEALTH_DATA = "resting-heart-rate-canary"
"""A value in every payload, which must occur in payloads only."""


def daily(user_id: str, *, day: str = "2026-11-01", steps: int = 1000, **more: object) -> dict[str, Any]:
    """Return a data event of one day, as in Terra's OpenAPI document."""
    metadata = {"start_time": f"{day}T00:00:00.000000+01:00", "end_time": f"{day}T23:59:59.000000+01:00"}
    record = {"metadata": metadata, "distance_data": {"steps": steps}, "note": HEALTH_DATA}
    user = {"user_id": user_id, "provider": "GARMIN"}
    return {"type": "daily", "user": user, "data": [record], "version": "2022-03-16", **more}


class Bucket:
    """The bucket of payloads."""

    def __init__(self, stack: Stack) -> None:
        assert stack.payloads is not None
        self.name = stack.payloads["bucket"]
        self.client: S3Client = boto3.client(
            "s3",
            endpoint_url=stack.payloads["s3_url"],
            region_name=stack.region,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def keys(self, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [each["Key"] for page in pages for each in page.get("Contents", [])]

    def of_user(self, user_id: str) -> list[str]:
        return self.keys(f"p/{user_id}/")

    def put(self, user_id: str, number: int) -> None:
        """Store an object as the webhook does."""
        metadata = {"event-id": str(number), "type": "daily", "position": str(number), "records": "1"}
        self.client.put_object(
            Bucket=self.name,
            Key=f"p/{user_id}/daily/{number:015d}-{number:032x}.json.gz",
            Body=gzip.compress(b"{}"),
            Metadata={**metadata, "bytes": "2", "sha256": "0" * 64},
        )

    def body(self, key: str) -> bytes:
        return gzip.decompress(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())

    def metadata(self, key: str) -> dict[str, str]:
        return self.client.head_object(Bucket=self.name, Key=key)["Metadata"]


class DataListener:
    """A consumer with a rule on the bus and a queue as its target."""

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url
        self._received: list[Event] = []

    def take(self) -> Iterator[Event]:
        """Yield the events that have arrived since the last call."""
        receive = partial(self._client.receive_message, QueueUrl=self._queue_url, MaxNumberOfMessages=10)
        while found := receive().get("Messages", []):
            for message in found:
                self._client.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
                assert HEALTH_DATA not in message["Body"]
                yield json.loads(message["Body"])

    def all(self) -> list[Event]:
        """Return all events so far."""
        self._received += self.take()
        return self._received

    def of(self, user_id: str, type_: str = "data_received") -> list[Event]:
        """Return the details of the events of one type about a user."""
        found = [event for event in self.all() if event["detail-type"] == type_]
        return [event["detail"] for event in found if event["detail"]["user_id"] == user_id]

    def expect(self, user_id: str, count: int, type_: str = "data_received") -> list[Event]:
        """Wait for a number of different events."""
        # Functions are loaded at their first event, one after the other.
        eventually(lambda: len({each["event_id"] for each in self.of(user_id, type_)}) >= count, within=LOADED_WITHIN)
        return self.of(user_id, type_)


DATA_EVENTS = ("data_received", "data_claimed")


@contextmanager
def listening(stack: Stack, types: Sequence[str] = DATA_EVENTS) -> Iterator[DataListener]:
    """Add a rule for the events about data to the stack's bus, with a queue of its own."""
    pattern = {"source": ["terra-connections"], "detail-type": list(types)}
    with subscribed_queue(stack, pattern) as (client, url):
        yield DataListener(client, url)
