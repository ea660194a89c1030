"""The figures as tables: on the terminal, and in docs/performance.md."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Final

from benchmarks.flat_cost import cost
from benchmarks.flat_cost.cost import MILLION, Cost, Units, request, units_of
from benchmarks.flat_cost.flatness import p50, trips_of
from benchmarks.flat_cost.life import PAGE, Call, Measured
from benchmarks.report import table

Amounts = Mapping[str, float]
"""The number of requests of each kind."""

WEBHOOKS: Final[Amounts] = {
    "webhook: data": 970_000,
    "webhook: a known connection": 20_000,
    "webhook: a new connection": 10_000,
    "publish a change": 30_000,
}
"""A million webhooks: nearly all of them deliver data."""

MONTH: Final[Amounts] = {
    "new session": 1_500,
    "get session: pending": 3_000,
    "get session: connected": 1_000,
    "redirect: Terra is asked": 1_000,
    "webhook: a new connection": 1_000,
    "publish a change": 2_000,
    "webhook: a known connection": 1_000,
    "webhook: data": 240_000,
    "list": 30_000,
    "get connection": 1_000,
    "disconnect": 100,
    "sweep: begin": 120,
    f"sweep: a page of {PAGE}": 480,
}
"""A month with a thousand new connections. section.md explains the numbers."""


def sweep_of(connections: int) -> Amounts:
    """A sweep of this many connections."""
    return {"sweep: begin": 1, f"sweep: a page of {PAGE}": -(-connections // PAGE)}


def figures(measured: Mapping[int, Measured]) -> str:
    """The consumption and duration of each kind of request, at each size."""
    sizes = sorted(measured)
    first = measured[sizes[0]].calls
    head = ["request", "DynamoDB: calls", "units", *(f"p50 at {size:,}" for size in sizes), "ratio"]
    rows = []
    for what in first:
        times = [p50(measured[size].calls[what]) for size in sizes]
        kinds = {call.trips for size in sizes for call in measured[size].calls[what]}
        consumed = [sum(units for trip in trips for _, units in trip.units) for trips in kinds]
        told = " or ".join(f"{units:g}" for units in sorted(consumed))
        calls = " or ".join(str(len(trips)) for trips in kinds)
        rows.append([what, calls, told, *(f"{each:.1f} ms" for each in times), f"{times[-1] / times[0]:.2f}"])
    return table(head, rows)


def prices(calls: Mapping[str, Sequence[Call]]) -> str:
    """The price of a million requests of each kind."""
    head = ["a million of", "read units", "write units", "Lambda", "DynamoDB", "Lambda", "API", "logs", "events", "USD"]
    rows = []
    for what in calls:
        if what != "authorize":
            units = units_of(trips_of(calls[what]))
            took = f"{cost.billed_ms(calls[what]):.0f} ms"
            rows.append([what, *_units(units), took, *_usd(request(what, calls).times(MILLION))])
    return table(head, rows)


def bill(amounts: Amounts, calls: Mapping[str, Sequence[Call]]) -> str:
    """The total price of these requests."""
    head = ["", "how many", "DynamoDB", "Lambda", "API", "logs", "events", "USD"]
    costs = {what: request(what, calls).times(count) for what, count in amounts.items()}
    rows = [[what, f"{amounts[what]:,}", *_usd(each)] for what, each in costs.items()]
    return table(head, [*rows, ["together", "", *_usd(Cost.of_all(costs.values()))]])


def section(measured: Mapping[int, Measured], *, rounds: int, python: str, alarms: int) -> str:
    """The part of docs/performance.md that this benchmark writes.

    Args:
        measured: by the number of connections.
        rounds: how often each kind of request was made on each size.
        python: the functions' version.
        alarms: the number of metrics that alarms use.
    """
    sizes = sorted(measured)
    calls, series = measured[sizes[-1]].calls, len(measured[sizes[-1]].series)
    constants = {name.lower(): _plain(value) for name, value in vars(cost).items() if isinstance(value, int | float)}
    return Template(Path(__file__).with_name("section.md").read_text()).substitute(
        constants,
        sizes=" ".join(map(str, sizes)),
        rounds=rounds,
        python=python,
        cores=os.cpu_count(),
        figures=figures(measured),
        prices=prices(calls),
        webhooks=bill(WEBHOOKS, calls),
        month=bill(MONTH, calls),
        sweep=bill(sweep_of(MILLION), calls),
        their_side=f"{2 * cost.READ_UNITS:.2f}",
        alarms=alarms,
        alarms_month=f"{alarms * cost.ALARM_MONTH:.2f}",
        secrets_month=f"{3 * cost.SECRET_MONTH:.2f}",
        secret_reads_month=f"{21_600 * cost.SECRET_READS / MILLION:.2f}",
        series=series,
        series_month=f"{series * cost.METRIC_MONTH:.2f}",
    )


def _plain(number: float) -> str:
    """A number without an exponent and without trailing zeros."""
    return f"{number:.10f}".rstrip("0").rstrip(".")


def _units(units: Units) -> Sequence[str]:
    return [f"{units.read:g}", f"{units.write:g}"]


def _usd(costs: Cost) -> Sequence[str]:
    return [f"{each:.2f}" for each in (*costs, costs.total)]
