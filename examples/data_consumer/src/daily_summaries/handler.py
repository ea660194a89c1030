"""The Lambda function: SQS messages, each with one event of the bus of Terra Connections (docs/data.md)."""

import json
import os
from typing import Any

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from aws_lambda_powertools.utilities.typing import LambdaContext

from daily_summaries.consumer import Consumer
from daily_summaries.payloads import Payloads
from daily_summaries.table import Table

logger = Logger()
processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
consumer = Consumer(Payloads(boto3.client("s3")), Table(boto3.resource("dynamodb").Table(os.environ["TABLE"])), logger)


def receive(record: SQSRecord) -> None:
    """Process one message. One that fails is received again, without the others of its batch."""
    try:
        consumer.receive(json.loads(record.body))
    except Exception:
        logger.exception("event_failed", message_id=record.message_id)
        raise


def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Process a batch."""
    return dict(process_partial_response(event, receive, processor, context))
