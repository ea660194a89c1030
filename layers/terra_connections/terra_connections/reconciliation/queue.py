"""The queue that the steps of a sweep wait in."""

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from terra_connections.reconciliation.sweep import Step

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LONGEST_DELAY = timedelta(minutes=15)
"""SQS delays no message for longer; who has to wait longer hops."""


class SweepQueue:
    """Sends steps."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, step: Step, *, delay: timedelta = timedelta(0)) -> None:
        """Send a step, to be seen after a delay or after the longest that there is."""
        # Rounded up: who comes too early would only hop again.
        seconds = math.ceil(min(max(delay, timedelta(0)), LONGEST_DELAY).total_seconds())
        self._client.send_message(QueueUrl=self._url, MessageBody=step.as_text(), DelaySeconds=seconds)
