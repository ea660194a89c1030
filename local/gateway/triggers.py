"""What invokes a function besides the API: a table's stream, a queue, a schedule."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

STREAM_BATCH: Final = 100
QUEUE_BATCH: Final = 10
QUEUE_CONCURRENCY: Final = 5


@dataclass(frozen=True, slots=True)
class StreamTrigger:
    """A DynamoDB stream, as the properties of its event source mapping say.

    Attributes:
        function: the function's logical id.
        table: the table's name.
        starts_at: where a stream that was never read is read from.
        batch_size: how many records one invocation gets at most.
        retries: how often a batch is tried again; None is until it succeeds.
        is_bisected: whether a batch that raised is split in halves.
        reports_failures: whether the function names the records that failed.
        failures_to: the URL of the queue that is told of what was given up.
    """

    function: str
    table: str
    starts_at: Literal["TRIM_HORIZON", "LATEST"]
    batch_size: int
    retries: int | None
    is_bisected: bool
    reports_failures: bool
    failures_to: str | None


@dataclass(frozen=True, slots=True)
class QueueTrigger:
    """An SQS queue; when a message is seen again, and when it is dead, is the queue's own policy.

    Attributes:
        allows_loops: whether the function may be invoked by messages that it has caused itself without end.
    """

    function: str
    queue_url: str
    queue_arn: str
    batch_size: int
    concurrency: int
    reports_failures: bool
    allows_loops: bool = False


@dataclass(frozen=True, slots=True)
class ScheduleTrigger:
    """A schedule. `every` is None where it is not a rate: then it only runs on demand here."""

    function: str
    name: str
    kind: Literal["Schedule", "ScheduleV2"]
    expression: str
    every: timedelta | None
    input: str | None
    is_enabled: bool


Trigger = StreamTrigger | QueueTrigger | ScheduleTrigger
