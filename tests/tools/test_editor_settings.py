"""The settings of editors and of the development container, and GitHub's forms: valid, and naming what exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.environment import ROOT

FILES = sorted([*(ROOT / ".vscode").glob("*.json"), *(ROOT / ".devcontainer").glob("*.json")])
GITHUB = ROOT / ".github"
MAKEFILE = (ROOT / "Makefile").read_text()
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
WORKSPACE = "${workspaceFolder}/"


def settings(name: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((ROOT / name).read_text())
    return parsed


def texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


def test_the_files_are_there() -> None:
    assert {file.name for file in FILES} >= {"settings.json", "extensions.json", "launch.json", "devcontainer.json"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_path_in_the_workspace_exists(file: Path) -> None:
    parsed = json.loads(file.read_text())
    for text in texts(parsed):
        if text.startswith(WORKSPACE):
            assert (ROOT / text.removeprefix(WORKSPACE)).exists(), f"{text}: run make setup-tests"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_make_goal_exists(file: Path) -> None:
    for goal in re.findall(r"\bmake ([a-z-]+)", "\n".join(texts(json.loads(file.read_text())))):
        assert re.search(rf"^{goal}:", MAKEFILE, re.MULTILINE), goal


def test_the_editor_uses_the_settings_of_the_project() -> None:
    editor = settings(".vscode/settings.json")
    tests = editor["python.testing.pytestArgs"]
    assert tests[:2] == PROJECT["pytest"]["ini_options"]["testpaths"]
    assert editor["python.analysis.extraPaths"] == PROJECT["mypy"]["mypy_path"].split(":")
    assert all((ROOT / path).is_dir() for path in [*tests[:2], *editor["python.analysis.extraPaths"]])
    assert editor["[python]"]["editor.rulers"] == [PROJECT["ruff"]["line-length"]]


def test_every_tag_of_the_template_is_known_to_the_editor() -> None:
    known = {tag.split()[0] for tag in settings(".vscode/settings.json")["yaml.customTags"]}
    for name in ("template.yaml", "deployer.yaml"):
        assert set(re.findall(r"(?<![\w\"'])![A-Z]\w+", (ROOT / name).read_text())) <= known, name


def test_the_functions_have_an_interpreter_of_their_own_in_the_editor() -> None:
    interpreters = {each["python"] for each in settings(".vscode/launch.json")["configurations"]}
    assert interpreters == {f"{WORKSPACE}.venv/bin/python", f"{WORKSPACE}.venv-functions/bin/python"}


def test_the_container_has_the_extensions_that_the_editor_recommends_and_lambda_s_python() -> None:
    container = settings(".devcontainer/devcontainer.json")
    recommended = settings(".vscode/extensions.json")["recommendations"]
    assert container["customizations"]["vscode"]["extensions"] == recommended
    runtime = re.search(r"Runtime: python([\d.]+)", (ROOT / "template.yaml").read_text())
    assert runtime
    assert f":{runtime[1]}-" in container["image"]


def test_the_forms_of_issues_have_github_s_syntax() -> None:
    schemas = {"config.yml": "vendor.github-issue-config"}
    for file in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml"):
        schema = schemas.get(file.name, "vendor.github-issue-forms")
        command = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", schema, str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_forms_and_the_checklist_name_existing_files_and_goals() -> None:
    files = [*(GITHUB / "ISSUE_TEMPLATE").glob("*.yml"), GITHUB / "PULL_REQUEST_TEMPLATE.md"]
    texts_of_files = [file.read_text() for file in files]
    assert len([yaml.safe_load(text) for text in texts_of_files[:-1]]) == 3
    for text in texts_of_files:
        for name in re.findall(r"\b[A-Z]+\.md\b", text):
            assert (ROOT / name).is_file(), name
        for goal in re.findall(r"`make ([a-z-]+)`", text):
            assert re.search(rf"^{goal}:", MAKEFILE, re.MULTILINE), goal
