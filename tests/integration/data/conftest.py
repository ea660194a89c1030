"""Fixtures: the bucket of payloads, and a consumer of the events about them."""

from collections.abc import Iterator

import pytest

from local.testing import Stack
from tests.support.data import Bucket, DataListener, listening


@pytest.fixture(scope="session")
def bucket(stack: Stack) -> Bucket:
    return Bucket(stack)


@pytest.fixture(scope="module")
def listener(stack: Stack) -> Iterator[DataListener]:
    with listening(stack) as found:
        yield found
