"""The event sources that invoke functions besides the API: each has a task that polls it."""

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from local.gateway import schedules
from local.gateway.intrinsics import ACCOUNT_ID
from local.gateway.queues import QueuePoller
from local.gateway.runtime_api import FunctionError
from local.gateway.services import Services, Threads
from local.gateway.stream import Checkpoints, StreamPoller
from local.gateway.triggers import QueueTrigger, ScheduleTrigger, StreamTrigger, Trigger
from local.gateway.workers import OnLog, Workers

IDLE_PAUSE: Final = 0.2  # seconds between two polls of a stream; a queue uses long polling
TROUBLE_PAUSE: Final = 1.0


class Sources:
    """Streams, queues and schedules of one stack."""

    def __init__(self, triggers: Sequence[Trigger], functions: Mapping[str, Workers], on_log: OnLog) -> None:
        self._triggers = triggers
        self._functions = functions
        self._on_log = on_log
        self._tasks: list[asyncio.Task[None]] = []
        self._threads: list[Threads] = []
        self._pollers: list[StreamPoller | QueuePoller] = []

    def start(self, services: Services, directory: Path) -> None:
        """Start polling; `directory` keeps the streams' checkpoints."""
        checkpoints = Checkpoints(directory / "checkpoints.json")
        for trigger in self._triggers:
            match trigger:
                case StreamTrigger():
                    invoke = self._functions[trigger.function].invoke
                    poller = StreamPoller(trigger, services, invoke, self._on_log, checkpoints)
                    self._begin(self._poll(poller, IDLE_PAUSE))
                case QueueTrigger():
                    invoke = self._functions[trigger.function].invoke
                    self._begin(self._poll(QueuePoller(trigger, services, invoke, self._on_log), 0))
                case ScheduleTrigger() if trigger.is_enabled and trigger.every is not None:
                    self._begin(self._repeat(trigger, trigger.every.total_seconds(), services.region))

    async def stop(self) -> None:
        """End every task; running invocations end with their function's process."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(poller.end() for poller in self._pollers))
        await asyncio.gather(*(thread.end() for thread in self._threads))
        self._tasks, self._threads, self._pollers = [], [], []

    async def run_schedule(self, function: str, region: str) -> object:
        """Run a function as its schedule does, now.

        Raises:
            KeyError: No such function, or it has no schedule.
            FunctionError: It returned no response.
        """
        trigger = next((t for t in self._triggers if isinstance(t, ScheduleTrigger) and t.function == function), None)
        if trigger is None:
            raise KeyError(function)
        event = json.dumps(schedules.event(trigger, ACCOUNT_ID, region)).encode()
        return json.loads(await self._functions[function].invoke(event))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _poll(self, poller: StreamPoller | QueuePoller, pause: float) -> None:
        thread = Threads(poller.name)
        self._threads.append(thread)
        self._pollers.append(poller)
        is_reported = False
        while True:
            try:
                found = await poller.poll(thread)
                is_reported = False
            except Exception as error:  # noqa: BLE001 - any error is logged: a source that ended unnoticed would look idle
                if not is_reported:
                    self._on_log(f"[{poller.name}] {type(error).__name__}: {error}; retrying")
                is_reported = True
                await asyncio.sleep(TROUBLE_PAUSE)
                continue
            await asyncio.sleep(0 if found else pause)

    async def _repeat(self, trigger: ScheduleTrigger, seconds: float, region: str) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.run_schedule(trigger.function, region)
            except FunctionError:
                continue  # the function's own log contains the reason; the next run follows
