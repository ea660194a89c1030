"""The queue Backfills: send the next requests to Terra for one connection of a backfill."""

import time
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from terra_connections import wiring
from terra_connections.data.backfill_step import Step
from terra_connections.queue_messages import process_messages

_log = Logger()
_worker = wiring.backfill_worker()


def run_backfill(record: SQSRecord) -> None:
    """Process the step in the message."""
    started, step = time.perf_counter(), Step.parse(record.body)
    report = _worker.work(step)
    _log.info(
        "run_backfill",
        message_id=record.message_id,
        backfill_id=step.backfill_id,
        number=step.number,
        outcome=report.outcome.value,
        sent=report.sent,
        delay_s=report.delay.total_seconds(),
        ms=round((time.perf_counter() - started) * 1000),
    )


def lambda_handler(event: Mapping[str, Any], _context: object) -> Mapping[str, Any]:
    """Process each message on its own: failed ones are retried, and finally sent to the dead-letter queue."""
    return process_messages(event, run_backfill, on_failure=_failed)


def _failed(_record: SQSRecord, fields: dict[str, Any], _cause: BaseException | None) -> None:
    _log.info("run_backfill", **fields)
