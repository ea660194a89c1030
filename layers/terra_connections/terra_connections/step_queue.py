"""A queue of the pending steps of a longer task."""

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LONGEST_DELAY = timedelta(minutes=15)
"""The longest delay of an SQS message. A longer wait takes several messages."""


class Step(Protocol):
    """A step that can be sent as a message."""

    def as_text(self) -> str:
        """Return the message."""
        ...


class StepQueue:
    """Sends steps."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, step: Step, *, delay: timedelta = timedelta(0)) -> None:
        """Send a step, to be received after a delay of at most `LONGEST_DELAY`."""
        # Rounded up: a step that is received too early is only sent again.
        seconds = math.ceil(min(max(delay, timedelta(0)), LONGEST_DELAY).total_seconds())
        self._client.send_message(QueueUrl=self._url, MessageBody=step.as_text(), DelaySeconds=seconds)
