from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tools import setup
from tools.environment import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_repeated_setup_does_nothing_and_prints_nothing() -> None:
    stamps = [place / setup.STAMP for place in (setup.VENV, setup.FUNCTIONS_VENV)]
    before = [stamp.stat().st_mtime_ns for stamp in stamps]
    command = [sys.executable, "-m", "tools.setup", "tests"]
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert [stamp.stat().st_mtime_ns for stamp in stamps] == before


def test_the_functions_have_their_own_python() -> None:
    python, version, packages = setup.functions_python()
    script = "import platform, boto3; print(platform.python_version(), boto3.__file__)"
    result = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [version, str(packages / "boto3" / "__init__.py")]


def locked(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9_.-]+)==([^ \\]+)", file.read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["functions", "local", "tests"])
def test_the_packages_of_lambda_have_the_same_version_in_every_lock(name: str) -> None:
    deployed = {
        package: version
        for folder in setup.DEPENDENCIES
        for package, version in locked(folder / "requirements.txt").items()
    }
    installed = locked(setup.REQUIREMENTS / f"{name}.txt")
    assert deployed
    assert {package: installed.get(package) for package in deployed} == deployed


@pytest.mark.parametrize("name", setup.LOCKS)
def test_every_lock_has_hashes_and_no_host(name: str) -> None:
    text = (setup.REQUIREMENTS / f"{name}.txt").read_text()
    assert "://" not in text
    packages = [line for line in text.splitlines() if line[0] not in " #"]
    assert all("==" in line and line.endswith("\\") for line in packages)
    assert all(f"{line}\n    --hash=sha256:" in text for line in packages)


def test_an_outdated_python_is_reported_in_one_line(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.8.18\nexit 1\n')
    old.chmod(0o755)
    result = make("setup-local", f"PYTHON={old}")
    first, *rest = result.stderr.splitlines()
    assert result.returncode == 2
    assert "Python 3.8.18" in first
    assert "apt install" in first
    assert "brew install" in first
    assert all(line.startswith("make") for line in rest)


def test_a_missing_python_is_reported_in_one_line(tmp_path: Path) -> None:
    result = make("setup-local", f"PYTHON={tmp_path}/nothing")
    assert result.returncode == 2
    assert "is not installed" in result.stderr.splitlines()[0]


def test_a_python_without_ensurepip_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ensurepip" else object())
    with pytest.raises(setup.SetupError, match=r"apt install python3\.\d+-venv"):
        setup.require_venv()


def test_make_without_a_target_prints_the_targets() -> None:
    result = make()
    assert result.returncode == 0
    for target in ("run", "test", "check", "build", "validate", "lock", "clean"):
        assert f"make {target} " in result.stdout


GROUPS = ("Run", "Test", "Ship", "Operate", "Measure")
PREREQUISITES = {"check-stage", "python", "setup-local", "setup-tests"}
"""Goals that other goals need, and that no one runs by themselves."""
WIDTH = 132


def test_make_help_prints_every_goal_in_its_group() -> None:
    printed = make("help").stdout
    assert tuple(re.findall(r"^(\w+)$", printed, re.MULTILINE)) == GROUPS
    for group, text in zip(GROUPS, printed.split("\n\n"), strict=True):
        heading, *lines = text.splitlines()
        assert heading == group
        assert all(re.fullmatch(r"  make [a-z-]+ +\S.*", line) for line in lines), lines
    makefile = (ROOT / "Makefile").read_text()
    goals = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    shown = re.findall(r"^  make ([a-z-]+) ", printed, re.MULTILINE)
    missing = set(goals) - set(shown) - PREREQUISITES
    assert not missing, f"write `goal: prerequisites ## Group: text`, with a group of {', '.join(GROUPS)}"
    assert len(shown) == len(set(shown)) == len(goals) - len(PREREQUISITES)
    assert max(len(line) for line in printed.splitlines()) <= WIDTH
    columns = {found.end() for line in printed.splitlines() if (found := re.match(r"  make [a-z-]+ +", line))}
    assert len(columns) == 1, "the texts begin in one column"


def test_a_stage_is_checked_before_the_build() -> None:
    lines = make("-n", "deploy", "STAGE=dev").stdout.splitlines()
    parts = ("tools.deploy --check dev", "sam build", "tools.deploy dev")
    order = [next(number for number, line in enumerate(lines) if part in line) for part in parts]
    assert order == sorted(order)


def test_a_malformed_stamp_is_ignored(tmp_path: Path) -> None:
    (tmp_path / setup.STAMP).write_text("{")
    assert setup.read_stamp(tmp_path) == {}
    setup.write_stamp(tmp_path, {"lock": "x"})
    assert json.loads((tmp_path / setup.STAMP).read_text()) == {"lock": "x"}


def test_a_failed_command_is_reported_with_its_last_lines_and_the_remedy() -> None:
    with pytest.raises(setup.SetupError) as caught:
        setup.run([sys.executable, "-c", "print('its own output'); raise SystemExit(3)"], "that did not work")
    assert "its own output" in str(caught.value)
    assert "that did not work" in str(caught.value).splitlines()[-1]
