"""The messages of an SQS queue that invokes a function."""

from collections.abc import Callable, Mapping
from pathlib import Path
from traceback import extract_tb
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

OnFailure = Callable[[SQSRecord, dict[str, Any], BaseException | None], None]


def process_messages(
    event: Mapping[str, Any], process: Callable[[SQSRecord], object], *, on_failure: OnFailure
) -> Mapping[str, Any]:
    """Process each message of an event on its own, and return the ids of those that failed: only they are retried.

    Args:
        event: the event of the function.
        process: processes one message; one for which it raises has failed.
        on_failure: is called for each failed message with the fields to log, and the exception. The fields are the
            message's id, the exception's type and where it was raised. Its text is not among them, because it may
            quote secrets or personal data.
    """
    processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
    with processor(event["Records"], process):
        processor.process()
    for record, (error, cause, trace) in zip(processor.fail_messages, processor.exceptions, strict=True):
        message: Any = record  # Powertools types failed messages as any kind of record
        place = extract_tb(trace)[-1]
        at = f"{Path(place.filename).name}:{place.lineno}"
        on_failure(
            message, {"message_id": message.message_id, "error": error.__name__ if error else "", "at": at}, cause
        )
    return processor.response()
