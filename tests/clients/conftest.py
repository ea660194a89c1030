"""The clients of the API, each of which runs every test."""

# ruff: noqa: ANN401 - JSON

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.testing import Stack
from tests.support.clients import AsyncPython, Client, SyncPython, TypeScript
from tools import clients


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module of the compiled TypeScript client."""
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(clients.TYPESCRIPT, folder)
    clients.compile_typescript(folder)
    return folder / "dist" / "index.js"


@pytest.fixture(scope="session")
def typescript(compiled: Path) -> Iterator[TypeScript]:
    client = TypeScript(compiled)
    yield client
    client.close()


@pytest.fixture(params=["python", "python-async", "typescript"])
def client(request: pytest.FixtureRequest) -> Client:
    if request.param == "typescript":
        return request.getfixturevalue("typescript")  # type: ignore[no-any-return]
    return SyncPython() if request.param == "python" else AsyncPython()


@dataclass(frozen=True)
class Api:
    """A stack's API, called by a client."""

    client: Client
    url: str
    token: str

    def __call__(self, method: str, /, url: str = "", options: dict[str, float] | None = None, **given: Any) -> Any:
        return self.client.call(method, url or self.url, self.token, options or {}, **given)


@pytest.fixture
def call(client: Client, stack: Stack) -> Callable[..., Any]:
    """Calls a method of the client, with a service key."""
    return Api(client, stack.api_url, stack.service_key)
