"""Nobody waits in silence: a line when something slow begins, signs of life, a line when it is done."""

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
    """Print one line at once, also into a pipe."""
    print(text, flush=True)


@contextmanager
def step(text: str) -> Iterator[None]:
    """Announce what is done in the block, and say every ten seconds that it still runs."""
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
