"""Runs README's commands for a back end in a shell as written, with the stack's addresses."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.testing import Stack
from tests.support.api import decide
from tests.support.terra import Terra
from tests.support.waiting import eventually
from tools.environment import ROOT

# The machine may lack curl. This script supports the options that README uses, with the same effect.
CURL = f"""#!{sys.executable}
import argparse, httpx
parser = argparse.ArgumentParser()
parser.add_argument("-X", "--request")
parser.add_argument("-H", "--header", action="append", default=[])
parser.add_argument("-d", "--data")
parser.add_argument("url")
options = parser.parse_args()
headers = httpx.Headers([header.split(": ", 1) for header in options.header])
if options.data is not None:
    headers.setdefault("content-type", "application/x-www-form-urlencoded")
method = options.request or ("GET" if options.data is None else "POST")
print(httpx.request(method, options.url, headers=headers, content=options.data, timeout=60).text)
"""


@pytest.fixture
def commands(stack: Stack) -> list[str]:
    """The block's lines, split at each numbered comment: the lines that get the key, then the three commands."""
    [block] = (
        found
        for found in re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        if "$key" in found
    )
    block = block.replace("http://127.0.0.1:3000", stack.api_url)
    block = block.replace(".local/stack.json", str(stack.directory / "stack.json"))
    return re.split(r"^# \d\..*\n", block, flags=re.MULTILINE)


def run(tmp_path: Path, *commands: str) -> dict[str, Any]:
    curl = tmp_path / "curl"
    curl.write_text(CURL)
    curl.chmod(0o700)
    path = f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin"
    shell = ["/bin/sh", "-euc", "\n".join(commands)]
    finished = subprocess.run(shell, env={"PATH": path}, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 0, finished.stderr
    response: dict[str, Any] = json.loads(finished.stdout)
    return response


def test_the_commands_of_the_readme_connect_a_wearable(terra: Terra, tmp_path: Path, commands: list[str]) -> None:
    key, start, show, list_ = commands
    session = run(tmp_path, key, start)
    assert session["status"] == "pending"
    decide(session["auth_url"], "allow")
    poll = show.replace("SESSION_ID", session["session_id"])
    assert poll != show
    finished = eventually(lambda: (status := run(tmp_path, key, poll))["status"] == "connected" and status)
    connections = run(tmp_path, key, list_)["connections"]
    assert finished["user_id"] in {connection["user_id"] for connection in connections}
    assert terra.deliveries(type="auth")


def test_the_commands_printed_by_make_run_connect_a_wearable(
    stack: Stack, terra: Terra, browser: httpx.Client, tmp_path: Path
) -> None:
    start, list_ = re.findall(r"^ +(curl (?:.*\\\n)?.*)$", stack.output.read_text(), re.MULTILINE)
    session = run(tmp_path, start)
    page = browser.get(decide(session["auth_url"], "allow"))
    assert (page.status_code, "Your wearable is connected" in page.text) == (200, True)
    assert run(tmp_path, list_)["connections"]
    assert terra.deliveries(type="auth")
