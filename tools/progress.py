"""Progress messages: a line when something slow begins, a line every ten seconds, and a line when it is done."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGN_OF_LIFE = 10.0
WORTH_A_TIME = 1.0


def say(text: str) -> None:
    """Print one line and flush it, so that it also reaches a pipe at once."""
    print(text, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce the step that the block runs, and report every ten seconds that it is still running."""
    began = time.monotonic()
    over = threading.Event()

    def reassure() -> None:
        while not over.wait(SIGN_OF_LIFE):
            say(f"    still at it, {time.monotonic() - began:.0f} s")

    say(f"  {text} ...")
    threading.Thread(target=reassure, daemon=True).start()
    try:
        yield
    finally:
        over.set()
    if (took := time.monotonic() - began) > WORTH_A_TIME:
        say(f"    done in {took:.0f} s")
