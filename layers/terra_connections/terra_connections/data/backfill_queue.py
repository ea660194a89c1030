"""The queue of the pending steps of backfills. Its messages name no user."""

import json
import math
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LONGEST_DELAY = timedelta(minutes=15)
"""The longest delay of an SQS message. A longer wait takes several messages."""


@dataclass(frozen=True, slots=True)
class Step:
    """The next requests for one connection of a backfill.

    Attributes:
        number: that of the connection.
        tries: how often Terra did not respond in a row.
    """

    backfill_id: str
    number: int
    tries: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a message.

        Raises:
            ValueError: it is not one of this module.
        """
        try:
            step = cls(**json.loads(text))
        except TypeError:
            step = None
        if step is None or not isinstance(step.backfill_id, str) or type(step.number) is not int:
            message = "not a step of a backfill"
            raise ValueError(message)
        return step

    def as_text(self) -> str:
        """Return the message."""
        return json.dumps(asdict(self))


class BackfillQueue:
    """Sends steps."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, step: Step, *, delay: timedelta = timedelta(0)) -> None:
        """Send a step, to be received after a delay of at most `LONGEST_DELAY`."""
        # Rounded up: a step that is received too early is only sent again.
        seconds = math.ceil(min(max(delay, timedelta(0)), LONGEST_DELAY).total_seconds())
        self._client.send_message(QueueUrl=self._url, MessageBody=step.as_text(), DelaySeconds=seconds)
