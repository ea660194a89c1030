"""The terminal of the local stack: one line for each request, with the user and what the function logged about it."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

from local.gateway import Access
from local.terminal import UNMATCHED, Terminal
from tests.support.waiting import eventually

if TYPE_CHECKING:
    import httpx
    import pytest

    from local.testing import Stack
    from tests.support.terra import Terra

CLOCK = r"\d\d:\d\d:\d\d"


def lines_with(stack: Stack, text: str) -> list[str]:
    return [line for line in stack.output.read_text().splitlines() if text in line]


def test_a_request_is_one_line_with_time_method_path_status_duration_and_user(
    stack: Stack, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    session = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"}).json()
    terra.connect(reference_id)
    eventually(lambda: lines_with(stack, f"ms {reference_id} type=auth"))
    assert api.post("/sessions", json={"reference_id": reference_id, "resource": "NOTHING"}).is_client_error
    begun, webhook, failed = lines_with(stack, f" ms {reference_id}")
    session_id = session["session_id"]
    assert re.fullmatch(rf"{CLOCK} POST /sessions 201 \d+ ms {reference_id} session_id={session_id}", begun)
    assert re.fullmatch(rf"{CLOCK} POST /webhooks/terra 200 \d+ ms {reference_id} type=auth .*", webhook)
    assert re.fullmatch(rf"{CLOCK} POST /sessions 422 \d+ ms {reference_id} problem=unknown_resource .*", failed)
    # What the handlers log about requests is part of these lines, and the metrics are in the functions' log only.
    assert not lines_with(stack, "[CreateSession]")
    assert not lines_with(stack, "_aws")
    assert (stack.directory / "log" / "terminal.log").read_text().count(reference_id) >= 3


def test_a_request_that_no_function_gets_is_a_line(stack: Stack, browser: httpx.Client) -> None:
    browser.get("/nothing/here?secret=s")
    browser.get("/connections?reference_id=stranger")
    eventually(lambda: lines_with(stack, "stranger"))
    assert re.fullmatch(rf"{CLOCK} GET /nothing/here 404 \d+ ms", lines_with(stack, "/nothing/here")[-1])
    assert re.fullmatch(rf"{CLOCK} GET /connections 401 \d+ ms stranger", lines_with(stack, "stranger")[-1])


def test_the_user_of_a_token_is_shown(stack: Stack, browser: httpx.Client, reference_id: str) -> None:
    token = browser.post(f"{stack.oidc_issuer}/token", json={"subject": reference_id}).json()["access_token"]
    browser.get("/connections", headers={"authorization": f"Bearer {token}"}).raise_for_status()
    [line] = eventually(lambda: lines_with(stack, reference_id))
    assert re.fullmatch(rf"{CLOCK} GET /connections 200 \d+ ms {reference_id}", line)
    assert token not in stack.output.read_text()


def log_line(request_id: str) -> str:
    record = {"message": "get", "request_id": request_id, "status": 200, "ms": 3, "user_hash": "h", "found": request_id}
    return f"[Get] {json.dumps(record)}"


def test_a_request_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal(io.StringIO(), io.StringIO())
    terminal.access(Access("1", "GET", "/x", 200, 1, "\x1b[2J\nalice \u202e\N{GREEK SMALL LETTER ALPHA}"))
    line = capsys.readouterr().out
    assert line.endswith(" GET /x 200 1 ms \\x1b[2J\\nalice \\u202e\N{GREEK SMALL LETTER ALPHA}\n")


def test_log_lines_without_a_response_are_not_kept_for_ever(capsys: pytest.CaptureFixture[str]) -> None:
    functions_log, own_log = io.StringIO(), io.StringIO()
    terminal = Terminal(functions_log, own_log)
    for number in range(UNMATCHED + 1):
        terminal.log(log_line(str(number)))
    assert capsys.readouterr().out == ""
    for number in (0, UNMATCHED):
        terminal.access(Access(str(number), "GET", "/x", 200, 5, ""))
    first, last = capsys.readouterr().out.splitlines()
    assert first.endswith(" GET /x 200 5 ms")
    assert last.endswith(f" GET /x 200 5 ms found={UNMATCHED}")
    assert own_log.getvalue().splitlines() == [first, last]
    assert len(functions_log.getvalue().splitlines()) == UNMATCHED + 1
