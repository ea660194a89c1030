"""`make logs`: the lines of the running local stack, and those of a deployed stack's functions."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.support.waiting import eventually
from tools import logs, stages
from tools.environment import ROOT, everything
from tools.log_lines import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from local.testing import Stack
    from tests.support.deployed import Deployed


@pytest.mark.parametrize(
    ("line", "short"),
    [
        ('[F] {"level": "INFO", "message": "made", "status": 201, "service": "x"}', "[F] made status=201"),
        ('[F] {"level": "ERROR", "message": "no", "cold_start": true}', "[F] ERROR no"),
        ('[F] {"_aws": {"Timestamp": 1}, "Deliveries": 1}', ""),
        ("[F] plain {text", "[F] plain {text"),
        ("[F] a tab\tand \x1b[31m color", "[F] a tab\\tand \\x1b[31m color"),
    ],
)
def test_a_line_is_shortened_for_the_terminal(line: str, short: str) -> None:
    assert shorten(line) == short


# --- the local stack -------------------------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tools.logs", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=everything(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_the_lines_of_the_local_stack_are_followed_and_filtered(
    stack: Stack, api: httpx.Client, reference_id: str
) -> None:
    api.get("/connections", params={"reference_id": reference_id})
    eventually(lambda: reference_id in stack.output.read_text())
    process = run("--directory", str(stack.directory), "--filter", reference_id.upper())
    try:
        assert process.stdout is not None
        earlier = process.stdout.readline()
        api.get("/connections", params={"reference_id": "somewhere-else"})
        api.post("/connections/sync", json={"reference_id": reference_id})
        later = process.stdout.readline()
    finally:
        process.kill()
        process.communicate()
    assert re.fullmatch(rf"\d\d:\d\d:\d\d GET /connections 200 \d+ ms {reference_id}\n", earlier)
    assert re.fullmatch(rf"\d\d:\d\d:\d\d POST /connections/sync 200 \d+ ms {reference_id}\n", later)


def test_the_command_ends_with_the_stack(tmp_path: Path) -> None:
    file = tmp_path / logs.TERMINAL_LOG
    file.parent.mkdir()
    file.write_text("".join(f"line {number}\n" for number in range(100)))
    (tmp_path / "stack.json").touch()
    lines = logs.follow_local(tmp_path, lambda line: "7" in line)
    first = list(itertools.islice(lines, 1))
    with file.open("a") as opened:
        opened.write("line 107\nline 1")
    (tmp_path / "stack.json").unlink()
    assert first == ["line 7"]
    assert list(lines)[-2:] == ["line 97", "line 107"]


def test_only_the_latest_of_many_earlier_lines_are_printed(tmp_path: Path) -> None:
    file = tmp_path / logs.TERMINAL_LOG
    file.parent.mkdir()
    file.write_text("".join(f"line {number}\n" for number in range(100)))
    (tmp_path / "stack.json").touch()
    found = list(itertools.islice(logs.follow_local(tmp_path, lambda _: True), logs.SHOWN_FIRST))
    assert (found[0], found[-1]) == (f"line {100 - logs.SHOWN_FIRST}", "line 99")


def test_without_a_stack_one_line_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert logs.main(["--directory", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("No stack is running here: start one with make run, or select a deployed")


# --- a deployed stack ------------------------------------------------------------------------------------------------


def record(message: str, **fields: object) -> str:
    always = {"level": "INFO", "location": "lambda_handler:45", "timestamp": "t", "service": "s"}
    return json.dumps({**always, "message": message, **fields})


LINES = (
    ("CreateSession", "INIT_START Runtime Version: python:3.13"),
    ("CreateSession", "START RequestId: 1 Version: 7"),
    ("CreateSession", json.dumps({"_aws": {"Timestamp": 1}, "Logins": 1})),
    ("CreateSession", record("create_session", request_id="r", user_hash="0a1b", session_id="s", status=201, ms=20)),
    ("CreateSession", "END RequestId: 1"),
    ("CreateSession", "REPORT RequestId: 1\tDuration: 20 ms"),
    ("GetFacts", record("get_facts", request_id="r", problem="not_found", cause="NotFound", status=404, ms=3)),
    ("SweepPage", record("sweep_page", level="ERROR", outcome="refused")),
    ("SweepPage", "Traceback (most recent call last):"),
)
SHOWN = [
    "POST /sessions 201 20 ms 0a1b session_id=s",
    "GET /connections/{user_id}/facts 404 3 ms problem=not_found cause=NotFound",
    "[SweepPage] ERROR sweep_page outcome=refused",
    "[SweepPage] Traceback (most recent call last):",
]


class LogGroup:
    """The functions' log of a stack in an account."""

    def __init__(self, plan: Deployed) -> None:
        plan.samconfig.write_text(f'[dev.deploy.parameters]\nstack_name = "{plan.name}"\nregion = "us-east-1"\n')
        template = {"Resources": {"FunctionsLog": {"Type": "AWS::Logs::LogGroup"}}}
        plan.client("cloudformation").create_stack(StackName=plan.name, TemplateBody=json.dumps(template))
        self.stage = stages.read("dev", plan.samconfig)
        self._client = plan.client("logs")
        self._name = logs.log_group(plan.client("cloudformation"), self.stage)

    def write(self, *lines: tuple[str, str], at: float | None = None) -> None:
        for function, line in lines:
            stream = f"2026/11/27/{self.stage.stack_name}-{function}-1a2B3c[7][{uuid4().hex}]"
            self._client.create_log_stream(logGroupName=self._name, logStreamName=stream)
            event = {"timestamp": round((at or time.time()) * 1000), "message": line}
            self._client.put_log_events(logGroupName=self._name, logStreamName=stream, logEvents=[event])


@pytest.fixture
def group(plan: Deployed) -> LogGroup:
    return LogGroup(plan)


def follow(group: LogGroup) -> tuple[Iterator[str], threading.Semaphore]:
    """Return the lines of the last minute, and what the next request to CloudWatch waits for."""
    more = threading.Semaphore(0)

    def pause() -> None:
        more.acquire()

    return logs.follow_deployed(group.stage, datetime.now(UTC) - timedelta(minutes=1), pause), more


def test_the_functions_of_a_stage_are_followed_in_readable_lines(group: LogGroup) -> None:
    group.write(("GetFacts", record("old")), at=time.time() - 3600)
    group.write(*LINES)
    lines, more = follow(group)
    found = [next(lines) for _ in SHOWN]
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in found)
    assert sorted(line[9:] for line in found) == sorted(SHOWN)
    # An event may arrive after a later one; each is shown once.
    group.write(("GetFacts", record("late")), at=time.time() - 5)
    more.release()
    assert next(lines)[9:] == "[GetFacts] late"


def test_a_stage_that_is_not_deployed_is_reported_in_one_line(plan: Deployed) -> None:
    plan.samconfig.write_text('[dev.deploy.parameters]\nstack_name = "missing"\nregion = "us-east-1"\n')
    with pytest.raises(stages.StageError, match=r"Deployed yet\? \(make deploy STAGE=dev\)"):
        next(logs.follow_deployed(stages.read("dev", plan.samconfig), datetime.now(UTC)))
    template = {"Resources": {"Other": {"Type": "AWS::SQS::Queue"}}}
    plan.samconfig.write_text(f'[dev.deploy.parameters]\nstack_name = "{plan.name}"\nregion = "us-east-1"\n')
    plan.client("cloudformation").create_stack(StackName=plan.name, TemplateBody=json.dumps(template))
    with pytest.raises(stages.StageError, match=rf"The stack {plan.name} has no FunctionsLog"):
        next(logs.follow_deployed(stages.read("dev", plan.samconfig), datetime.now(UTC)))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--stage", "none"], "There is no stage 'none'"),
        (["--stage", "dev", "--since", "yesterday"], "SINCE=yesterday is not a period"),
    ],
)
def test_a_mistake_is_reported_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert logs.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(expected)
    assert error.count("\n") == 1


def test_every_route_is_named_by_the_message_of_its_function() -> None:
    routes: dict[str, Any] = logs.routes_by_function()
    assert routes["create_session"] == "POST /sessions"
    assert routes["terra_webhook"] == "POST /webhooks/terra"
    assert routes["erase_person"] == "POST /erasures"
    assert set(routes) <= {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
