"""The queue of a sweep: process one step, which is a page of the table, of Terra's list, or of candidates."""

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from traceback import extract_tb
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from terra_connections import metrics, wiring
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
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    with processor(event["Records"], sweep_page):
        processor.process()
    for record, (error, _, trace) in zip(processor.fail_messages, processor.exceptions, strict=True):
        # Only the type and the place are logged: the text may quote secrets or personal data.
        place = extract_tb(trace)[-1]
        at = f"{Path(place.filename).name}:{place.lineno}"
        _log.info("sweep_page", **_fields(record), error=error.__name__ if error else "", at=at)
    return processor.response()


def _fields(record: Any) -> dict[str, Any]:  # noqa: ANN401 - Powertools types failed messages as any kind of record
    """Return the log fields that identify a message and its step, if it contains one."""
    fields: dict[str, Any] = {"message_id": record.message_id}
    with suppress(ValueError):
        step = Step.parse(record.body)
        fields |= {"sweep_id": step.sweep_id, "task": step.task, "segment": step.segment, "number": step.number}
    return fields
