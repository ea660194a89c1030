"""Converts measurements to AWS charges: list prices of us-east-1, in USD, as of November 2026."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final, NamedTuple

from benchmarks.flat_cost.flatness import Trips, trips_of
from benchmarks.flat_cost.life import Call

MILLION: Final = 1_000_000

# Prices per million, unless a comment states otherwise.
READ_UNITS: Final = 0.125
WRITE_UNITS: Final = 0.625
LAMBDA_REQUESTS: Final = 0.20
LAMBDA_GB_SECOND: Final = 0.0000133334  # for one; arm64
HTTP_API_REQUESTS: Final = 1.00
EVENTS: Final = 1.00  # EventBridge, each of up to 64 KB
SQS_REQUESTS: Final = 0.40
SECRET_READS: Final = 5.00
LOG_GB: Final = 0.50  # for one, ingested
SECRET_MONTH: Final = 0.40  # for one
ALARM_MONTH: Final = 0.10  # for each metric that an alarm uses
METRIC_MONTH: Final = 0.30  # for one name with its dimensions, of the first 10,000
STORAGE_GB_MONTH: Final = 0.45  # 0.25 for one, and 0.20 for its point-in-time recovery

MEMORY_MB: Final = 512
"""Of a function, in template.yaml."""
VCPU_MB: Final = 1769
"""The memory that comes with one whole vCPU (AWS Lambda's documentation); CPU time scales in proportion below it."""
DYNAMODB_MS: Final = 4.0
TERRA_MS: Final = 300.0
"""The assumed duration of a round trip. Not measured: it needs AWS, and Terra."""
LAMBDA_LOG_BYTES: Final = 330
"""Lambda's own START, END and REPORT lines of one invocation."""
ACCESS_LOG_BYTES: Final = 270
"""A line of HttpApi's AccessLogSettings."""
LEAST_QUERY: Final = 0.5
TRANSACTION: Final = 2
"""Write units of a transaction for each kilobyte of an item (DynamoDB's documentation)."""


class Units(NamedTuple):
    """Request units of DynamoDB."""

    read: float
    write: float


class Cost(NamedTuple):
    """USD, by service."""

    dynamodb: float = 0.0
    functions: float = 0.0
    api: float = 0.0
    logs: float = 0.0
    events: float = 0.0

    @property
    def total(self) -> float:
        """The total."""
        return sum(self)

    def times(self, count: float) -> "Cost":
        """A multiple of the cost."""
        return Cost(*(part * count for part in self))

    @classmethod
    def of_all(cls, costs: Iterable["Cost"]) -> "Cost":
        """The sum of costs."""
        return cls(*map(sum, zip(*costs, strict=True)))


def units_of(trips: Trips) -> Units:
    """The units that DynamoDB would charge for these trips.

    By its documentation where DynamoDB Local omits something: a missing key of a BatchGetItem costs a unit, a Query
    without results a half, and a transaction's units count for each item that it writes or checks.
    """
    read = write = 0.0
    for trip in trips:
        reported = sum(units for _, units in trip.units)
        if trip.call in {"GetItem", "BatchGetItem", "Query", "Scan"}:
            read += max(reported, LEAST_QUERY if trip.call == "Query" else 0) + trip.missing
        elif trip.call == "TransactWriteItems":
            write += trip.written * TRANSACTION
        else:
            write += reported
    return Units(read, write)


def billed_ms(calls: Iterable[Call]) -> float:
    """Billed milliseconds of Lambda: CPU time, scaled by the CPU share of the memory size, plus waiting time."""
    calls = list(calls)
    computing = median(call.cpu_ms for call in calls) * max(VCPU_MB / MEMORY_MB, 1)
    waiting = len(calls[0].trips) * DYNAMODB_MS + median(call.terra_calls for call in calls) * TERRA_MS
    return computing + waiting


def invocation(calls: Iterable[Call]) -> Cost:
    """One invocation of a function."""
    calls = list(calls)
    units = units_of(trips_of(calls))
    gb_seconds = billed_ms(calls) / 1000 * MEMORY_MB / 1024
    log_bytes = median(call.log_bytes for call in calls) + LAMBDA_LOG_BYTES
    return Cost(
        dynamodb=(units.read * READ_UNITS + units.write * WRITE_UNITS) / MILLION,
        functions=LAMBDA_REQUESTS / MILLION + gb_seconds * LAMBDA_GB_SECOND,
        logs=log_bytes / 1e9 * LOG_GB,
    )


def request(what: str, calls: Mapping[str, Iterable[Call]]) -> Cost:
    """One request of a kind, with everything it involves: gateway, authorizer, event."""
    own = invocation(calls[what])
    if what.startswith(("webhook", "redirect")):
        return Cost.of_all([own, _GATEWAY])
    if what == "publish a change":
        return Cost.of_all([own, Cost(events=EVENTS / MILLION)])
    if what.startswith("sweep"):
        # Sent, received and deleted.
        return Cost.of_all([own, Cost(events=3 * SQS_REQUESTS / MILLION)])
    # API Gateway caches an authorizer's response for a minute; here it is invoked for each request.
    return Cost.of_all([own, _GATEWAY, invocation(calls["authorize"])])


_GATEWAY: Final = Cost(api=HTTP_API_REQUESTS / MILLION, logs=ACCESS_LOG_BYTES / 1e9 * LOG_GB)
