"""CONTRIBUTING.md, "Add a route": the steps end in green tests, applied as written to a copy of the repository."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.checkout import GIT_LS_FILES
from tests.support.documents import blocks, section
from tools.environment import ROOT, everything

STEP = re.compile(
    r"^(?:Create `(?P<new>[^`]+)`|In `(?P<file>[^`]+)`, before the line `(?P<line>[^`]+)`)[^\n]*:\n\n"
    r"```\w+\n(?P<block>.*?)^```",
    re.DOTALL | re.MULTILINE,
)

GENERATE_CLIENTS = f"{shlex.quote(sys.executable)} -m tools.clients generate"
"""What `make clients` does after its set-up, which the copy shares with this repository."""


def apply(text: str, root: Path) -> int:
    """Apply the steps of a text to the repository at `root`, and return their number."""
    steps = list(STEP.finditer(text))
    for step in steps:
        if step["new"]:
            (root / step["new"]).parent.mkdir(parents=True, exist_ok=True)
            (root / step["new"]).write_text(step["block"])
            continue
        lines = (root / step["file"]).read_text().splitlines(keepends=True)
        places = [number for number, line in enumerate(lines) if line.strip() == step["line"]]
        assert len(places) == 1, f"{step['file']} has {len(places)} lines {step['line']!r}"
        lines.insert(places[0], step["block"])
        (root / step["file"]).write_text("".join(lines))
    return len(steps)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    listed = subprocess.run(GIT_LS_FILES, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    for name in (".venv", ".venv-functions"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def run(copy: Path, *command: str) -> str:
    environment = {name: value for name, value in everything().items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-5000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_the_steps_end_in_green_tests(copy: Path) -> None:
    text = section("CONTRIBUTING.md", "Add a route")
    commands = "\n".join(blocks(text, "sh")).splitlines()
    tested = [line for line in commands if line.startswith("make test")]
    # Every block is a step or a command.
    assert apply(text, copy) + len(blocks(text, "sh")) == len(re.findall(r"^```\w", text, re.MULTILINE))
    for command in (line for line in commands if line not in tested):
        run(copy, "/bin/sh", "-euc", command.replace("make clients", GENERATE_CLIENTS))
    bin_folder = Path(sys.executable).parent
    run(copy, str(bin_folder / "ruff"), "check")
    run(copy, str(bin_folder / "ruff"), "format", "--check")
    assert len(tested) == 2
    for command in tested:
        [tests] = [word.removeprefix("T=") for word in shlex.split(command) if word.startswith("T=")]
        output = run(copy, sys.executable, "-m", "pytest", "--numprocesses", "0", "-q", *shlex.split(tests))
    # The tests of the new route have run, those of its event and those of the tokens.
    assert int(re.findall(r"(\d+) passed", output)[0]) >= 5
