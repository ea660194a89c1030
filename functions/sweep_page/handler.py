"""The queue of a sweep: process one step, which is a page of the table, of Terra's list, or of candidates."""

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from terra_connections import metrics, wiring
from terra_connections.queue_messages import process_messages
from terra_connections.reconciliation.sweep import Outcome, Step
from terra_connections.reconciliation.worker import SweepWorker

_log = Logger()
_worker = SweepWorker(
    terra=wiring.terra(),
    connections=wiring.connections(),
    payloads=wiring.payloads(),
    quiet=wiring.quiet_watch(),
    sweeps=wiring.sweeps(),
    queue=wiring.sweep_queue(),
    limit=wiring.revocation_limit(),
    on_drift=metrics.drift_repaired,
)


def sweep_page(record: SQSRecord) -> None:
    """Process the step in the message; count the outcome if it ends the sweep."""
    started = time.perf_counter()
    report = _worker.work(Step.parse(record.body), now=datetime.now(UTC))
    if report.outcome in (Outcome.FINISHED, Outcome.REFUSED):
        metrics.sweep_ended(report.outcome)
    fields = _fields(record) | {"outcome": report.outcome, **report.counts}
    _log.info("sweep_page", **fields, ms=round((time.perf_counter() - started) * 1000))


def lambda_handler(event: Mapping[str, Any], _context: object) -> Mapping[str, Any]:
    """Process each message on its own: failed ones are retried, and finally sent to the dead-letter queue."""
    return process_messages(event, sweep_page, on_failure=_failed)


def _failed(record: SQSRecord, fields: dict[str, Any], _cause: BaseException | None) -> None:
    _log.info("sweep_page", **(_fields(record) | fields))


def _fields(record: SQSRecord) -> dict[str, Any]:
    """Return the log fields that identify a message and its step, if it contains one."""
    fields: dict[str, Any] = {"message_id": record.message_id}
    with suppress(ValueError):
        step = Step.parse(record.body)
        fields |= {"sweep_id": step.sweep_id, "task": step.task, "segment": step.segment, "number": step.number}
    return fields
