"""Fixtures that run `sam build` once per test run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.odd_shells import odd_shell
from tools import pythons
from tools.environment import ROOT, everything, variable


def sam_build(template: Path, target: Path, *options: str, **environment: str) -> str:
    """Run `sam build` into `target` and return its output."""
    command = [sys.executable, "-m", "tools.setup", "sam", "build", "--no-cached", "--parallel", *options]
    built = subprocess.run(
        [*command, "--template", str(template), "--build-dir", str(target)],
        cwd=ROOT,
        env={**everything(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout
    return built.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the artefacts, named by logical id. BUILT=.aws-sam/build tests an existing build."""
    if existing := variable("BUILT"):
        return ROOT / existing
    target = tmp_path_factory.mktemp("sam") / "built"
    sam_build(ROOT / "template.yaml", target)
    return target


@pytest.fixture(scope="session")
def built_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same sources, built at another path, for the other architecture, with another TMPDIR and other file modes.

    The shell has unusual settings, but keeps the machine's proxies, because packages may have to be downloaded.
    """
    place = tmp_path_factory.mktemp("Ada's ünï place")
    for name in ("functions", "layers", "tools"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "template.yaml", place)
    for path in place.rglob("*.py"):
        path.chmod(0o600)
    (place / "tmp").mkdir()
    target = place / "built"
    odd = odd_shell(proxies=False) | {"TMPDIR": str(place / "tmp"), "PYTHONHASHSEED": "7"}
    old = os.umask(0o077)
    try:
        sam_build(place / "template.yaml", target, "--parameter-overrides", "Architecture=x86_64", **odd)
    finally:
        os.umask(old)
    return target


@pytest.fixture(scope="session")
def lambda_python() -> Path:
    found = pythons.find()
    if found is None:
        pytest.skip(pythons.MISSING)
    return found.path
