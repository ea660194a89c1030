"""Converts runs to figures: medians with their spread, ratios to the floors, tables and a plot."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.execution import Run, Subject

_BAR, _LEFT, _WIDTH = 22, 230, 430
_WHOLE_CORE: Final = 1769  # MB of memory that come with one whole vCPU (AWS, "Configure Lambda function memory")
_GB_SECOND: Final = 0.0000133334  # USD, arm64
_REQUESTS: Final = 0.20  # USD a million
_COLOURS: Final = {"init": "#2f6f9f", "first": "#e0963c"}


@dataclass(frozen=True, slots=True)
class Figures:
    """The results for one subject. A ratio is the median of the ratios to another subject in the same round.

    A ratio within a round excludes temporary slowdowns of the whole machine.

    Attributes:
        name: the subject's name.
        runs: its runs.
        floor: the runs of a bare handler with boto3 as published.
        our_floor: the runs of the same handler with this project's layer.
        trips: the number of DynamoDB calls in a warm call, if known.
        bare: the runs of a bare handler that makes the same calls, if there is one.
    """

    name: str
    runs: Sequence[Run]
    floor: Sequence[Run]
    our_floor: Sequence[Run]
    trips: int | None = None
    bare: Sequence[Run] | None = None

    def of(self, what: Callable[[Run], float]) -> float:
        """The median."""
        return median(map(what, self.runs))

    def spread(self, what: Callable[[Run], float]) -> tuple[float, float]:
        """The interquartile range."""
        low, _, high = quantiles(map(what, self.runs), n=4)
        return low, high

    def ratio(self, what: Callable[[Run], float], to: Sequence[Run] | None = None) -> float:
        """The ratio to the floor, or to other runs."""
        return median(what(run) / what(other) for run, other in zip(self.runs, to or self.floor, strict=True))

    def warm(self, percent: int) -> float:
        """A percentile of all warm calls."""
        return quantiles((call for run in self.runs for call in run.warm), n=100)[percent - 1]


def cold(run: Run) -> float:
    """Init and first response."""
    return run.cold


def cold_cpu(run: Run) -> float:
    """The CPU time of the same."""
    return run.cold_cpu


def warm_p50(run: Run) -> float:
    """The median of a run's warm calls."""
    return median(run.warm)


def warm_cpu(run: Run) -> float:
    """The CPU time of a warm call."""
    return run.warm_cpu


def memory(run: Run) -> float:
    """The peak resident memory."""
    return run.memory


def figures(runs: Mapping[str, Sequence[Run]], chosen: Sequence[Subject], floor: str, our_floor: str) -> list[Figures]:
    """The figures of every subject, in order."""
    return [
        Figures(
            subject.name,
            runs[subject.name],
            runs[floor],
            runs[our_floor],
            subject.trips,
            runs[subject.bare] if subject.bare else None,
        )
        for subject in chosen
    ]


def cold_table(found: Sequence[Figures]) -> str:
    """Cold starts, as Markdown."""
    head = ["", "init", "first answer", "both (middle half)", "x floor", "x floor, our layer"]
    head += ["CPU", "x floor", "x floor, our layer", "memory", "x floor"]
    rows = []
    for one in found:
        low, high = one.spread(cold)
        rows.append(
            [
                one.name,
                f"{one.of(lambda run: run.init):.0f}",
                f"{one.of(lambda run: run.first):.0f}",
                f"{one.of(cold):.0f} ({low:.0f}-{high:.0f})",
                f"**{one.ratio(cold):.2f}**",
                f"{one.ratio(cold, one.our_floor):.2f}",
                f"{one.of(cold_cpu):.0f}",
                f"**{one.ratio(cold_cpu):.2f}**",
                f"{one.ratio(cold_cpu, one.our_floor):.2f}",
                f"{one.of(memory):.0f}",
                f"{one.ratio(memory):.2f}",
            ]
        )
    return table(head, rows)


def warm_table(found: Sequence[Figures]) -> str:
    """Warm calls, as Markdown."""
    head = ["", "calls of DynamoDB", "p50", "p99", "x floor", "x bare", "CPU a call", "x floor", "x bare"]
    rows = [
        [
            one.name,
            "" if one.trips is None else str(one.trips),
            f"{one.warm(50):.1f}",
            f"{one.warm(99):.1f}",
            f"{one.ratio(warm_p50):.2f}",
            f"**{one.ratio(warm_p50, one.bare):.2f}**" if one.bare else "",
            f"{one.of(warm_cpu):.2f}",
            f"{one.ratio(warm_cpu):.2f}",
            f"**{one.ratio(warm_cpu, one.bare):.2f}**" if one.bare else "",
        ]
        for one in found
    ]
    return table(head, rows)


def goals(found: Sequence[Figures]) -> str:
    """The goals that these subjects reach, as Markdown."""
    rows = []
    for goal, ratio, limit in _GOALS:
        reached = [f"{ratio(one):.2f} {'reached' if round(ratio(one), 2) <= limit else '**missed**'}" for one in found]
        rows.append([goal, *reached])
    return table(["", *(one.name for one in found)], rows)


_GOALS: Final[Sequence[tuple[str, Callable[[Figures], float], float]]] = (
    ("cold start at most 1.10 x floor", lambda one: one.ratio(cold), 1.10),
    ("then below it", lambda one: one.ratio(cold), 0.99),
    ("its processor time at most 1.10 x floor", lambda one: one.ratio(cold_cpu), 1.10),
    ("cold start at most 1.10 x the floor with our layer", lambda one: one.ratio(cold, one.our_floor), 1.10),
    ("warm p50 at most 1.10 x the same calls bare", lambda one: one.ratio(warm_p50, one.bare), 1.10),
    (
        "processor time of a warm call at most 1.10 x the same calls bare",
        lambda one: one.ratio(warm_cpu, one.bare),
        1.10,
    ),
    ("warm p50 at most 1.10 x floor", lambda one: one.ratio(warm_p50), 1.10),
    ("processor time of a warm call at most 1.10 x floor", lambda one: one.ratio(warm_cpu), 1.10),
    ("memory at most 1.20 x floor", lambda one: one.ratio(memory), 1.20),
)
"""The goals, with the figure that each is read from, and its limit."""


def sizes(one: Figures) -> str:
    """The effect of memory sizes on a subject, as Markdown: CPU comes with memory, 1769 MB being one whole core."""
    cold_ms, warm_ms = one.of(cold_cpu), one.of(warm_cpu)
    how = (
        f"`{one.name}` by memory size, from {cold_ms:.0f} ms of processor a cold start, {warm_ms:.1f} ms a warm call "
        "(of this machine, not of Lambda's: not measured there). "
        f"Time = processor time x {_WHOLE_CORE} MB / memory, and waiting comes on top. "
        f"Cost of a million warm calls = memory / 1024 MB x time x {_GB_SECOND:.10f} USD + {_REQUESTS:.2f} USD "
        "(list prices of arm64 in us-east-1)."
    )
    rows = []
    for megabytes in (128, 256, 512, 1024, _WHOLE_CORE):
        slower = _WHOLE_CORE / megabytes
        cost = megabytes / 1024 * (warm_ms * slower / 1000) * 1e6 * _GB_SECOND + _REQUESTS
        rows.append([str(megabytes), f"{cold_ms * slower:.0f}", f"{warm_ms * slower:.1f}", f"{cost:.2f}"])
    head = ["MB", "cold start, ms", "warm call, ms", "a million warm calls, USD"]
    return f"{how}\n\n{table(head, rows)}"


def plot(found: Sequence[Figures]) -> str:
    """Cold starts as bars, as SVG."""
    scale = _WIDTH / max(one.spread(cold)[1] for one in found)
    height = _BAR * len(found) + 46
    marks = []
    for row, one in enumerate(found):
        y, init, first = 8 + row * _BAR, one.of(lambda run: run.init) * scale, one.of(lambda run: run.first) * scale
        low, high = (value * scale for value in one.spread(cold))
        marks += [
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(one.name)}</text>',
            f'<rect x="{_LEFT}" y="{y + 2}" width="{init:.1f}" height="14" fill="{_COLOURS["init"]}"/>',
            f'<rect x="{_LEFT + init:.1f}" y="{y + 2}" width="{first:.1f}" height="14" fill="{_COLOURS["first"]}"/>',
            f'<path d="M{_LEFT + low:.1f} {y + 9}H{_LEFT + high:.1f}" stroke="#333"/>',
            f'<text x="{_LEFT + high + 8:.1f}" y="{y + 13}">{one.of(cold):.0f} ms, {one.ratio(cold):.2f} x</text>',
        ]
    y = 8 + len(found) * _BAR + 12
    marks += [
        f'<rect x="{_LEFT}" y="{y}" width="12" height="12" fill="{_COLOURS["init"]}"/>',
        f'<text x="{_LEFT + 18}" y="{y + 11}">init</text>',
        f'<rect x="{_LEFT + 70}" y="{y}" width="12" height="12" fill="{_COLOURS["first"]}"/>',
        f'<text x="{_LEFT + 88}" y="{y + 11}">first answer; the line is the middle half of the runs</text>',
    ]
    width = _LEFT + _WIDTH + 170
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="Cold starts in milliseconds" font-family="system-ui,sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n' + "\n".join(marks) + "\n</svg>\n"
    )
