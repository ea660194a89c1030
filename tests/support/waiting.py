"""Waiting, with time limits for a busy machine."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


BUSY = 15.0
"""Seconds that a busy machine may need in addition to a time limit in a test."""


def eventually(read: Callable[[], T], *, within: float = 60) -> T:
    """Call `read` until its result is true, and return the result."""
    ends_at = time.monotonic() + within
    while not (result := read()):
        assert time.monotonic() < ends_at, f"not within {within} s: {result!r}"
        time.sleep(0.05)
    return result
