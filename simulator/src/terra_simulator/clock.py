"""The time of the simulated Terra: the real one, moved, or stopped."""

import asyncio
import contextlib
import time
from typing import Final

TICK_S: Final = 0.001
"""How far an event moves a stopped clock, so that no two events have the same time."""


class Clock:
    """Unix seconds. Waiting by `sleep` follows the clock when it is moved or stopped."""

    def __init__(self, stopped_at: float | None = None) -> None:
        self._at_start = stopped_at
        self._offset = 0.0
        self._stopped_at = stopped_at
        self._changed = asyncio.Event()

    def __call__(self) -> float:
        """Return the time."""
        return time.time() + self._offset if self._stopped_at is None else self._stopped_at

    @property
    def is_stopped(self) -> bool:
        """Whether time passes only by `move_to` and `tick`."""
        return self._stopped_at is not None

    def stop(self) -> None:
        """Stop at the current time."""
        self._stopped_at = self()
        self._wake_sleepers()

    def run(self) -> None:
        """Let time pass, from the current time on."""
        self._offset, self._stopped_at = self() - time.time(), None
        self._wake_sleepers()

    def move_to(self, at: float) -> None:
        """Set the time; whether it is stopped does not change."""
        if self._stopped_at is None:
            self._offset = at - time.time()
        else:
            self._stopped_at = at
        self._wake_sleepers()

    def reset(self) -> None:
        """Return to the time at the start: the real one, or the one at which it was stopped."""
        self._offset, self._stopped_at = 0.0, self._at_start
        self._wake_sleepers()

    def tick(self) -> float:
        """Return the time of an event, and if the clock is stopped move it by a millisecond."""
        if self._stopped_at is not None:
            self._stopped_at = round(self._stopped_at + TICK_S, 3)
        return self()

    async def sleep(self, seconds: float) -> None:
        """Wait until so much time has passed on this clock."""
        end = self() + seconds
        while (left := end - self()) > 0:
            await self.wait(self._changed, left)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for an event, or until so much time has passed; a stopped clock waits for the event only."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if self.is_stopped else seconds):
                await event.wait()

    def _wake_sleepers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def milliseconds(seconds: float) -> int:
    """Return a time in whole milliseconds; a stopped time is one already, apart from rounding."""
    return int(seconds * 1000 + 0.001)
