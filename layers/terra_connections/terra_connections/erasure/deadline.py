"""The time limit of an erasure."""

import time
from datetime import timedelta

_LEAST = timedelta(seconds=0.2)
"""A step does not start with less time left than this."""


class Deadline:
    """The time left of an erasure."""

    def __init__(self, within: timedelta) -> None:
        self._ends_at = time.monotonic() + within.total_seconds()

    def left(self, at_most: timedelta) -> timedelta:
        """The time that a step may take if it starts now; zero if too little is left to start it."""
        left = timedelta(seconds=self._ends_at - time.monotonic())
        return min(left, at_most) if left >= _LEAST else timedelta(0)

    @property
    def is_over(self) -> bool:
        """Whether no further step starts."""
        return not self.left(_LEAST)
