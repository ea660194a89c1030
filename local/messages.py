"""The template's queues, buckets and event buses, created in MiniStack, with copies of the events, and their display.

Their names are their logical ids (of buckets in lower case), so the values of `Ref` and `GetAtt` are known before they
are created.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.aws_services import CREDENTIALS, REGION
from local.database import declared
from local.gateway.services import Services, Threads
from local.gateway.template import BUCKET, EVENT_BUS, QUEUE, bucket_ids, event_bus_ids, queue_ids
from local.processes import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from mypy_boto3_sqs import SQSClient

SHOWN: Final = "ShownEvents"
"""The name of the queue and the rule through which the stack displays a bus's events."""
DEMO: Final = "EventsForDemo"
"""The name of the queue and the rule of the demo app, which shows the deliveries of health data, too."""

EVERYTHING: Final = {"source": ["terra-connections"]}
CHANGES: Final = {**EVERYTHING, "detail-type": [{"anything-but": ["data_received", "data_claimed"]}]}
"""The pattern of the template's NotifyRule."""

# Encryption has no meaning here; the queue's name is its logical id.
IGNORED: Final = frozenset(
    {"QueueName", "KmsMasterKeyId", "KmsDataKeyReusePeriodSeconds", "SqsManagedSseEnabled", "Tags"}
)


def physical_ids(template: Path, endpoint: str) -> dict[str, str]:
    """Return the values of Ref and GetAtt for every queue and bus of a template."""
    ids: dict[str, str] = {}
    for name in declared(template, QUEUE):
        ids |= queue_ids(name, endpoint, REGION)
    for name in declared(template, EVENT_BUS):
        ids |= event_bus_ids(name, REGION)
    return ids


def services(dynamodb_url: str, aws_url: str) -> Services:
    """Return the services' endpoints and credentials."""
    return Services(dynamodb_url, aws_url, REGION, *CREDENTIALS.values())


def make(template: Path, endpoint: str, copies: Sequence[str] = ()) -> None:
    """Create the queues with their policies, the buckets, and the buses.

    Args:
        template: the template.
        endpoint: that of MiniStack.
        copies: the names of further queues, for the events of all buses. Each event is kept for a day.
    """
    queues = declared(template, QUEUE)
    client = services("", endpoint).queues()
    for name in queues:
        client.create_queue(QueueName=name)
    arns = {name: queue_ids(name, endpoint, REGION)[f"{name}.Arn"] for name in queues}
    for name, properties in queues.items():
        if attributes := _attributes(name, properties, arns):
            client.set_queue_attributes(QueueUrl=queue_ids(name, endpoint, REGION)[name], Attributes=attributes)  # type: ignore[arg-type]
    for name in declared(template, BUCKET):
        services("", endpoint).buckets().create_bucket(Bucket=bucket_ids(name)[name])
    buses = declared(template, EVENT_BUS)
    if buses:
        for copy in copies:
            client.create_queue(QueueName=copy, Attributes={"MessageRetentionPeriod": "86400"})
    for name in buses:
        _make_bus(name, endpoint, copies)


def _attributes(name: str, properties: Mapping[str, Any], arns: Mapping[str, str]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for key, value in properties.items():
        if key in IGNORED:
            continue
        if key == "RedrivePolicy":
            target = value["deadLetterTargetArn"]
            dead_letters = target.get("Fn::GetAtt", [""])[0] if isinstance(target, dict) else target
            if dead_letters in arns:
                policy = {**value, "deadLetterTargetArn": arns[dead_letters]}
                attributes[key] = json.dumps(policy)
                continue
        if isinstance(value, dict | list):
            message = f"template.yaml: {name}.{key} is not supported by the local stack"
            raise StackError(message)
        attributes[key] = str(value)
    return attributes


def _make_bus(name: str, endpoint: str, copies: Sequence[str]) -> None:
    access_key, secret_key = CREDENTIALS.values()
    session = boto3.Session(access_key, secret_key, region_name=REGION)
    client = session.client("events", endpoint_url=endpoint)
    client.create_event_bus(Name=name)
    for copy in copies:
        pattern = json.dumps(EVERYTHING if copy in (SHOWN, DEMO) else CHANGES)
        client.put_rule(Name=copy, EventBusName=name, EventPattern=pattern)
        target = queue_ids(copy, endpoint, REGION)[f"{copy}.Arn"]
        client.put_targets(Rule=copy, EventBusName=name, Targets=[{"Id": copy, "Arn": target}])


async def show(endpoint: str, say: Callable[[str], None]) -> None:
    """Print a short line for each event on the buses, until cancelled."""
    thread = Threads(SHOWN)
    url = queue_ids(SHOWN, endpoint, REGION)[SHOWN]
    try:
        client: SQSClient = await thread.run(services("", endpoint).queues)
        while True:
            try:
                await _show_some(client, url, thread, say)
            except (BotoCoreError, ClientError):
                await asyncio.sleep(1)  # If MiniStack has ended, the stack ends and reports it.
    finally:
        await thread.end()


async def _show_some(client: SQSClient, url: str, thread: Threads, say: Callable[[str], None]) -> None:
    receive = partial(client.receive_message, QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
    for message in (await thread.run(receive)).get("Messages", []):
        say(shown(json.loads(message["Body"])))
        delete = partial(client.delete_message, QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        await thread.run(delete)


def shown(event: Mapping[str, Any]) -> str:
    """Return one line for an event."""
    detail = event["detail"]
    connection = detail.get("connection", {})
    parts = [
        event["detail-type"],
        connection.get("provider") or detail.get("provider"),
        connection.get("connection_id") or detail.get("connection_id"),
        detail.get("reference_id"),
        # Only events about payloads have a key.
        detail.get("key"),
    ]
    return f"[event on the bus] {' '.join(str(part) for part in parts if part)}"
