"""The triggers of a function besides the API: a table's stream, a queue, a schedule."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from local.gateway.filters import Pattern

STREAM_BATCH: Final = 100
QUEUE_BATCH: Final = 10
QUEUE_CONCURRENCY: Final = 5


@dataclass(frozen=True, slots=True)
class StreamTrigger:
    """A DynamoDB stream, with the properties of its event source mapping.

    Attributes:
        function: the function's logical id.
        table: the table's name.
        starts_at: the position from which to read a stream that was never read.
        batch_size: the maximum number of records per invocation.
        retries: the number of retries of a batch; None retries until it succeeds.
        is_bisected: whether a batch that raised is split in halves.
        reports_failures: whether the function reports the records that failed.
        failures_to: the URL of the queue that receives a report of each batch that is given up.
        patterns: the filters; a record that matches none of them does not invoke the function.
    """

    function: str
    table: str
    starts_at: Literal["TRIM_HORIZON", "LATEST"]
    batch_size: int
    retries: int | None
    is_bisected: bool
    reports_failures: bool
    failures_to: str | None
    patterns: tuple[Pattern, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueTrigger:
    """An SQS queue; its own policy sets the visibility timeout and the dead-letter rule.

    Attributes:
        allows_loops: whether messages that the function has caused itself may invoke it without limit.
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
    """A schedule. `every` is None if it is not a rate: then it only runs on demand here."""

    function: str
    name: str
    kind: Literal["Schedule", "ScheduleV2"]
    expression: str
    every: timedelta | None
    input: str | None
    is_enabled: bool


Trigger = StreamTrigger | QueueTrigger | ScheduleTrigger
