"""One real stack for the whole run - DynamoDB Local, MiniStack, Terra simulator, gateway - and clients for it."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import boto3
import httpx
import psutil
import pytest
from botocore.config import Config

from local.testing import Stack, read, running_stack
from tests.processes import command_line, end
from tests.support import Terra
from tools.environment import forget_aws, variable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# That suite needs a stack in containers: make test-sam.
collect_ignore = [] if variable("STACK") else ["sam"]

STACK = pytest.StashKey[Stack]()
COLLECTED_ALL = pytest.StashKey[bool]()


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Iterator[Stack]:
    """Start a stack. STACK=sam-local runs its functions in containers; STACK=.local uses the stack that runs there."""
    which = variable("STACK")
    kind = "--sam" if which == "sam-local" else "--record-aws-calls"
    # Terra's first retry comes after 30 s; here after 0.3 s.
    own = running_stack(more=("--retry-scale", "0.01", kind))
    with nullcontext(read(Path(which))) if which not in ("", "sam-local") else own as running:
        pytestconfig.stash[STACK] = running
        yield running
        assert private_lines(running) == []


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


@pytest.fixture(scope="session")
def all_suites(pytestconfig: pytest.Config) -> None:
    """For checks that need everything that invokes the functions to have run first."""
    if not pytestconfig.stash[COLLECTED_ALL]:
        pytest.skip("only after all of tests/integration and tests/e2e")


@pytest.fixture
def person() -> str:
    """A reference_id that no other test uses."""
    return f"person-{uuid4()}"


def private_lines(stack: Stack) -> list[str]:
    """Return every line logged by the functions in the whole run that contains a reference_id, secret or signature."""
    secrets = "|".join(map(re.escape, (stack.service_key, stack.signing_secret, stack.terra_api_key)))
    private = re.compile(rf"person-[0-9a-f]{{8}}-|v1=|state=|reference_id|{secrets}")
    lines = (stack.directory / "log" / "functions.log").read_text().splitlines()
    return [line for line in lines if private.search(line)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the tests that evaluate the whole run last."""
    items.sort(key=lambda item: item.get_closest_marker("looks_back") is not None)
    suites = [config.rootpath / "tests" / name for name in ("integration", "e2e")]
    config.stash[COLLECTED_ALL] = not (config.option.keyword or variable("STACK")) and {
        item.path for item in items
    } >= {file for suite in suites for file in suite.glob("test_*.py")}


def pytest_configure() -> None:
    """Remove the AWS and proxy settings of the user's shell: clients of a local stack must not use them."""
    forget_aws()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    stack = config.stash.get(STACK, None)
    if stack:
        terminalreporter.write_line(f"database: {stack.engine}; functions ran under Python {stack.python}")
    for reason, count in left_out(terminalreporter).items():
        terminalreporter.write_line(f"NOT RUN: {count} tests: {reason}", red=True, bold=True)


def left_out(reporter: pytest.TerminalReporter) -> Counter[str]:
    """Count the tests that were skipped or expected to fail, by reason; the reason states what is missing."""
    reports = [report for kind in ("skipped", "xfailed", "xpassed") for report in reporter.stats.get(kind, [])]
    return Counter(
        str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else report.outcome
        for report in reports
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail if a test leaves a process running, or, with REQUIRE_ALL=1, if a test was skipped or expected to fail."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    if left := psutil.Process().children(recursive=True):
        commands = [command_line(process) for process in left]
        end(left)
        reporter.write_line(f"Left running, and ended now: {commands}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if variable("REQUIRE_ALL") == "1" and (count := left_out(reporter).total()):
        reporter.write_line(f"REQUIRE_ALL: {count} tests did not run or were expected to fail", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
