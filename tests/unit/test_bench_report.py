"""What benchmarks write into a page."""

from pathlib import Path

import pytest

from benchmarks import cold_start, report
from benchmarks.flat_cost import page
from benchmarks.tried import __main__ as tried
from benchmarks.tried.figures import COLUMNS
from local.environment import ROOT

BEGIN, END = "<!-- from here -->", "<!-- to here -->"


def test_a_text_is_written_between_its_marks_and_nowhere_else(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Performance\n\nBefore.\n")
    report.write(path, "First.", BEGIN, END)
    path.write_text(f"{path.read_text()}\n## After\n")
    report.write(path, "Second.\n", BEGIN, END)
    assert path.read_text() == f"# Performance\n\nBefore.\n\n{BEGIN}\nSecond.\n{END}\n\n## After\n"


def test_texts_of_several_benchmarks_leave_each_other_alone(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Performance\n")
    for text in ("first", "second", "changed"):
        report.write(path, text, BEGIN if text == "second" else "<!-- another -->", END)
    report.write(path, "twice", BEGIN, END)
    assert path.read_text() == f"# Performance\n\n<!-- another -->\nchanged\n{END}\n\n{BEGIN}\ntwice\n{END}\n"


@pytest.mark.parametrize(
    "begin",
    [cold_start.BEGIN, page.BEGIN, *(tried.BEGIN.format(name) for name in ("the conditions", *COLUMNS))],
)
def test_the_page_has_a_place_for_every_benchmark(begin: str) -> None:
    assert (ROOT / "docs" / "performance.md").read_text().count(f"{begin}\n") == 1
