"""From runs to tables. Rows are compared within a round, which is free of whatever slowed the machine for a while.

Every figure but the least stands with the middle half of the rounds: what differs by less than that is no difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

from benchmarks import report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.tried.rows import Row

Measured = dict[str, float]
"""What stopwatch.py prints of one process: milliseconds of the processor, modules, MB."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A row's runs, beside those of the row that it is compared with, and of the one that is the table's measure."""

    row: Row
    runs: Sequence[Measured]
    basis: Sequence[Measured]
    measure: Sequence[Measured]

    def least(self, what: str, *, times: float = 1) -> str:
        """The run that was disturbed least."""
        return number(min(run[what] for run in self.runs) * times)

    def spread(self, what: str, *, times: float = 1) -> str:
        """The median."""
        return spread([run[what] * times for run in self.runs], number)

    def typical(self, what: str) -> str:
        """The median of what hardly varies."""
        return f"{median(run[what] for run in self.runs):.0f}"

    def ratio(self, what: str) -> str:
        """How many times the measure."""
        ratios = [run[what] / other[what] for run, other in zip(self.runs, self.measure, strict=True)]
        return spread(ratios, "{:.2f}".format)

    @property
    def more(self) -> str:
        """How much more is loaded than by the basis, if there is one."""
        if self.runs is self.basis:
            return ""
        if self.row.upon:
            differences = [run["step"] for run in self.runs]
        else:
            differences = [run["load"] - other["load"] for run, other in zip(self.runs, self.basis, strict=True)]
        return spread(differences, "{:+.0f}".format)


Column = tuple[str, "Callable[[Figures], str]"]

_LOAD: Final[Sequence[Column]] = (
    ("loading: least", lambda one: one.least("load")),
    ("median", lambda one: one.spread("load")),
)
COLUMNS: Final[Mapping[str, Sequence[Column]]] = {
    "loading": (
        *_LOAD,
        ("x as published", lambda one: one.ratio("load")),
        ("more", lambda one: one.more),
        ("than", lambda one: one.row.basis if one.more else ""),
        ("for cycles", lambda one: one.spread("cycles")),
        ("modules", lambda one: one.typical("modules")),
        ("MB", lambda one: one.typical("memory")),
    ),
    "reading": (
        ("an event, µs: least", lambda one: one.least("event: each", times=1000)),
        ("median", lambda one: one.spread("event: each", times=1000)),
        ("x plain code", lambda one: one.ratio("event: each")),
        *_LOAD,
        ("more", lambda one: one.more),
        ("modules", lambda one: one.typical("modules")),
    ),
    "calling": tuple(
        column
        for call in ("PutItem", "TransactWriteItems")
        for column in (
            (f"{call}: least", lambda one, what=f"{call}: each": one.least(what)),
            ("median", lambda one, what=f"{call}: each": one.spread(what)),
            ("x botocore's", lambda one, what=f"{call}: each": one.ratio(what)),
        )
    ),
    "trusting": (
        ("the first: least", lambda one: one.least("roots: first")),
        ("median", lambda one: one.spread("roots: first")),
        ("x as published", lambda one: one.ratio("roots: first")),
        ("each later one", lambda one: one.spread("roots: each")),
    ),
}
"""Of each table. Milliseconds of the processor, where nothing else is said."""


def table(name: str, rows: Sequence[Row], runs: Mapping[str, Sequence[Measured]]) -> str:
    """A table in Markdown.

    Args:
        name: which one.
        rows: in their order; ratios are to the basis of the first.
        runs: of every row, by its name.
    """
    heads, cells = zip(*COLUMNS[name], strict=True)
    found = [Figures(row, runs[row.name], runs[row.basis], runs[rows[0].basis]) for row in rows]
    return report.table(["", *heads], ([one.row.name, *(cell(one) for cell in cells)] for one in found))


def spread(values: Sequence[float], shown: Callable[[float], str]) -> str:
    """The median, and between which values the middle half lies."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return f"{shown(median(values))} ({shown(low)} to {shown(high)})"


def number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"  # noqa: PLR2004 - the least that has three
