"""Writing benchmark results into a page."""

from pathlib import Path

import pytest

from benchmarks import report
from tools.environment import ROOT

BEGIN, END = "<!-- speed: written by `make speed`, not by hand -->", "<!-- speed: end -->"


def test_a_text_is_written_only_between_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Performance\n\nBefore.\n")
    report.write("speed", "make speed", "First.", path=path)
    path.write_text(f"{path.read_text()}\n## After\n")
    report.write("speed", "make speed", "Second.\n", path=path)
    assert path.read_text() == f"# Performance\n\nBefore.\n\n{BEGIN}\nSecond.\n{END}\n\n## After\n"


def test_texts_of_several_benchmarks_are_independent(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("")
    for part, text in (("speed", "first"), ("cost", "second"), ("speed", "changed"), ("cost", "twice")):
        report.write(part, f"make {part}", text, path=path)
    cost = "<!-- cost: written by `make cost`, not by hand -->\ntwice\n<!-- cost: end -->"
    assert path.read_text() == f"\n\n{BEGIN}\nchanged\n{END}\n\n{cost}\n"


@pytest.mark.parametrize(
    ("command", "part"),
    [("make flat-cost", "flat cost"), ("make bench", "speed")],
)
def test_the_page_has_the_marks_of_every_benchmark(command: str, part: str) -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert page.count(f"<!-- {part}: written by `{command}`, not by hand -->\n") == 1
