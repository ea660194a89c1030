"""An event source that fails logs the error and continues."""

import asyncio

from local.gateway.services import Threads
from local.gateway.sources import Sources


class FailingOnce:
    """A source whose first poll raises an unexpected exception."""

    name = "a source"

    def __init__(self) -> None:
        self.polls = 0
        self.has_recovered = asyncio.Event()

    async def poll(self, _thread: Threads) -> bool:
        self.polls += 1
        if self.polls == 1:
            message = "LatestStreamArn"
            raise KeyError(message)
        self.has_recovered.set()
        return False


def test_an_unexpected_error_of_a_source_is_logged_and_polling_continues() -> None:
    async def watch() -> list[str]:
        log: list[str] = []
        source = FailingOnce()
        sources = Sources([], {}, log.append)
        task = asyncio.create_task(sources._poll(source, 0.01))  # type: ignore[arg-type]  # noqa: SLF001 - one loop of it
        await asyncio.wait_for(source.has_recovered.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return log

    assert asyncio.run(watch()) == ["[a source] KeyError: 'LatestStreamArn'; retrying"]
