"""Facts that several documents state: error texts, versions, costs."""

import ast
import re
import tomllib

import pytest

from tools.environment import ROOT

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def texts_of_the_programs() -> list[str]:
    """Return every text constant of the programs, with an ellipsis for each inserted value."""
    found = [(ROOT / "Makefile").read_text().replace("$(PYTHON)", ELLIPSIS)]
    for folder in ("local", "tools", "layers/terra_connections/terra_connections"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else ELLIPSIS for part in node.values]
                    found.append("".join(str(part) for part in parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


def test_every_error_text_of_troubleshooting_md_is_printed_by_a_program() -> None:
    headings = re.findall(r"^### (.*)$", (ROOT / "docs/troubleshooting.md").read_text(), re.MULTILINE)
    named = [heading[1:-1] for heading in headings if heading[0] == heading[-1] == "`"]
    assert named == [heading.strip("`") for heading in headings]
    assert len(named) > 20
    texts = texts_of_the_programs()
    assert [text for text in named if not any(text in each for each in texts)] == []


def test_the_newest_version_of_the_changelog_is_the_project_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", changelog, re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(project)} - \d{{4}}-\d{{2}}-\d{{2}}", headings[1])
    versions = [heading.split(" ")[0] for heading in headings[1:]]
    assert versions == sorted(versions, key=lambda text: [int(part) for part in text.split(".")], reverse=True)
    simulator = tomllib.loads((ROOT / "simulator/pyproject.toml").read_text())["project"]["version"]
    assert simulator == project


def test_a_version_with_a_breaking_change_has_a_section_in_upgrading_md() -> None:
    upgrading = (ROOT / "docs/upgrading.md").read_text()
    sections = re.split(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1:]
    for heading, text in zip(sections[::2], sections[1::2], strict=True):
        if "**Breaking:**" in text:
            version = "the next version" if heading == "Unreleased" else heading.split(" ")[0]
            assert re.search(rf"^## .*\bto {re.escape(version)}$", upgrading, re.MULTILINE | re.IGNORECASE), heading


@pytest.mark.parametrize(("row", "columns"), [("connections only", (0, 1, 2)), ("if Terra also sends", (3, 4, 5))])
def test_the_costs_of_the_readme_are_those_of_costs_md(row: str, columns: tuple[int, ...]) -> None:
    [totals] = re.findall(r"^\| together +\|(.*)\|$", (ROOT / "docs/costs.md").read_text(), re.MULTILINE)
    computed = [float(cell) for cell in totals.split("|")]
    [stated] = re.findall(rf"^\| {row}[^|]*\|(.*)\|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [int(cell) for cell in stated.split("|")] == [round(computed[column]) for column in columns]
