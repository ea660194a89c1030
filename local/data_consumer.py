"""Runs the consumer of docs/data.md, as a team would beside its app: `python -m local.data_consumer QUEUE_URL`.

Lambda reads the queue on AWS; here this program does, and invokes the same handler with the same batches. The handler
finds the services by the AWS SDK's own variables (AWS_ENDPOINT_URL_S3 and others), and its table by TABLE.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from local.aws_services import CREDENTIALS, REGION
from local.database import declared, declared_tables
from local.gateway.template import queue_ids
from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

EXAMPLE: Final = ROOT / "examples" / "data_consumer"
SOURCE: Final = EXAMPLE / "src"
QUEUE: Final = "EventsForDataConsumer"
"""The name of its queue, and of the rules that select its events."""
TABLE: Final = "Summaries"
RULE: Final = "AWS::Events::Rule"
BATCH: Final = 10


def tables() -> dict[str, dict[str, Any]]:
    """Return the properties of the consumer's table, by its logical id, which is its local name."""
    return declared_tables(EXAMPLE / "template.yaml")


def subscribe(endpoint: str, buses: Iterable[str]) -> str:
    """Create the queue, which gets the events that the example's rule selects; return its URL."""
    access_key, secret_key = CREDENTIALS.values()
    session = boto3.Session(access_key, secret_key, region_name=REGION)
    client = session.client("events", endpoint_url=endpoint)
    ids = queue_ids(QUEUE, endpoint, REGION)
    session.client("sqs", endpoint_url=endpoint).create_queue(QueueName=QUEUE)
    pattern = json.dumps(declared(EXAMPLE / "template.yaml", RULE)["Rule"]["EventPattern"])
    for bus in buses:
        client.put_rule(Name=QUEUE, EventBusName=bus, EventPattern=pattern)
        client.put_targets(Rule=QUEUE, EventBusName=bus, Targets=[{"Id": QUEUE, "Arn": ids[f"{QUEUE}.Arn"]}])
    return ids[QUEUE]


def main() -> None:
    """Process messages until a signal ends it."""
    from daily_summaries.handler import lambda_handler  # noqa: PLC0415 - it reads the variables of this process

    queue, client = sys.argv[1], boto3.client("sqs")
    while True:
        try:
            process_some(client, queue, lambda_handler)
        except (BotoCoreError, ClientError) as error:
            print(f"the queue cannot be read: {error}", flush=True)
            time.sleep(1)  # If MiniStack has ended, the stack ends and reports it.


def process_some(client: SQSClient, queue: str, handler: Callable[[dict[str, Any], Any], dict[str, Any]]) -> None:
    """Invoke the handler with the messages that wait, and delete those that it processed."""
    answer = client.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=BATCH, WaitTimeSeconds=20, MessageSystemAttributeNames=["All"]
    )
    messages = answer.get("Messages", [])
    if not messages:
        return
    result = handler({"Records": [as_record(message) for message in messages]}, None)
    failed = {failure["itemIdentifier"] for failure in result["batchItemFailures"]}
    for message in messages:
        if message["MessageId"] not in failed:
            client.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def as_record(message: MessageTypeDef) -> dict[str, Any]:
    """Return a message as Lambda passes it to a function."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }


if __name__ == "__main__":
    main()
