"""The pytest plugin of the simulator: the fixture `terra`.

The setting `terra_simulator_arguments` of pytest's configuration has further arguments of `terra-simulator serve`. The
seed is 0 unless they name another, so that every run has the same ids and data.
"""

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    # Imported when a test uses the fixture: pytest loads this module in every run.
    from terra_simulator.testing import Terra


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the setting."""
    help_text = "further arguments of `terra-simulator serve` for the fixture `terra`"
    parser.addini("terra_simulator_arguments", help_text, type="args", default=[])


@pytest.fixture(scope="session")
def terra_simulator(pytestconfig: pytest.Config) -> Iterator["Terra"]:
    """A simulator in a process of its own, on a free port, for all tests of this process."""
    from terra_simulator.testing import simulator  # noqa: PLC0415 - see above

    with simulator("--seed", "0", *pytestconfig.getini("terra_simulator_arguments")) as terra:
        yield terra


@pytest.fixture
def terra(terra_simulator: "Terra") -> "Terra":
    """The simulator without users and webhooks, with its settings and its time as at the start."""
    terra_simulator.reset()
    return terra_simulator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the webhooks to the report of a test that fails."""
    report = yield
    running: Terra | None = getattr(item, "funcargs", {}).get("terra_simulator")
    if call.when == "call" and report.failed and running is not None:
        try:
            lines = [str(each) for each in running.deliveries()]
        except Exception as error:  # noqa: BLE001 - the test's own failure must be reported in any case
            lines = [str(error)]
        report.sections.append(("webhooks of terra-simulator", "\n".join(lines) or "none"))
    return report
