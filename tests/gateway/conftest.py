import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.gateway.workers import Runtime
from tests.gateway.running import Running, serving, write_project

RUNTIMES = [
    pytest.param(
        "awslambdaric",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("awslambdaric") is None, reason="awslambdaric has no wheel for this platform"
        ),
    ),
    "own",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One gateway for all tests of a module that do not modify its functions."""
    with serving(write_project(tmp_path_factory.mktemp("stack"))) as running:
        yield running


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    runtime: Runtime = request.param
    return runtime
