from collections.abc import Iterator

import httpx
import pytest

from admin_client import ALL_SCOPES, Admin
from receiver import Receiver
from simulator_process import Terra, running


@pytest.fixture(scope="session")
def process() -> Iterator[Terra]:
    with running() as terra:
        yield terra


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def terra(process: Terra, receiver: Receiver) -> Iterator[Terra]:
    process.control("POST", "/reset")
    process.set(webhook_url=receiver.url, retry_scale=0.001)
    yield process
    process.control("POST", "/reset")


@pytest.fixture
def admin(terra: Terra) -> Iterator[Admin]:
    """A client of the Admin API, with every scope."""
    with httpx.Client(base_url=terra.url, timeout=30, trust_env=False) as client:
        admin = Admin(terra, client)
        admin.use(admin.token(scopes=ALL_SCOPES))
        yield admin
