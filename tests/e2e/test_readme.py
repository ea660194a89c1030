"""Runs README's commands and programs for a back end as written, with the stack's addresses."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.testing import Stack
from tests.support import documents
from tests.support.api import decide
from tests.support.terra import Terra
from tests.support.waiting import eventually
from tools import setup
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


def blocks(stack: Stack, language: str) -> list[str]:
    """Return README's blocks of a language, with the addresses of this stack."""
    return [
        block.replace("http://127.0.0.1:4101", stack.api_url).replace(
            ".local/stack.json", str(stack.directory / "stack.json")
        )
        for block in documents.blocks((ROOT / "README.md").read_text(), language)
    ]


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


def test_the_quickstart_connects_a_wearable_with_responses_like_those_shown(
    stack: Stack, terra: Terra, tmp_path: Path
) -> None:
    create, list_ = [block for block in blocks(stack, "sh") if "curl" in block][:2]
    new, listed = map(json.loads, blocks(stack, "json"))
    session = run(tmp_path, create)
    assert session.keys() == new.keys()
    assert {name: session[name] for name in ("status", "reference_id", "resource")} == {
        name: new[name] for name in ("status", "reference_id", "resource")
    }
    decide(session["auth_url"], "allow")
    key = create.partition("\n")[0]
    found = eventually(lambda: run(tmp_path, key, list_)["connections"])
    assert [found[0].keys()] == [connection.keys() for connection in listed["connections"]]
    assert (found[0]["provider"], found[0]["status"]) == ("FITBIT", "connected")
    assert terra.deliveries(type="auth")


def test_the_output_of_make_run_is_like_that_shown(stack: Stack) -> None:
    [shown] = [block for block in blocks(stack, "text") if block.startswith("Ready in")]
    output = stack.output.read_text()
    for line in filter(None, shown.splitlines()):
        pattern = re.sub(r"\d+", r"\\d+", re.escape(line).replace(re.escape(stack.api_url), "http://127.0.0.1:0"))
        assert re.search(rf"^{pattern}$", output, re.MULTILINE), line


def test_the_commands_of_the_three_steps_connect_a_wearable(stack: Stack, terra: Terra, tmp_path: Path) -> None:
    key = next(block for block in blocks(stack, "sh") if "curl" in block).partition("\n")[0]
    [steps] = [block for block in blocks(stack, "sh") if "# 1." in block]
    _, start, show, list_ = re.split(r"^# \d\..*\n", steps, flags=re.MULTILINE)
    session = run(tmp_path, key, start)
    assert session["status"] == "pending"
    decide(session["auth_url"], "allow")
    poll = show.replace("SESSION_ID", session["session_id"])
    assert poll != show
    finished = eventually(lambda: (status := run(tmp_path, key, poll))["status"] == "connected" and status)
    connections = run(tmp_path, key, list_)["connections"]
    assert finished["user_id"] in {connection["user_id"] for connection in connections}
    assert terra.deliveries(type="auth")


@pytest.mark.parametrize(("language", "name"), [("python", "connect.py"), ("ts", "connect.mts")])
def test_a_program_of_the_readme_connects_a_wearable(
    stack: Stack, api: httpx.Client, tmp_path: Path, language: str, name: str
) -> None:
    [source] = blocks(stack, language)
    program = tmp_path / name
    program.write_text(source)
    # Node.js removes the types since version 22.18.
    interpreter = sys.executable if language == "python" else setup.tool_venv("node", "Node.js") / "node"
    command = [str(interpreter), str(program)]
    environment = {"SERVICE_KEY": stack.service_key, "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        opened = running.stdout.readline()
        assert opened.startswith("open http://"), opened
        decide(opened.split()[1], "allow")
        status, user_id = running.stdout.read().split()
    assert (running.returncode, status) == (0, "connected")
    assert api.get(f"/connections/{user_id}").json()["provider"] == "FITBIT"


def test_the_commands_printed_by_make_run_connect_a_wearable(
    stack: Stack, terra: Terra, browser: httpx.Client, tmp_path: Path
) -> None:
    start, list_ = re.findall(r"^ +(curl (?:.*\\\n)?.*)$", stack.output.read_text(), re.MULTILINE)
    session = run(tmp_path, start)
    page = browser.get(decide(session["auth_url"], "allow"))
    assert (page.status_code, "Fitbit is connected" in page.text) == (200, True)
    connections = run(tmp_path, list_)["connections"]
    assert ("FITBIT", "connected") in {(each["provider"], each["status"]) for each in connections}
    assert terra.deliveries(type="auth")
