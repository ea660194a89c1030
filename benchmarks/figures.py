"""From runs to figures: medians with their spread, ratios to the floor, a table and a plot."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.execution import Run

_BAR, _LEFT, _WIDTH = 22, 230, 430
_WHOLE_CORE: Final = 1769  # MB of memory that come with one whole vCPU (AWS, "Configure Lambda function memory")
_GB_SECOND: Final = 0.0000133334  # USD, arm64
_REQUESTS: Final = 0.20  # USD a million
_COLOURS: Final = {"init": "#2f6f9f", "first": "#e0963c"}


@dataclass(frozen=True, slots=True)
class Figures:
    """What came out for one subject. Ratios are to the floor of the same round, and of those the median.

    A ratio within a round is free of whatever slowed the whole machine down for a while.
    """

    name: str
    runs: Sequence[Run]
    floor: Sequence[Run]

    def of(self, what: Callable[[Run], float]) -> float:
        """The median."""
        return median(map(what, self.runs))

    def spread(self, what: Callable[[Run], float]) -> tuple[float, float]:
        """Between which values the middle half lies."""
        low, _, high = quantiles(map(what, self.runs), n=4)
        return low, high

    def ratio(self, what: Callable[[Run], float]) -> float:
        """How many times the floor."""
        return median(what(run) / what(floor) for run, floor in zip(self.runs, self.floor, strict=True))

    def warm(self, percent: int) -> float:
        """A percentile of all warm answers."""
        return quantiles((call for run in self.runs for call in run.warm), n=100)[percent - 1]


def cold(run: Run) -> float:
    """Init and first answer."""
    return run.cold


def cold_cpu(run: Run) -> float:
    """The same, of the processor."""
    return run.cold_cpu


def warm_p50(run: Run) -> float:
    """A run's median warm answer."""
    return median(run.warm)


def warm_cpu(run: Run) -> float:
    """What a warm call takes of the processor."""
    return run.warm_cpu


def memory(run: Run) -> float:
    """The most that was resident."""
    return run.memory


def figures(runs: Mapping[str, Sequence[Run]], floor: str) -> list[Figures]:
    """The figures of every subject, in the order of the runs."""
    return [Figures(name, found, runs[floor]) for name, found in runs.items()]


def table(found: Sequence[Figures]) -> str:
    """Everything as Markdown."""
    head = (
        "| | init | first answer | both (middle half) | x floor | CPU | x floor "
        "| warm p50 | p99 | x floor | CPU a call | x floor | memory | x floor |"
    )
    lines = [head, "|---|" + "---:|" * 13]
    for one in found:
        low, high = one.spread(cold)
        cells = [
            f"{one.of(lambda run: run.init):.0f}",
            f"{one.of(lambda run: run.first):.0f}",
            f"**{one.of(cold):.0f}** ({low:.0f}-{high:.0f})",
            f"**{one.ratio(cold):.2f}**",
            f"{one.of(cold_cpu):.0f}",
            f"{one.ratio(cold_cpu):.2f}",
            f"{one.warm(50):.1f}",
            f"{one.warm(99):.1f}",
            f"{one.ratio(warm_p50):.2f}",
            f"{one.of(warm_cpu):.2f}",
            f"{one.ratio(warm_cpu):.2f}",
            f"{one.of(memory):.0f}",
            f"{one.ratio(memory):.2f}",
        ]
        lines.append(f"| {one.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def sizes(one: Figures) -> str:
    """What memory sizes would mean for a subject, as Markdown: CPU comes with memory, 1769 MB being one whole core."""
    cold_ms, warm_ms = one.of(cold_cpu), one.of(warm_cpu)
    how = (
        f"`{one.name}` by memory size, from {cold_ms:.0f} ms of processor a cold start, {warm_ms:.1f} ms a warm call "
        "(of this machine, not of Lambda's: not measured there). "
        f"Time = processor time x {_WHOLE_CORE} MB / memory, and waiting comes on top. "
        f"Cost of a million warm calls = memory / 1024 MB x time x {_GB_SECOND:.10f} USD + {_REQUESTS:.2f} USD "
        "(list prices of arm64 in us-east-1)."
    )
    lines = [
        how,
        "",
        "| MB | cold start, ms | warm call, ms | a million warm calls, USD |",
        "|---:|---:|---:|---:|",
    ]
    for megabytes in (128, 256, 512, 1024, _WHOLE_CORE):
        slower = _WHOLE_CORE / megabytes
        cost = megabytes / 1024 * (warm_ms * slower / 1000) * 1e6 * _GB_SECOND + _REQUESTS
        lines.append(f"| {megabytes} | {cold_ms * slower:.0f} | {warm_ms * slower:.1f} | {cost:.2f} |")
    return "\n".join(lines)


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
