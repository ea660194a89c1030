"""One real stack for the whole run - DynamoDB Local, MiniStack, Terra simulator, gateway - and clients for it."""

import os
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import httpx
import hypothesis
import psutil
import pytest
from botocore.config import Config

from local.testing import Stack, read, running_stack
from tests.support.processes import command_line, kill
from tests.support.terra import Terra
from tools.environment import ROOT, remove_aws_settings, variable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from xdist.workermanage import WorkerController

# tests/sam needs a stack in containers: make test-sam.
collect_ignore = [] if variable("STACK") else ["sam"]
# tests/least_privilege evaluates a whole run, after it; tests/deployed needs a build and deploys it. make test and make
# test-deploy run them by their names.
collect_ignore += [name for name in ("deployed", "least_privilege") if not any(name in each for each in sys.argv)]

AWS_CALLS = ROOT / "build" / "aws-calls"
"""The AWS calls of the functions in a run of all tests, a file per worker; tests/least_privilege reads them."""
STACK = pytest.StashKey[str]()
LEFT_RUNNING = pytest.StashKey[list[str]]()
RUNS_EVERYTHING = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Iterator[Stack]:
    """Start a stack. STACK=sam-local runs its functions in containers; STACK=.local uses the stack that runs there."""
    which = variable("STACK")
    kind = "--sam" if which == "sam-local" else "--record-aws-calls"
    # Terra's first retry comes after 30 s; here after 0.3 s.
    own = running_stack(more=("--retry-scale", "0.01", kind))
    with nullcontext(read(Path(which))) if which not in ("", "sam-local") else own as running:
        pytestconfig.stash[STACK] = f"database: {running.engine}; functions ran under Python {running.python}"
        yield running
        assert private_lines(running) == []
        if pytestconfig.stash[RUNS_EVERYTHING]:
            AWS_CALLS.mkdir(parents=True, exist_ok=True)
            shutil.copy(running.aws_calls, AWS_CALLS / f"{os.getpid()}.jsonl")


@pytest.fixture(scope="session")
def api(stack: Stack) -> Iterator[httpx.Client]:
    """A client with a service key, as a back end uses it."""
    headers = {"authorization": f"Bearer {stack.service_key}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture(scope="session")
def browser(stack: Stack) -> Iterator[httpx.Client]:
    """A browser without script: no key, and redirects are not followed automatically."""
    with httpx.Client(base_url=stack.api_url, timeout=30) as client:
        yield client


@pytest.fixture
def terra(stack: Stack) -> Iterator[Terra]:
    """The Terra simulator, with its settings and faults reset before and after the test."""
    with httpx.Client(base_url=stack.terra_url, timeout=60) as client:
        simulator = Terra(client, stack.signing_secret)
        simulator.reset()
        yield simulator
        simulator.reset()


@pytest.fixture(scope="session")
def dynamodb(stack: Stack) -> "DynamoDBClient":
    client: DynamoDBClient = boto3.client(
        "dynamodb",
        endpoint_url=stack.dynamodb_url,
        region_name=stack.region,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 5}),
    )
    return client


@pytest.fixture
def reference_id() -> str:
    """A reference_id that no other test uses."""
    return f"reference-{uuid4()}"


def private_lines(stack: Stack) -> list[str]:
    """Return every line logged by the functions in the whole run that contains a reference_id, secret or signature."""
    secrets = "|".join(map(re.escape, (stack.service_key, stack.signing_secret, stack.terra_api_key)))
    private = re.compile(rf"reference-[0-9a-f]{{8}}-|v1=|state=|reference_id|{secrets}")
    lines = (stack.directory / "log" / "functions.log").read_text().splitlines()
    return [line for line in lines if private.search(line)]


def pytest_configure(config: pytest.Config) -> None:
    """Remove what tests must not depend on: AWS and proxy settings, and signals that are ignored."""
    # A busy machine is slow: with hypothesis' limit of time for each example, tests would depend on it.
    hypothesis.settings.register_profile("project", deadline=None)
    hypothesis.settings.load_profile("project")
    remove_aws_settings()
    # A shell starts background jobs with SIGINT ignored. Programs inherit that, and tests interrupt them.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[LEFT_RUNNING] = []
    if hasattr(config, "workerinput"):
        config.stash[RUNS_EVERYTHING] = config.workerinput["runs_everything"]
        return
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    config.stash[RUNS_EVERYTHING] = is_whole and not (config.option.keyword or variable("STACK"))
    if config.stash[RUNS_EVERYTHING]:
        shutil.rmtree(AWS_CALLS, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if line := config.stash.get(STACK, None):
        terminalreporter.write_line(line)
    for reason, count in left_out(terminalreporter).items():
        terminalreporter.write_line(f"NOT RUN: {count} tests: {reason}", red=True, bold=True)


def left_out(reporter: pytest.TerminalReporter) -> Counter[str]:
    """Count the tests that were skipped or expected to fail, by reason; the reason states what is missing."""
    reports = [report for kind in ("skipped", "xfailed", "xpassed") for report in reporter.stats.get(kind, [])]
    return Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else report.outcome
        for report in reports
    )


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: "WorkerController") -> None:
    """Inform a worker of pytest-xdist whether all tests run, which only this process knows."""
    node.workerinput["runs_everything"] = node.config.stash[RUNS_EVERYTHING]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: "WorkerController") -> None:
    """Collect the results of a worker of pytest-xdist."""
    found: dict[str, Any] = getattr(node, "workeroutput", {})
    node.config.stash[LEFT_RUNNING].extend(found.get("left_running", ()))
    if found.get("stack"):
        node.config.stash[STACK] = found["stack"]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if a test leaves a process running, or, with REQUIRE_ALL=1, if a test was skipped or expected to fail."""
    config = session.config
    if not config.getoption("numprocesses", None):  # the process that runs tests
        left = psutil.Process().children(recursive=True)
        config.stash[LEFT_RUNNING].extend(command_line(process) for process in left)
        kill(left)
    if hasattr(config, "workeroutput"):
        config.workeroutput |= {"left_running": config.stash[LEFT_RUNNING], "stack": config.stash.get(STACK, "")}
        return
    reporter: pytest.TerminalReporter | None = config.pluginmanager.get_plugin("terminalreporter")
    assert reporter is not None
    if config.stash[LEFT_RUNNING]:
        reporter.write_line(f"Left running, and ended now: {config.stash[LEFT_RUNNING]}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if variable("REQUIRE_ALL") == "1" and (count := left_out(reporter).total()):
        reporter.write_line(f"REQUIRE_ALL: {count} tests did not run or were expected to fail", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
