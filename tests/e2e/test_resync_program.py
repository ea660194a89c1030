"""Runs the program of docs/events.md for a consumer that lost events."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from local.testing import Stack
from tests.support.api import connections_of, erase
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.waiting import eventually
from tools.environment import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def program() -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/events.md").read_text(), re.DOTALL | re.MULTILINE)
    [found] = [block for block in blocks if block.startswith('"""Resync')]
    return str(found)


@pytest.fixture
def run(stack: Stack, tmp_path: Path, program: str) -> Run:
    def start(**changes: str) -> subprocess.CompletedProcess[str]:
        variables = {"API_URL": stack.api_url, "SERVICE_KEY": stack.service_key, "DATABASE": str(tmp_path / "own.db")}
        return subprocess.run(
            [sys.executable, "-c", program],
            env={**variables, **changes},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return start


def copy(tmp_path: Path, *names: str) -> dict[str, tuple[str, str, str]]:
    """Return the consumer's copy of the connections of these users."""
    with sqlite3.connect(tmp_path / "own.db") as database:
        rows = database.execute("SELECT connection_id, user_id, reference_id, status FROM connections").fetchall()
    database.close()
    return {row[2]: (row[0], row[1], row[3]) for row in rows if row[2] in names}


def actual(api: httpx.Client, *names: str) -> dict[str, tuple[str, str, str]]:
    found = [connection for name in names for connection in connections_of(api, name)]
    return {each["reference_id"]: (each["connection_id"], each["user_id"], each["status"]) for each in found}


def test_a_consumer_that_lost_every_event_is_in_line_afterwards(
    api: httpx.Client, terra: Terra, run: Run, tmp_path: Path
) -> None:
    names = [f"reference-{uuid4()}" for _ in range(6)]
    kept, failing, disconnected, erased, reconnected, new = names
    ids = {name: terra.connect(name)["user_id"] for name in names[:-1]}
    eventually(lambda: len(actual(api, *names)) == len(ids))
    first = run()
    assert first.returncode == 0, first.stderr
    assert "are in line with the API" in first.stdout
    assert copy(tmp_path, *names) == actual(api, *names)

    # The consumer gets none of these events.
    terra.happen(ids[failing], "connection_error")
    assert api.delete(f"/connections/{ids[disconnected]}").status_code == httpx.codes.NO_CONTENT
    assert erase(api, erased).status_code == httpx.codes.NO_CONTENT
    users = {"old_user": ids[reconnected], "new_user": new_user_id()}
    event = {field: auth_event(user_id, reconnected)["user"] for field, user_id in users.items()}
    terra.deliver({"type": "user_reauth", "status": "warning", **event})
    terra.connect(new)
    expected = eventually(
        lambda: (
            (found := actual(api, *names)).keys() == {kept, failing, reconnected, new}
            and found[failing][2] == "needs_reauth"
            and found[reconnected][1] == users["new_user"]
            and found
        )
    )
    assert copy(tmp_path, *names) != expected
    for _ in range(2):  # a repeat changes nothing
        again = run()
        assert again.returncode == 0, again.stderr
        assert copy(tmp_path, *names) == expected


def test_a_newer_event_is_not_overwritten_and_a_row_that_was_not_delivered_is_checked(
    api: httpx.Client, terra: Terra, run: Run, tmp_path: Path
) -> None:
    name, gone = (f"reference-{uuid4()}" for _ in range(2))
    terra.connect(name)
    eventually(lambda: actual(api, name))
    assert run().returncode == 0
    newest = "2099-01-01T00:00:00.000Z"
    with sqlite3.connect(tmp_path / "own.db") as database:
        database.execute(
            "UPDATE connections SET status = 'needs_reauth', updated_at = ? WHERE reference_id = ?", (newest, name)
        )
        row = ("con_x", new_user_id(), gone, "FITBIT", "connected", newest, 1)
        database.execute("INSERT INTO connections VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    database.close()
    assert run().returncode == 0
    assert {owner: status for owner, (_, _, status) in copy(tmp_path, name, gone).items()} == {name: "needs_reauth"}


def test_a_wrong_key_is_one_line_and_changes_nothing(run: Run, tmp_path: Path) -> None:
    failed = run(SERVICE_KEY="wrong")
    assert failed.returncode == 1
    [line] = failed.stderr.splitlines()
    said = line.removeprefix("/connections: 403 ")
    assert said != line
    assert list(json.loads(said)) == ["message"]  # its text is the gateway's: sam local has another one
    assert copy(tmp_path) == {}
