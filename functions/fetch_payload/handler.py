"""The queue PayloadFetches: fetch the payload of a ping from its URL, and keep it."""

import time
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from terra_connections import wiring
from terra_connections.queue_messages import process_messages

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
    return process_messages(event, fetch_payload, on_failure=_retry_soon)


def _retry_soon(record: SQSRecord, fields: dict[str, Any], cause: BaseException | None) -> None:
    """Log a failure, and let its message be received again."""
    _log.info("fetch_payload", **fields, reason=getattr(cause, "reason", None))
    _queue.retry_soon(record.receipt_handle, tries=int(record.attributes.approximate_receive_count))
