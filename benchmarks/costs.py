"""`make costs`: computes docs/costs.md from measured units, list prices and assumptions.

`benchmarks/usage.json` has what each kind of request consumes; `make costs MEASURE=1` measures it again on the local
stack. tests/integration/test_consumed_units.py compares it with the functions, tests/tools/test_costs.py recomputes the
page.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx

from benchmarks import report
from benchmarks.flat_cost import PAGE, measure
from benchmarks.sweep_time import DYNAMODB_MS, MEMORY_MB, VCPU_MB
from local.testing import running_stack
from tests.support import cloudformation
from tests.support.terra import Terra
from tools.environment import ROOT
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from benchmarks.flat_cost import Invocations
    from benchmarks.functions import Invocation

PATH: Final = ROOT / "docs" / "costs.md"
USAGE: Final = ROOT / "benchmarks" / "usage.json"
USERS: Final = (1_000, 10_000, 100_000)
MILLION: Final = 1_000_000


class Price(NamedTuple):
    """A list price of us-east-1 in USD, for a number of units."""

    service: str
    unit: str
    usd: float
    per: int
    source: str

    def of(self, units: float) -> float:
        """Return the price of a number of units."""
        return units * self.usd / self.per


_AWS: Final = "https://aws.amazon.com"
PRICES: Final = {
    "api": Price("API Gateway", "request of up to 512 KB", 1.00, MILLION, f"{_AWS}/api-gateway/pricing/"),
    "invocations": Price("Lambda", "invocation", 0.20, MILLION, f"{_AWS}/lambda/pricing/"),
    "duration": Price("Lambda", "GB-second on arm64", 0.0000133334, 1, f"{_AWS}/lambda/pricing/"),
    "writes": Price("DynamoDB", "write request unit", 0.625, MILLION, f"{_AWS}/dynamodb/pricing/on-demand/"),
    "reads": Price("DynamoDB", "read request unit", 0.125, MILLION, f"{_AWS}/dynamodb/pricing/on-demand/"),
    "stored": Price("DynamoDB", "GB stored for a month", 0.25, 1, f"{_AWS}/dynamodb/pricing/on-demand/"),
    "recoverable": Price("DynamoDB", "GB with point-in-time recovery", 0.20, 1, f"{_AWS}/dynamodb/pricing/on-demand/"),
    "logs": Price("CloudWatch", "GB of logs", 0.50, 1, f"{_AWS}/cloudwatch/pricing/"),
    "log storage": Price("CloudWatch", "GB of compressed logs, for a month", 0.03, 1, f"{_AWS}/cloudwatch/pricing/"),
    "metric": Price("CloudWatch", "metric that is written in every hour", 0.30, 1, f"{_AWS}/cloudwatch/pricing/"),
    "alarm": Price("CloudWatch", "metric under an alarm", 0.10, 1, f"{_AWS}/cloudwatch/pricing/"),
    "dashboard": Price("CloudWatch", "dashboard", 3.00, 1, f"{_AWS}/cloudwatch/pricing/"),
    "event": Price("EventBridge", "custom event of up to 64 KB", 1.00, MILLION, f"{_AWS}/eventbridge/pricing/"),
    "archived": Price("EventBridge", "GB of archived events", 0.10, 1, f"{_AWS}/eventbridge/pricing/"),
    "put": Price("S3", "PUT request", 0.005, 1_000, f"{_AWS}/s3/pricing/"),
    "kept": Price("S3", "GB stored for a month", 0.023, 1, f"{_AWS}/s3/pricing/"),
    "queue": Price("SQS", "request", 0.40, MILLION, f"{_AWS}/sqs/pricing/"),
    "secret": Price("Secrets Manager", "secret", 0.40, 1, f"{_AWS}/secrets-manager/pricing/"),
    "secret read": Price("Secrets Manager", "call", 0.05, 10_000, f"{_AWS}/secrets-manager/pricing/"),
    "key": Price("KMS", "request", 0.03, 10_000, f"{_AWS}/kms/pricing/"),
}

TERRA_MS: Final = 300
"""The assumed time of a request to Terra. Not measured."""
HOURS: Final = 720  # in a month of 30 days
KEPT_WARM: Final = 6 * HOURS
"""The number of periods of ten minutes in a month: the assumed life of an idle execution environment."""
LEAST_COLD: Final = 0.01
"""The least share of cold starts, which AWS states for busy functions."""
PLATFORM_LOG, ACCESS_LOG = 330, 270
"""Bytes of an invocation's START, END and REPORT lines, and of a request's line in the access log."""
COMPRESSED: Final = 0.15
"""The size of stored logs, as a share of the written ones."""
DATA_TYPES: Final = ("activity", "body", "daily", "nutrition", "sleep")
IDLE_POLLS: Final = 5 * 3 * 60 * HOURS
"""Requests of Lambda to an empty queue in a month: five pollers, which wait for 20 seconds."""
PAYLOAD_GB: Final = 4e-6
"""The assumed size of a payload in the bucket, compressed. Not measured."""
RETENTION_DAYS: Final = 30
"""PayloadRetentionDays, by default."""
EVENT_GB: Final = 1e-6
"""The size of an event about a payload, which the archive of the bus keeps for two days."""
ROUTE_METRICS: Final = 6
"""4xx, 5xx, Count, DataProcessed, IntegrationLatency and Latency."""
TERRA_PAGE: Final = 500
"""Users on a page of Terra's list."""
THEIRS: Final = "sweep: a page of Terra's list"

WITHOUT_A_ROUTE: Final = {
    *("announce_data", "authorize", "fetch_payload", "publish_data", "publish_events", "reconcile", "run_backfill"),
    "sweep_page",
}
PUBLIC: Final = {"auth_failure", "auth_retry", "auth_success", "terra_webhook"}
READ_A_SECRET: Final = {
    *("auth_retry", "auth_success", "authorize", "create_mobile_token", "create_session", "disconnect"),
    *("erase_person", "run_backfill", "sweep_page", "sync_connections", "terra_webhook"),
}
MEASURED_INIT: Final = {"auth_failure", "auth_success", "create_session", "list_connections", "terra_webhook"}
LOADS_LIKE: Final = {
    "announce_data": "list_connections",
    "auth_retry": "auth_success",
    "authorize": "list_connections",
    "create_backfill": "list_connections",
    "create_mobile_token": "create_session",
    "create_replay": "list_connections",
    "disconnect": "auth_success",
    "erase_person": "create_session",
    "fetch_payload": "auth_success",
    "get_backfill": "list_connections",
    "get_connection": "list_connections",
    "get_facts": "list_connections",
    "get_session": "list_connections",
    "list_providers": "auth_success",
    "publish_data": "list_connections",
    "publish_events": "list_connections",
    "reconcile": "list_connections",
    "run_backfill": "create_session",
    "sweep_page": "auth_success",
    "sync_connections": "create_session",
}
"""For functions whose init docs/performance.md does not measure: a measured one with the same packages."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one request of a kind consumes.

    Attributes:
        function: the function that it invokes.
        reads, writes: request units of DynamoDB, as DynamoDB bills them.
        calls: calls of DynamoDB.
        others: calls of other services, by service.
        terra: requests to Terra.
        cpu_ms: processor time; the median.
        log: bytes that the function logs, metrics included.
        metrics: the metrics that it writes, with their dimensions.
    """

    function: str
    reads: float
    writes: float
    calls: float
    others: Mapping[str, int]
    terra: float
    cpu_ms: float
    log: int
    metrics: tuple[str, ...]

    @property
    def milliseconds(self) -> int:
        """The billed duration in Lambda, without init."""
        computing = self.cpu_ms * VCPU_MB / MEMORY_MB
        calls = self.calls + sum(self.others.values())
        return max(1, math.ceil(computing + calls * DYNAMODB_MS + self.terra * TERRA_MS))


# --- measured figures -------------------------------------------------------------------------------------------------


def usage_of(invocations: Invocations) -> dict[str, Usage]:
    """Return what each kind of request has consumed."""
    return {kind: _usage(found) for kind, found in invocations.items()}


def _usage(found: list[Invocation]) -> Usage:
    last = found[-1]
    return Usage(
        last.function,
        reads=sum(call.read_units for call in last.calls),
        writes=sum(call.write_units for call in last.calls),
        calls=len(last.calls),
        others=last.others,
        terra=last.terra_calls,
        cpu_ms=round(median(each.cpu_ms for each in found), 1),
        log=len(last.log.encode()),
        metrics=tuple(sorted(set(metrics_in(last.log)))),
    )


def metrics_in(log: str) -> Iterable[str]:
    """Yield the names and dimensions of the metrics in a log. The name of the secret is not the deployment's."""
    for line in log.splitlines():
        record = json.loads(line)
        for directive in record.get("_aws", {}).get("CloudWatchMetrics", []):
            names = [name for name in directive["Dimensions"][0] if name not in {"service", "secret"}]
            dimensions = "".join(f" {name}={record[name]}" for name in sorted(names))
            yield from (metric["Name"] + dimensions for metric in directive["Metrics"])


def stored_usage() -> dict[str, Usage]:
    """Return the measured usage, and that of a sweep's other pages."""
    content: dict[str, dict[str, Any]] = json.loads(USAGE.read_text())
    found = {kind: Usage(**{**each, "metrics": tuple(each["metrics"])}) for kind, each in content.items()}
    return {**found, THEIRS: page_of_terra(found[f"sweep: a page of {PAGE}"])}


def page_of_terra(page: Usage) -> Usage:
    """Return the usage of a page of Terra's list, from docs/architecture.md ("A million connections").

    For each user it reads the connection and its tombstone; the sweep's own items are two more units.
    """
    row = re.search(r"^\| theirs +\|.*$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    if row is None:
        message = "docs/architecture.md has no row `theirs`: run make sweep-time WRITE=1"
        raise ValueError(message)
    _, _, cpu, calls, terra, *_ = (cell.strip() for cell in row[0].strip("|").split("|"))
    reads = 2 * TERRA_PAGE + 2
    metrics = tuple(name.replace("/bulkUserInfo", "/subscriptions") for name in page.metrics)
    used = replace(page, reads=reads, calls=float(calls), terra=float(terra), cpu_ms=float(cpu.split()[0]))
    return replace(used, metrics=metrics)


def init_ms() -> dict[str, float]:
    """Return the duration of each measured function's init, from docs/performance.md."""
    lines = (ROOT / "docs" / "performance.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {row[0]: float(row[1]) for row in cells if row[0] in MEASURED_INIT}


# --- the month --------------------------------------------------------------------------------------------------------

PER_USER: Final = {
    "new session": 0.15,
    "get session: pending": 0.30,
    "get session: connected": 0.10,
    "redirect: verified by Terra": 0.05,
    "redirect: known to be connected": 0.05,
    "redirect: a failed login": 0.03,
    "retry": 0.01,
    "webhook: a new connection": 0.10,
    "webhook: a known connection": 0.10,
    "publish a change": 0.20,
    "list": 30,
    "get connection": 1,
    "list providers": 0.15,
    "mobile token": 0.02,
    "sync": 0.5,
    "disconnect": 0.02,
    "erase": 0.005,
}
"""Requests of a user in a month."""
DATA_PER_DAY: Final = 8
"""Data deliveries of a user in a day, if Terra sends data to this stack."""


def requests(month: Month) -> dict[str, float]:
    """Return the number of requests of each kind in a month."""
    users, sweeps = month.users, HOURS / month.sweep_every_hours
    data = users * DATA_PER_DAY * 30 if month.with_data else 0
    return {
        **{kind: users * each for kind, each in PER_USER.items()},
        "webhook: data": 0 if month.keeps_data else data,
        "webhook: kept data": data if month.keeps_data else 0,
        "publish kept data": data if month.keeps_data else 0,
        "sweep: begin": sweeps,
        # The table has four segments; the verdict is one more step.
        f"sweep: a page of {PAGE}": sweeps * (4 * math.ceil(users / 4 / PAGE) + 1),
        THEIRS: sweeps * math.ceil(users / TERRA_PAGE),
    }


@dataclass(frozen=True, slots=True)
class Fixed:
    """What the template determines: the numbers of secrets and of metrics under alarms, and the routes with metrics."""

    secrets: int
    alarm_metrics: int
    detailed_routes: frozenset[str]
    """The functions of the routes for which API Gateway writes metrics."""


def fixed() -> Fixed:
    """Read template.yaml, without what exists only with NotifyUrl or DataDeliveries=keep, which are not the default."""
    resources = {
        name: resource
        for name, resource in cloudformation.parsed()["Resources"].items()
        if resource.get("Condition") not in ("HasNotifyUrl", "KeepsData", "MakeNotifyKey")
    }
    types = Counter(resource["Type"] for resource in resources.values())
    alarms = [each["Properties"] for each in resources.values() if each["Type"] == "AWS::CloudWatch::Alarm"]
    api = resources["HttpApi"]["Properties"]
    by_default = api["DefaultRouteSettings"].get("DetailedMetricsEnabled", False)
    routes = {
        f"{event['Properties']['Method']} {event['Properties']['Path']}": resource["Properties"]["CodeUri"]
        for resource in resources.values()
        if resource["Type"] == "AWS::Serverless::Function"
        for event in resource["Properties"].get("Events", {}).values()
        if event["Type"] == "HttpApi"
    }
    detailed = {
        uri.rpartition("/")[2]
        for route, uri in routes.items()
        if api["RouteSettings"].get(route, {"DetailedMetricsEnabled": by_default}).get("DetailedMetricsEnabled", False)
    }
    return Fixed(
        secrets=types["AWS::SecretsManager::Secret"],
        alarm_metrics=sum(
            1 if "MetricName" in alarm else sum("MetricStat" in part for part in alarm["Metrics"]) for alarm in alarms
        ),
        detailed_routes=frozenset(detailed),
    )


@dataclass(frozen=True, slots=True)
class Month:
    """The assumptions of one computation; the defaults are those of the template."""

    users: int
    with_data: bool = True
    keeps_data: bool = False
    sweep_every_hours: float = 6
    log_retention_days: int = 30
    is_detailed_everywhere: bool = False
    has_service_key_only: bool = False


def bill(month: Month, usage: Mapping[str, Usage], template: Fixed) -> dict[str, float]:
    """Return the cost of a month in USD, by service."""
    counts = requests(month)
    kept = counts["webhook: kept data"]
    of_function: dict[str, float] = defaultdict(float)
    for kind, count in counts.items():
        of_function[usage[kind].function] += count
    api = {function: count for function, count in of_function.items() if function not in WITHOUT_A_ROUTE}
    called = sum(count for function, count in api.items() if function not in PUBLIC)
    # API Gateway caches the authorizer's response for a minute; each user has a token of their own.
    authorized = min(called, HOURS * 60) if month.has_service_key_only else called
    counts = {**counts, "authorize": authorized}
    of_function["authorize"] = authorized

    inits = init_ms()
    seconds = sum(count * usage[kind].milliseconds for kind, count in counts.items()) / 1000
    cold_seconds = sum(
        count * max(LEAST_COLD, math.exp(-count / KEPT_WARM)) * inits[LOADS_LIKE.get(function, function)] / 1000
        for function, count in of_function.items()
    )
    written = sum(count * (usage[kind].log + PLATFORM_LOG) for kind, count in counts.items())
    logs_gb = (written + sum(api.values()) * ACCESS_LOG) / 1e9
    deliveries = of_function["terra_webhook"]
    # A connection has 1.2 kB with its index the same again, a delivery's two records live for two days.
    connections_gb = month.users * 2 * 1.2e3 / 1e9
    # With keep, the pointer of a payload is there for as long as the payload.
    pointers_gb = kept / 30 * RETENTION_DAYS * 500 / 1e9
    other_gb = (deliveries / 30 * 2 * 2 * 250 + counts["new session"] / 30 * 7 * 2 * 800) / 1e9 + pointers_gb
    tables = sum(2 * min(count, 12 * HOURS) for function, count in of_function.items() if function != "authorize")
    secret_reads = sum(min(count, 30 * HOURS) for name, count in of_function.items() if name in READ_A_SECRET)
    pages = counts[f"sweep: a page of {PAGE}"] + counts[THEIRS]
    detailed = {name: api[name] for name in (api if month.is_detailed_everywhere else template.detailed_routes)}
    memory = MEMORY_MB / 1024
    return {
        "API Gateway": PRICES["api"].of(sum(api.values())),
        "Lambda: invocations": PRICES["invocations"].of(sum(of_function.values())),
        "Lambda: duration": PRICES["duration"].of(seconds * memory),
        "Lambda: init of cold starts": PRICES["duration"].of(cold_seconds * memory),
        "DynamoDB: writes": PRICES["writes"].of(sum(count * usage[kind].writes for kind, count in counts.items())),
        "DynamoDB: reads": PRICES["reads"].of(sum(count * usage[kind].reads for kind, count in counts.items())),
        "DynamoDB: storage": PRICES["stored"].of(connections_gb + other_gb) + PRICES["recoverable"].of(connections_gb),
        "CloudWatch: logs": PRICES["logs"].of(logs_gb)
        + PRICES["log storage"].of(logs_gb * COMPRESSED * month.log_retention_days / 30),
        "CloudWatch: metrics of the functions": PRICES["metric"].of(_metrics(counts, usage)),
        "CloudWatch: metrics of routes": PRICES["metric"].of(ROUTE_METRICS * sum(map(_active, detailed.values()))),
        "CloudWatch: alarms": PRICES["alarm"].of(template.alarm_metrics),
        "CloudWatch: dashboard": PRICES["dashboard"].of(1),
        "EventBridge": PRICES["event"].of(counts["publish a change"] + kept) + PRICES["archived"].of(kept * EVENT_GB),
        "S3": PRICES["put"].of(kept) + PRICES["kept"].of(kept / 30 * RETENTION_DAYS * PAYLOAD_GB),
        "SQS": PRICES["queue"].of(3 * pages + IDLE_POLLS),
        "Secrets Manager": PRICES["secret"].of(template.secrets) + PRICES["secret read"].of(secret_reads),
        "KMS": PRICES["key"].of(tables),
    }


def _active(count: float) -> float:
    """Return the share of the month's hours in which something happens that happens this often, at random."""
    return 1 - math.exp(-count / HOURS)


def _metrics(counts: Mapping[str, float], usage: Mapping[str, Usage]) -> float:
    """Return the number of metrics, each weighted by the share of hours in which it is written."""
    written: dict[str, float] = defaultdict(float)
    for kind, count in counts.items():
        for name in usage[kind].metrics:
            names = [name.replace("=daily", f"={type_}") for type_ in DATA_TYPES] if "=daily" in name else [name]
            for each in names:
                written[each] += count / len(names)
    return sum(map(_active, written.values()))


# --- the page ---------------------------------------------------------------------------------------------------------


def page(usage: Mapping[str, Usage], template: Fixed) -> str:
    """Return the computed part of docs/costs.md."""
    return "\n\n".join(
        [
            "### Prices",
            report.table(
                ["service", "USD", "for", "source"],
                [
                    [
                        each.service,
                        f"{each.usd:.10f}".rstrip("0").rstrip("."),
                        f"{each.per:,} x {each.unit}",
                        each.source,
                    ]
                    for each in PRICES.values()
                ],
            ),
            "### What a request consumes",
            _consumed(usage),
            "### Costs per month, in USD",
            _months(usage, template),
            "### What changes the bill, in USD a month",
            _levers(usage, template),
        ]
    )


def _consumed(usage: Mapping[str, Usage]) -> str:
    head = ["request", "read units", "write units", "Lambda", "log", "USD a million"]
    rows = [
        [
            kind,
            f"{each.reads:g}",
            f"{each.writes:g}",
            f"{each.milliseconds} ms",
            f"{each.log:,} B",
            f"{_a_million(each):.2f}",
        ]
        for kind, each in usage.items()
    ]
    return report.table(head, rows)


def _a_million(each: Usage) -> float:
    """Return the cost of a million requests: API, Lambda, DynamoDB, logs, events and objects, without their storage."""
    has_route = each.function not in WITHOUT_A_ROUTE
    one = (
        PRICES["api"].of(has_route)
        + PRICES["invocations"].of(1)
        + PRICES["duration"].of(each.milliseconds / 1000 * MEMORY_MB / 1024)
        + PRICES["writes"].of(each.writes)
        + PRICES["reads"].of(each.reads)
        + PRICES["logs"].of((each.log + PLATFORM_LOG + ACCESS_LOG * has_route) / 1e9)
        + PRICES["event"].of(each.function in {"publish_data", "publish_events"})
        + PRICES["archived"].of(EVENT_GB * (each.function == "publish_data"))
        + PRICES["put"].of(each.others.get("s3", 0))
        + PRICES["queue"].of(3 * (each.function == "sweep_page"))
    )
    return one * MILLION


def _months(usage: Mapping[str, Usage], template: Fixed) -> str:
    months = [Month(users, with_data=with_data) for with_data in (False, True) for users in USERS]
    bills = [bill(month, usage, template) for month in months]
    head = ["", *(f"{month.users:,}{' with data' if month.with_data else ''}" for month in months)]
    rows = [[service, *(f"{each[service]:.2f}" for each in bills)] for service in bills[0]]
    return report.table(head, [*rows, ["together", *(f"{sum(each.values()):.2f}" for each in bills)]])


def _levers(usage: Mapping[str, Usage], template: Fixed) -> str:
    def total(users: int, **changes: Any) -> float:  # noqa: ANN401 - any field of Month
        return sum(bill(Month(users, **changes), usage, template).values())

    changes: dict[str, dict[str, Any]] = {
        "Terra sends its data to another destination": {"with_data": False},
        "`DataDeliveries` is `keep`": {"keeps_data": True},
        "metrics of every route (`DetailedMetricsEnabled`)": {"is_detailed_everywhere": True},
        "a back end calls with a service key, instead of each user with a token": {"has_service_key_only": True},
        "`SweepSchedule` is once a day": {"sweep_every_hours": 24},
        "`LogRetentionDays` is 7": {"log_retention_days": 7},
    }
    head = ["compared with the month with data", *(f"{users:,}" for users in USERS)]
    rows = [
        [name, *(f"{round(total(users, **change) - total(users), 2) + 0.0:+.2f}" for users in USERS)]
        for name, change in changes.items()
    ]
    return report.table(head, rows)


def main() -> None:
    """Compute the page; measure the usage first, if requested."""
    parser = argparse.ArgumentParser(prog="make costs", description=__doc__)
    parser.add_argument("--measure", action="store_true", help="measure the usage, and write benchmarks/usage.json")
    parser.add_argument("--rounds", type=int, default=20, help="how often each kind of request is made")
    options = parser.parse_args()
    if options.measure:
        with running_stack() as stack, httpx.Client(base_url=stack.terra_url, timeout=60) as client:
            [found] = measure(stack, Terra(client, stack.signing_secret), [1_000], rounds=options.rounds).values()
        usage = {kind: asdict(each) for kind, each in usage_of(found).items()}
        USAGE.write_text(json.dumps(usage, indent=2) + "\n")
        say(f"Measured on {time.strftime('%d %B %Y')}.")
    text = page(stored_usage(), fixed())
    say(text)
    report.write("costs", "make costs", text, path=PATH)


if __name__ == "__main__":
    main()
