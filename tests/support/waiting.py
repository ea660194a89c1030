"""Waiting, with patience for a busy machine."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


BUSY = 15.0
"""Seconds that a busy machine may take on top of a time limit in a test."""


def eventually(look: Callable[[], T], *, within: float = 60) -> T:
    """Call `look` until its result is true, and return the result."""
    give_up_at = time.monotonic() + within
    while not (seen := look()):
        assert time.monotonic() < give_up_at, f"not within {within} s: {seen!r}"
        time.sleep(0.05)
    return seen
