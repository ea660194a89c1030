"""A whole stack for tests, started as `make run` starts it, and removed afterwards.

with running_stack() as stack:
    httpx.get(f"{stack.api_url}/connections", ...)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tools.environment import ROOT, everything
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PORT_VARIABLES: Final = ("API_PORT", "TERRA_PORT", "DYNAMODB_PORT", "AWS_PORT", "DEMO_PORT", "OIDC_PORT")
START_TIMEOUT: Final = 600.0  # the first start on a machine fetches
STOP_TIMEOUT: Final = 30.0


class StackDidNotStartError(Exception):
    """The text is everything that the stack printed."""


@dataclass(frozen=True)
class Tables:
    """The tables' real names."""

    connections: str
    sessions: str
    deliveries: str


@dataclass(frozen=True)
class Stack:
    """The contents of stack.json of a running stack, and its folder."""

    api_url: str
    terra_url: str
    terra_dev_id: str
    terra_api_key: str
    dynamodb_url: str
    aws_url: str
    control_url: str
    queues: Mapping[str, str]
    event_buses: Mapping[str, str]
    payloads: Mapping[str, str] | None
    parameters: Mapping[str, str]
    region: str
    service_key: str
    signing_secret: str
    notify_key: str
    tables: Tables
    demo_url: str
    oidc_issuer: str
    engine: str
    python: str
    pid: int
    directory: Path

    @property
    def output(self) -> Path:
        """The file with the stack's output."""
        return self.directory / "output.txt"

    @property
    def aws_calls(self) -> Path:
        """The file with the functions' AWS calls, a line of JSON each, with --record-aws-calls."""
        return self.directory / "log" / "aws-calls.jsonl"


def read(directory: Path) -> Stack:
    """Read a running stack's stack.json."""
    found = json.loads((directory / "stack.json").read_text())
    known = {field.name for field in fields(Stack)}
    values = {name: value for name, value in found.items() if name in known}
    return Stack(**{**values, "tables": Tables(**found["tables"]), "directory": directory})


def launch(
    directory: Path,
    *,
    in_memory: bool = True,
    loads: bool = False,
    variables: Mapping[str, str] | None = None,
    more: tuple[str, ...] = (),
) -> subprocess.Popen[bytes]:
    """Start a stack that ends with this process, on free ports, and do not wait; its output goes to output.txt.

    Unlike `make run` it loads a function only when it is invoked, because most tests need few of them; `loads=True`
    loads all.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = ["--in-memory"] if in_memory else []
    options = ["--directory", str(directory), *kept, "--parent", str(os.getpid())]
    if not loads:
        options.append("--load-on-demand")
    command = [sys.executable, "-m", "local.stack", *options]
    environment = {**everything(), **dict.fromkeys(PORT_VARIABLES, "0"), **(variables or {})}
    with (directory / "output.txt").open("wb") as output:
        return subprocess.Popen(  # noqa: S603  # our own program
            [*command, *more],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


@contextmanager
def running_stack(
    *,
    directory: Path | None = None,
    in_memory: bool = True,
    variables: Mapping[str, str] | None = None,
    more: tuple[str, ...] = (),
) -> Iterator[Stack]:
    """Start a stack on free ports, wait until every part responds, and stop it afterwards.

    Args:
        directory: Its folder; a temporary one by default, removed afterwards.
        in_memory: False keeps the tables in the folder.
        variables: Changes to its environment, for example {"DATABASE": "ministack"}.
        more: Further arguments of `python -m local.stack`, for example ("--retry-scale", "0.01").

    Raises:
        StackDidNotStartError: With everything that it printed.
    """
    with tempfile.TemporaryDirectory(prefix="terra-connections-") as scratch:
        place = directory or Path(scratch) / "stack"
        process = launch(place, in_memory=in_memory, variables=variables, more=more)
        try:
            wait_until_up(process, place)
            yield read(place)
        finally:
            stop(process)


def wait_until_up(process: subprocess.Popen[bytes], directory: Path) -> None:
    """Wait for this process's own stack.json, and show the stack's output once it takes longer than usual."""
    began = time.monotonic()
    output = directory / "output.txt"
    shown = 0
    while not is_up(process, directory):
        waited = time.monotonic() - began
        if process.poll() is not None or waited > START_TIMEOUT:
            raise StackDidNotStartError(output.read_text(errors="replace"))
        if waited > 10.0:  # noqa: PLR2004  # a start without fetching takes about five
            lines = output.read_text(errors="replace").splitlines()
            for line in lines[shown:]:
                say(f"[stack] {line}")
            shown = len(lines)
        time.sleep(0.05)


def is_up(process: subprocess.Popen[bytes], directory: Path) -> bool:
    """Return whether stack.json exists and belongs to this process, not to a stack that was killed."""
    try:
        found = json.loads((directory / "stack.json").read_text())
    except FileNotFoundError:
        return False
    return bool(found["pid"] == process.pid)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a stack as Ctrl-C would."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
