"""`make logs`: follow what the local stack prints, or with STAGE the functions' logs of a deployed stack.

Each request is a line: time, method, path, status, duration, user. A deployed stack's lines name the route, and the
user by the pseudonym `user_hash`. FILTER selects lines, SINCE the time from which a deployed stack's lines are shown.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from samtranslator.yaml_helper import yaml_parse

from tools import log_lines, stages
from tools.environment import ROOT
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LOCAL: Final = "local"
TERMINAL_LOG: Final = Path("log") / "terminal.log"
"""The lines that the local stack prints, in its folder."""
SHOWN_FIRST: Final = 20
"""The number of earlier lines of the local stack."""
LOCAL_PAUSE: Final = 0.3
DEPLOYED_PAUSE: Final = 2.0
LATE: Final = 30_000
"""Each request begins this many milliseconds before the newest event: an event may arrive after a later one."""
_PLATFORM: Final = re.compile(r"(START|END|REPORT|INIT_START|XRAY) ")
_PERIOD: Final = re.compile(r"([0-9]{1,5})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print lines until Ctrl-C, or until the local stack stops."""
    parser = argparse.ArgumentParser(prog="make logs", description=__doc__)
    parser.add_argument("--stage", default=LOCAL, help="a stage of samconfig.toml; local is the stack of make run")
    parser.add_argument("--filter", default="", help="print only lines with this text, in any case")
    parser.add_argument("--since", default="10m", help="of a deployed stack: a period, such as 30m, 6h or 2d")
    parser.add_argument("--directory", type=Path, default=ROOT / ".local", help="folder of the local stack")
    options = parser.parse_args(arguments)

    def wanted(line: str) -> bool:
        return options.filter.lower() in line.lower()

    try:
        if options.stage == LOCAL:
            lines = follow_local(options.directory, wanted)
        else:
            start = datetime.now(UTC) - period(options.since)
            lines = filter(wanted, follow_deployed(stages.read(options.stage), start))
        for line in lines:
            say(line)
    except stages.StageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


def period(text: str) -> timedelta:
    """Return the length of a period.

    Raises:
        StageError: it is not a period.
    """
    if found := _PERIOD.fullmatch(text):
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    message = f"SINCE={text} is not a period: write a number of minutes, hours or days, such as 30m, 6h or 2d."
    raise stages.StageError(message)


# --- the local stack -------------------------------------------------------------------------------------------------


def follow_local(directory: Path, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Yield the latest lines of the stack that runs from a folder, and each new one until it stops.

    Args:
        directory: the folder.
        wanted: returns whether to yield a line.

    Raises:
        StageError: No stack runs there.
    """
    stack = directory / "stack.json"
    try:
        file = (directory / TERMINAL_LOG).open(encoding="utf-8")
    except FileNotFoundError:
        file = None
    if file is None or not stack.exists():
        message = "No stack is running here: start one with make run, or select a deployed one (make logs STAGE=dev)."
        raise stages.StageError(message)
    with file:
        rest, shown = "", SHOWN_FIRST
        while True:
            is_running = stack.exists()
            *lines, rest = (rest + file.read()).split("\n")
            yield from list(filter(wanted, lines))[-shown:]
            shown = 0  # from now on all of them
            if not is_running:
                return
            time.sleep(LOCAL_PAUSE)


# --- a deployed stack ------------------------------------------------------------------------------------------------


def follow_deployed(stage: stages.Stage, start: datetime, pause: Callable[[], None] | None = None) -> Iterator[str]:
    """Yield the readable lines of the functions of a stage since a time, and each new one, for ever.

    Args:
        stage: the stage.
        start: the time of the first line.
        pause: waits between two requests to CloudWatch.

    Raises:
        StageError: The stack does not exist, or AWS cannot be reached.
    """
    routes = routes_by_function()
    try:
        session = stage.session()
        group = log_group(session.client("cloudformation"), stage)
    except stages.AWS_ERRORS as error:
        raise stages.StageError(stages.unknown(stage, error)) from None
    try:
        for event in events(session.client("logs"), group, start, pause or (lambda: time.sleep(DEPLOYED_PAUSE))):
            if line := readable(event, stage.stack_name, routes):
                yield line
    except stages.AWS_ERRORS as error:
        message = (
            f"The log group {group} cannot be read: {stages.one_line(error)} deployer.yaml grants it in OperatePolicy "
            "(docs/deploying.md)."
        )
        raise stages.StageError(message) from None


def log_group(cloudformation: Any, stage: stages.Stage) -> str:  # noqa: ANN401 - a client of boto3
    """Return the name of the functions' log group.

    Raises:
        StageError: The stack has none: its deployment has failed.
    """
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stage.stack_name)
    for page in pages:
        for resource in page["StackResourceSummaries"]:
            if resource["LogicalResourceId"] == "FunctionsLog":
                return str(resource["PhysicalResourceId"])
    message = f"The stack {stage.stack_name} has no FunctionsLog: deploy it again (make deploy STAGE={stage.name})."
    raise stages.StageError(message)


def events(client: Any, group: str, start: datetime, pause: Callable[[], None]) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 - a client of boto3
    """Yield the events of a log group, each once."""
    first = int(start.timestamp() * 1000)
    seen: dict[str, int] = {}
    paginator = client.get_paginator("filter_log_events")
    while True:
        for page in paginator.paginate(logGroupName=group, startTime=first):
            for event in page["events"]:
                if event["eventId"] not in seen:
                    seen[event["eventId"]] = event["timestamp"]
                    yield event
        first = max(first, max(seen.values(), default=0) - LATE)
        seen = {name: at for name, at in seen.items() if at >= first}
        pause()


def readable(event: Mapping[str, Any], stack_name: str, routes: Mapping[str, str]) -> str:
    """Return an event of CloudWatch as a line; empty for metrics and for Lambda's own lines."""
    line = event["message"].rstrip()
    record = log_lines.record_of(line) if line.startswith("{") else None
    clock = datetime.fromtimestamp(event["timestamp"] / 1000).astimezone().strftime("%H:%M:%S")
    if record is not None and log_lines.is_request(record):
        route = routes.get(record["message"], record["message"])
        user = str(record.get("user_hash", ""))
        rest = log_lines.details(record, log_lines.IN_PLACE)
        return f"{clock} {log_lines.request_line(route, record['status'], record['ms'], user, rest)}"
    short = "" if _PLATFORM.match(line) else log_lines.shorten(line)
    # 2026/11/27/terra-connections-dev-PublishEvents-1a2B3c4D5e6F[7][<id of the process>]
    function = event["logStreamName"].rpartition("/")[2].partition("[")[0].removeprefix(f"{stack_name}-")
    return f"{clock} [{function.partition('-')[0]}] {short}" if short else ""


def routes_by_function() -> dict[str, str]:
    """Return the route of each function's name in its log lines, which is that of its folder."""
    resources: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text(encoding="utf-8"))["Resources"]
    functions = (each["Properties"] for each in resources.values() if each["Type"] == "AWS::Serverless::Function")
    return {
        Path(function["CodeUri"]).name: f"{event['Properties']['Method']} {event['Properties']['Path']}"
        for function in functions
        for event in function.get("Events", {}).values()
        if event["Type"] == "HttpApi"
    }


if __name__ == "__main__":
    raise SystemExit(main())
