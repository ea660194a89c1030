"""An event source that fails logs the error and continues."""

import asyncio

from local.gateway.services import Threads
from local.gateway.sources import Sources


class Troubled:
    """A source whose first poll raises an unexpected exception."""

    name = "a source"

    def __init__(self) -> None:
        self.looks = 0
        self.has_recovered = asyncio.Event()

    async def poll(self, _thread: Threads) -> bool:
        self.looks += 1
        if self.looks == 1:
            message = "LatestStreamArn"
            raise KeyError(message)
        self.has_recovered.set()
        return False


def test_a_source_that_fails_unexpectedly_is_told_of_and_asked_again() -> None:
    async def watch() -> list[str]:
        told: list[str] = []
        source = Troubled()
        sources = Sources([], {}, told.append)
        task = asyncio.create_task(sources._poll(source, 0.01))  # type: ignore[arg-type]  # noqa: SLF001 - one loop of it
        await asyncio.wait_for(source.has_recovered.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return told

    assert asyncio.run(watch()) == ["[a source] KeyError: 'LatestStreamArn'; it is tried again"]
