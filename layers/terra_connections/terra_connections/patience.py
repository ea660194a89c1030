"""How long a contended or throttled table is tried, and how that shows."""

import random
import time
from datetime import timedelta

from terra_connections.errors import NotDurable

CONTENTION_LIMIT = timedelta(seconds=5)
"""Terra waits 8 s for all of a webhook."""
CONTENTION = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
"""Reasons of a cancelled transaction that a repeat can cure as it stands."""


class Patience:
    """How often and how long a contended or throttled table is tried: ever more slowly, up to `CONTENTION_LIMIT`."""

    def __init__(self) -> None:
        self._gives_up_at = time.monotonic() + CONTENTION_LIMIT.total_seconds()
        self._waits = 0

    def wait(self) -> None:
        """Wait a moment, a random one, so that those who met do not meet again.

        Raises:
            NotDurable: there is no time left.
        """
        self._waits += 1
        pause = random.uniform(0.01, 0.05 * min(self._waits, 8))  # noqa: S311 - jitter, not a secret
        if time.monotonic() + pause >= self._gives_up_at:
            message = "The table was too busy for too long."
            raise NotDurable(message, retry_after=1)
        time.sleep(pause)
