from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import account
from tools import pythons

if TYPE_CHECKING:
    from pathlib import Path

HERE = sys.version_info[:2]


def program(place: Path, script: str) -> Path:
    place.write_text(f"#!/bin/sh\n{script}\n")
    place.chmod(0o755)
    return place


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    return program(tmp_path / "shim", "echo 'pyenv: python3.13: command not found' >&2; exit 127")


def test_a_failing_shim_is_skipped(shim: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.symlink_to(sys.executable)
    found = pythons.find(HERE, [shim, real])
    assert found is not None
    assert found.path == real
    assert found.version.startswith(f"{HERE[0]}.{HERE[1]}.")


def test_a_program_that_only_prints_a_version_is_rejected(tmp_path: Path) -> None:
    fake = program(tmp_path / "python3.13", "echo Python 3.13.0")
    assert pythons.find(HERE, [fake]) is None


def test_another_version_is_rejected(tmp_path: Path) -> None:
    real = tmp_path / "python2.99"
    real.symlink_to(sys.executable)
    assert pythons.find((2, 99), [real]) is None


def test_missing_files_and_folders_are_skipped(tmp_path: Path) -> None:
    assert pythons.find(HERE, [tmp_path / "absent", tmp_path]) is None


def test_the_versions_of_pyenv_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    place = tmp_path / "versions" / "3.13.7" / "bin" / "python3.13"
    place.parent.mkdir(parents=True)
    place.touch()
    assert place in list(pythons.places((3, 13)))


def test_make_test_deploy_without_lambdas_python_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pythons, "places", lambda *_: [])
    assert account.main() == 1
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert ".venv/bin/uv python install 3.13" in output
