"""Words that a reader has to look up are kept out of the parts that were rewritten without them (CONTRIBUTING.md)."""

import re
from pathlib import Path

import pytest

from tools.environment import ROOT

REJECTED = re.compile(r"\b(whom|nobody|somebody|told|door|story)\b", re.IGNORECASE)
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs")
CHECKED = ("layers", "functions", "template.yaml", "openapi.yaml", *PAGES)
QUOTES = {"docs/apps.md": 1}
"""How many such words a file quotes from code or from a page."""


def texts(part: str) -> list[Path]:
    path = ROOT / part
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.suffix in {".py", ".md", ".in"} or file.name == "Makefile"]


@pytest.mark.parametrize("part", CHECKED)
def test_a_text_has_no_word_that_the_style_guide_rejects(part: str) -> None:
    found = {
        file.relative_to(ROOT).as_posix(): len(lines)
        for file in texts(part)
        if (lines := [line for line in file.read_text().splitlines() if REJECTED.search(line)])
    }
    assert found == {name: count for name, count in QUOTES.items() if name.startswith(part)}
