"""Converts runs to figures: medians with their spread, ratios to the baseline and to the peer, a table and a plot."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from statistics import median, quantiles
from typing import TYPE_CHECKING, Final

from benchmarks.report import table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.execution import Run

PEER_LIMIT: Final = 0.65
"""The goal for each function: its cold start, as a ratio to the peer's."""
WEBHOOK: Final = "terra_webhook"
"""The function whose cold start must be below that of the baseline."""
KEPT: Final = "terra_webhook: kept data"
BARE_LIMIT: Final = 1.10
"""The goal for a warm kept delivery: its time and its CPU time, as ratios to the same two calls made bare."""
_BAR, _LEFT, _WIDTH = 22, 230, 430
_COLOURS: Final = {"init": "#2f6f9f", "first": "#e0963c"}


@dataclass(frozen=True, slots=True)
class Figures:
    """The results for one subject. A ratio is the median of the ratios to another subject in the same round.

    A ratio within a round excludes temporary slowdowns of the whole machine.

    Attributes:
        name: the subject's name.
        runs: its runs.
        baseline: the runs of the baseline.
        peer: the runs of the peer that does the same; None for the baseline and the peer.
    """

    name: str
    runs: Sequence[Run]
    baseline: Sequence[Run]
    peer: Sequence[Run] | None = None

    def of(self, what: Callable[[Run], float]) -> float:
        """The median."""
        return median(map(what, self.runs))

    def spread(self, what: Callable[[Run], float]) -> tuple[float, float]:
        """The interquartile range."""
        low, _, high = quantiles(map(what, self.runs), n=4)
        return low, high

    def ratio(self, what: Callable[[Run], float], to: Sequence[Run]) -> float:
        """The ratio to other runs."""
        return median(what(run) / what(other) for run, other in zip(self.runs, to, strict=True))


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


def report_table(found: Sequence[Figures]) -> str:
    """Cold starts and warm calls, as Markdown."""
    head = ["", "init", "first response", "both (middle half)", "x baseline", "x peer"]
    head += ["CPU", "x baseline", "x peer", "memory", "warm call", "x baseline", "x peer", "CPU a warm call"]
    rows = []
    for one in found:
        low, high = one.spread(cold)
        rows.append(
            [
                one.name,
                f"{one.of(lambda run: run.init):.0f}",
                f"{one.of(lambda run: run.first):.0f}",
                f"{one.of(cold):.0f} ({low:.0f}-{high:.0f})",
                *_ratios(one, cold),
                f"{one.of(cold_cpu):.0f}",
                *_ratios(one, cold_cpu),
                f"{one.of(lambda run: run.memory):.0f}",
                f"{one.of(warm_p50):.1f}",
                *_ratios(one, warm_p50),
                f"{one.of(warm_cpu):.2f}",
            ]
        )
    return table(head, rows)


def _ratios(one: Figures, what: Callable[[Run], float]) -> list[str]:
    to_peer = f"{one.ratio(what, one.peer):.2f}" if one.peer else ""
    return [f"{one.ratio(what, one.baseline):.2f}", to_peer]


def goals(found: Sequence[Figures]) -> str:
    """The goals, each with the figure that it is read from, as Markdown."""
    to_peer = {one.name: one.ratio(cold, one.peer) for one in found if one.peer and one.name != KEPT}
    slowest = max(to_peer, key=to_peer.__getitem__)
    [webhook] = [one.ratio(cold, one.baseline) for one in found if one.name == WEBHOOK]
    peer_verdict = _verdict(is_reached=round(to_peer[slowest], 2) <= PEER_LIMIT)
    webhook_verdict = _verdict(is_reached=round(webhook, 2) < 1)
    return (
        f"- The cold start of every function is at most {PEER_LIMIT} x the peer's: {peer_verdict} "
        f"({slowest}: {to_peer[slowest]:.2f}).\n"
        f"- The cold start of {WEBHOOK} is below the baseline's: {webhook_verdict} ({webhook:.2f})."
        + "".join(_goal_of_kept(one, one.peer) for one in found if one.name == KEPT and one.peer)
    )


def _goal_of_kept(one: Figures, bare: Sequence[Run]) -> str:
    p50, cpu = one.ratio(warm_p50, bare), one.ratio(warm_cpu, bare)
    verdict = _verdict(is_reached=round(max(p50, cpu), 2) <= BARE_LIMIT)
    return (
        f"\n- A warm kept delivery takes at most {BARE_LIMIT:.2f} x the same two calls made bare: {verdict} "
        f"(p50: {p50:.2f}, CPU: {cpu:.2f})."
    )


def _verdict(*, is_reached: bool) -> str:
    return "reached" if is_reached else "**missed**"


def plot(found: Sequence[Figures]) -> str:
    """Cold starts as bars, as SVG."""
    scale = _WIDTH / max(one.spread(cold)[1] for one in found)
    height = _BAR * len(found) + 46
    marks = []
    for row, one in enumerate(found):
        y, init, first = 8 + row * _BAR, one.of(lambda run: run.init) * scale, one.of(lambda run: run.first) * scale
        low, high = (value * scale for value in one.spread(cold))
        ratio = one.ratio(cold, one.baseline)
        marks += [
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(one.name)}</text>',
            f'<rect x="{_LEFT}" y="{y + 2}" width="{init:.1f}" height="14" fill="{_COLOURS["init"]}"/>',
            f'<rect x="{_LEFT + init:.1f}" y="{y + 2}" width="{first:.1f}" height="14" fill="{_COLOURS["first"]}"/>',
            f'<path d="M{_LEFT + low:.1f} {y + 9}H{_LEFT + high:.1f}" stroke="#333"/>',
            f'<text x="{_LEFT + high + 8:.1f}" y="{y + 13}">{one.of(cold):.0f} ms, {ratio:.2f} x</text>',
        ]
    y = 8 + len(found) * _BAR + 12
    marks += [
        f'<rect x="{_LEFT}" y="{y}" width="12" height="12" fill="{_COLOURS["init"]}"/>',
        f'<text x="{_LEFT + 18}" y="{y + 11}">init</text>',
        f'<rect x="{_LEFT + 70}" y="{y}" width="12" height="12" fill="{_COLOURS["first"]}"/>',
        f'<text x="{_LEFT + 88}" y="{y + 11}">first response; the line is the middle half of the runs</text>',
    ]
    width = _LEFT + _WIDTH + 170
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img" aria-label="Cold starts in milliseconds" font-family="system-ui,sans-serif" font-size="12">\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n' + "\n".join(marks) + "\n</svg>\n"
    )
