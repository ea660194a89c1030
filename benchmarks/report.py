"""The output of figures: tables, and the parts of docs/performance.md that commands write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

REPORT: Final = ROOT / "docs" / "performance.md"
ENOUGH: Final = 15
"""The minimum number of rounds for figures that are written to the page."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns, which is also readable on a terminal."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    aligned = [[line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)


def write(part: str, command: str, text: str, *, path: Path = REPORT) -> None:
    """Write a command's part of a page; append it if the page has none yet."""
    begin, end = f"<!-- {part}: written by `{command}`, not by hand -->", f"<!-- {part}: end -->"
    before, _, rest = path.read_text().partition(begin)
    after = rest.partition(end)[2] or "\n"
    path.write_text(f"{before.rstrip()}\n\n{begin}\n{text.strip()}\n{end}{after}")
