"""The texts of the product and its documents contain no word that the style guide rejects (CONTRIBUTING.md)."""

import re
from pathlib import Path

import pytest

from tools.environment import ROOT

REJECTED = re.compile(r"\b(whom|nobody|somebody|told|door|story)\b", re.IGNORECASE)
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs")
CHECKED = ("layers", "functions", "template.yaml", "openapi.yaml", *PAGES)


def texts(part: str) -> list[Path]:
    path = ROOT / part
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.suffix in {".py", ".md", ".in"} or file.name == "Makefile"]


@pytest.mark.parametrize("part", CHECKED)
def test_a_text_has_no_word_that_the_style_guide_rejects(part: str) -> None:
    found = [
        f"{file.relative_to(ROOT).as_posix()}: {line}"
        for file in texts(part)
        for line in file.read_text().splitlines()
        if REJECTED.search(line)
    ]
    assert found == []
