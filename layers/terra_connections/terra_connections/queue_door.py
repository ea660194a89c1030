"""What every door of a queue does besides its own story: give back what failed, and log one line for each message."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aws_lambda_powertools.logging import Logger

Notes = dict[str, str | int]

_log = Logger()


def queue_door(story: Callable[[str, Notes], None]) -> Callable[[Mapping[str, Any], object], dict[str, Any]]:
    """A Lambda handler that tells a story for each message of a queue, with ReportBatchItemFailures.

    Args:
        story: works a message's body; what it notes is logged. Whatever it raises sends the message back to the queue.
    """
    name = story.__name__

    def lambda_handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        failed: list[dict[str, str]] = []
        for record in event["Records"]:
            started, notes = time.perf_counter(), Notes(message_id=record["messageId"])
            try:
                story(record["body"], notes)
            except Exception as error:  # noqa: BLE001 - whatever it is: this message comes again, the others do not
                failed.append({"itemIdentifier": record["messageId"]})
                # By its type and place only: its text may quote what nobody may log.
                notes.update(error=type(error).__name__, at=_place(error))
            milliseconds = round((time.perf_counter() - started) * 1000)
            _log.info(name, **notes, ms=milliseconds)  # type: ignore[arg-type]
        return {"batchItemFailures": failed}

    return lambda_handler


def _place(error: Exception) -> str:
    """Where it was raised."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
