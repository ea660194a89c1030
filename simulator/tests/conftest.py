from collections.abc import Iterator

import pytest

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
