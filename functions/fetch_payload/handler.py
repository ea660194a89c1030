"""The queue PayloadFetches: fetch the payload of a ping from its URL, and keep it."""

import time
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from terra_connections import wiring

_log = Logger()
_fetcher = wiring.payload_fetcher()
_queue = wiring.fetch_queue()


def fetch_payload(record: SQSRecord) -> None:
    """Fetch the payload of one message."""
    started = time.perf_counter()
    fetched = _fetcher.work(record.body, message_id=record.message_id)
    fields: dict[str, Any] = {"message_id": record.message_id, "outcome": fetched.outcome}
    if kept := fetched.delivery:
        fields |= {"event_id": kept.event_id, "type": kept.type, "bytes": kept.bytes}
    _log.info("fetch_payload", **fields, ms=round((time.perf_counter() - started) * 1000))


def lambda_handler(event: Mapping[str, Any], _context: object) -> Mapping[str, Any]:
    """Process each message on its own: failed ones are retried soon, and finally sent to the dead-letter queue."""
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    with processor(event["Records"], fetch_payload):
        processor.process()
    for record, (error, cause, _) in zip(processor.fail_messages, processor.exceptions, strict=True):
        _retry_soon(record, error.__name__ if error else "", getattr(cause, "reason", None))
    return processor.response()


def _retry_soon(record: Any, error: str, reason: str | None) -> None:  # noqa: ANN401 - Powertools types it as any record
    """Log a failure without its text, which may quote the URL, and let its message be received again."""
    _log.info("fetch_payload", message_id=record.message_id, error=error, reason=reason)
    _queue.retry_soon(record.receipt_handle, tries=int(record.attributes.approximate_receive_count))
