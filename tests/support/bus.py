"""A rule on the event bus of a running stack, with a queue as its target."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3

from local import messages
from local.testing import Stack

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@contextmanager
def subscribed_queue(stack: Stack, pattern: Mapping[str, object]) -> "Iterator[tuple[SQSClient, str]]":
    """Create a rule and its queue, and return a client and the URL of the queue. Both are deleted afterwards."""
    name, bus = f"Test{uuid4().hex[:8]}", stack.event_buses["EventBus"]
    queues = messages.services("", stack.aws_url).queues()
    events = boto3.client(
        "events",
        endpoint_url=stack.aws_url,
        region_name=stack.region,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    url = queues.create_queue(QueueName=name)["QueueUrl"]
    events.put_rule(Name=name, EventBusName=bus, EventPattern=json.dumps(pattern))
    arn = f"arn:aws:sqs:{stack.region}:000000000000:{name}"
    events.put_targets(Rule=name, EventBusName=bus, Targets=[{"Id": "queue", "Arn": arn}])
    try:
        yield queues, url
    finally:
        events.remove_targets(Rule=name, EventBusName=bus, Ids=["queue"])
        events.delete_rule(Name=name, EventBusName=bus)
        queues.delete_queue(QueueUrl=url)
        queues.close()
        events.close()
