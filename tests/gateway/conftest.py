from collections.abc import Iterator
from pathlib import Path

import pytest

from local.gateway.workers import Runtime
from tests.support.gateway import RUNTIMES, Running, serving, write_project


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
