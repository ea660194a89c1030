"""Progress messages: a line when something slow begins, a line every ten seconds, and a line when it is done."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRESS_INTERVAL = 10.0
SHORTEST_REPORTED = 1.0


def say(text: str) -> None:
    """Print one line and flush it, so that it also reaches a pipe at once."""
    print(text, flush=True)


@contextmanager
def step(text: str, done_so_far: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Announce the step that the block runs, and report every ten seconds that it is still running.

    Args:
        text: the step.
        done_so_far: returns what the block has done, for the report; empty if that is unknown.
    """
    began = time.monotonic()
    over = threading.Event()

    def report_progress() -> None:
        while not over.wait(PROGRESS_INTERVAL):
            say(
                f"    still running, {time.monotonic() - began:.0f} s"
                + (f": {done}" if (done := done_so_far()) else "")
            )

    say(f"  {text} ...")
    threading.Thread(target=report_progress, daemon=True).start()
    try:
        yield
    finally:
        over.set()
    if (took := time.monotonic() - began) > SHORTEST_REPORTED:
        say(f"    done in {took:.0f} s")
