"""The words that the style guide rejects (CONTRIBUTING.md) are used in no text, and in no part of an identifier."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.environment import ROOT

REJECTED = (
    *("whom", "nobody", "somebody", "everybody", "anybody", "told", "heard", "believed"),
    *("door", "story", "stories", "nursery", "leash", "grave", "heir", "underneath"),
)
WORD = re.compile(rf"(?<![a-z])(?:{'|'.join(REJECTED)})(?![a-z])", re.IGNORECASE)
CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Where the next word of an identifier starts without an underscore."""

PARTS = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs"),
    *("layers", "functions", "template.yaml", "deployer.yaml", "openapi.yaml", "samconfig.toml", "pyproject.toml"),
    *("local", "simulator", "tools", "benchmarks", "examples", "clients", "tests", "Makefile", "requirements"),
    *(".ci", ".github", ".vscode", ".devcontainer"),
)
SUFFIXES = {".py", ".md", ".in", ".js", ".mjs", ".ts", ".html", ".css", ".json", ".toml", ".yaml", ".yml", ""}
"""Without .txt: locks, whose names of packages are not this project's. The Makefiles and .ci have no suffix."""

QUOTATIONS = {
    "CHANGELOG.md": 1,  # the previous name of a metric's dimension, which users have to replace
    "tests/unit/test_language.py": 6,  # the list of the words, and the examples
}
"""The number of lines with such a word, by file."""


def texts(part: str) -> Iterator[Path]:
    path = ROOT / part
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file() and file.suffix in SUFFIXES and "__pycache__" not in file.parts:
            yield file


def rejected_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if WORD.search(CAMEL_CASE.sub("_", line))]


@pytest.mark.parametrize("part", PARTS)
def test_a_text_has_no_word_that_the_style_guide_rejects(part: str) -> None:
    names = {file: file.relative_to(ROOT).as_posix() for file in texts(part)}
    found = {name: lines for file, name in names.items() if (lines := rejected_lines(file.read_text()))}
    unexpected = {name: lines for name, lines in found.items() if len(lines) != QUOTATIONS.get(name, 0)}
    assert unexpected == {}
    assert {name for name in QUOTATIONS if name in names.values()} <= found.keys()


@pytest.mark.parametrize(
    ("line", "is_rejected"),
    [
        ("Nobody knows.", True),
        ("def what_is_told(event)", True),
        ("class FrontDoor:", True),
        ("LOCAL_LEASH_FD", True),
        ("the history and an outdoor workout", False),
    ],
)
def test_words_and_parts_of_identifiers_are_found(line: str, is_rejected: bool) -> None:  # noqa: FBT001 - an expectation
    assert bool(rejected_lines(line)) is is_rejected
