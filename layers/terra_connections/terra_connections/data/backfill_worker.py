"""One step of a backfill: the next requests to Terra for one connection, as many as time and Terra's limits allow.

Each request is stored when Terra has accepted it. A step that is repeated continues where it was interrupted, and
repeats at most one request; its data then arrive twice, which the rule of positions makes harmless.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from terra_connections.data.backfill import Accepted, Backfill, Period, Progress
from terra_connections.data.backfill_step import Step
from terra_connections.data.backfill_store import BackfillStore
from terra_connections.data_types import WITHOUT_PERIOD
from terra_connections.errors import TerraRejected, TerraUnavailable, TooManyRequests
from terra_connections.problems import code_of
from terra_connections.step_queue import LONGEST_DELAY, StepQueue
from terra_connections.terra.client import TerraClient

WORK_FOR = timedelta(seconds=20)
DAYS_PER_HOUR = 6000
"""For each `user_id`, in any hour. Source: Terra's documentation, "Rate limits" of the health and fitness API."""
_HOUR = 3600
_MOST_TRIES = 10
"""The last one is more than an hour after the first."""
_NOT_FOUND = "not_found"


class Outcome(StrEnum):
    """The outcome of a step, for the log."""

    REQUESTED = "requested"  # every request is sent
    CONTINUED = "continued"
    WAITING = "waiting"  # for Terra's limits, or for Terra
    GONE = "gone"  # expired or erased
    OVERTAKEN = "overtaken"  # by another message for the same connection, which continues


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a step.

    Attributes:
        sent: the number of requests that Terra has accepted.
        delay: how long the next step waits.
    """

    outcome: Outcome
    sent: int
    delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class BackfillWorker:
    """Processes steps.

    Attributes:
        clock: the current time in Unix seconds.
        monotonic: measures how long a step works.
    """

    terra: TerraClient
    backfills: BackfillStore
    queue: StepQueue
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic

    def work(self, step: Step) -> Report:  # noqa: PLR0911 - one for each outcome
        """Send requests, and the message of the next step if any are left.

        Raises:
            Misconfigured, ClientError, BotoCoreError: the message must be retried.
        """
        backfill = self.backfills.find(step.backfill_id, now=datetime.fromtimestamp(self.clock(), UTC))
        if backfill is None or not 0 <= step.number < len(backfill.targets):
            return Report(Outcome.GONE, 0)
        progress = self.backfills.progress(backfill, number=step.number)
        ends_at, sent = self.monotonic() + WORK_FOR.total_seconds(), 0
        for place, type_ in enumerate(backfill.types):
            windows = backfill.windows(type_)
            while progress[place].reason is None and len(progress[place].accepted) < len(windows):
                if self.monotonic() >= ends_at:
                    return self._then(step, Outcome.CONTINUED, sent)
                window = windows[len(progress[place].accepted)]
                if wait := seconds_to_wait(_costs(backfill, progress), _cost(type_, window), now=self.clock()):
                    return self._then(step, Outcome.WAITING, sent, timedelta(seconds=wait))
                try:
                    found = self._requested(backfill, progress[place], window)
                except TooManyRequests as error:
                    return self._then(step, Outcome.WAITING, sent, timedelta(seconds=error.retry_after))
                except TerraUnavailable as error:
                    if step.tries < _MOST_TRIES:
                        delay = min(timedelta(seconds=15) * 2**step.tries, LONGEST_DELAY)
                        return self._then(replace(step, tries=step.tries + 1), Outcome.WAITING, sent, delay)
                    found = replace(progress[place], reason=code_of(error))
                saved = self.backfills.save(backfill, found)
                if saved is None:
                    return Report(Outcome.OVERTAKEN, sent)
                sent += len(saved.accepted) - len(progress[place].accepted)
                progress[place] = saved
                step = replace(step, tries=0)
        return Report(Outcome.REQUESTED, sent)

    def _requested(self, backfill: Backfill, progress: Progress, window: Period) -> Progress:
        """Send a request, and return the progress with it, or with the reason why Terra rejects it."""
        now = self.clock()
        first, end = _dates(window, now=now)
        user_id = backfill.targets[progress.number].user_id
        try:
            answer = self.terra.request_data(user_id, progress.type, first, end)
        except TerraRejected as error:
            return replace(progress, reason=code_of(error))
        if answer is None:
            return replace(progress, reason=_NOT_FOUND)
        accepted = Accepted(answer.reference, int(now), is_large=answer.is_large)
        return replace(progress, accepted=(*progress.accepted, accepted))

    def _then(self, step: Step, outcome: Outcome, sent: int, delay: timedelta = timedelta(0)) -> Report:
        self.queue.send(step, delay=delay)
        return Report(outcome, sent, delay)


def _dates(window: Period, *, now: float) -> tuple[date, date]:
    """Return `start_date` and `end_date`.

    Terra does not document whether the day of `end_date` is included. The end is therefore the day after the window,
    but never in the future.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    return window.first, max(window.first, min(window.last + timedelta(days=1), today))


def _cost(type_: str, window: Period) -> int:
    """Return the requested days as Terra counts them: the end minus the start; 1 without dates."""
    return 1 if type_ == WITHOUT_PERIOD else window.days


def _costs(backfill: Backfill, progress: Iterable[Progress]) -> list[tuple[int, int]]:
    """Return the time and the cost of each request."""
    return [
        (accepted.at, _cost(each.type, window))
        for each in progress
        for accepted, window in zip(each.accepted, backfill.windows(each.type), strict=False)
    ]


def seconds_to_wait(spent: Sequence[tuple[int, int]], cost: int, *, now: float) -> int:
    """Return when the next request fits into Terra's budget of an hour; 0 if it does now.

    Args:
        spent: the time (Unix seconds) and the cost of each earlier request.
        cost: that of the next one, at most `DAYS_PER_HOUR`.
        now: the current time.
    """
    recent = sorted(each for each in spent if each[0] > now - _HOUR)
    total, wait = sum(days for _, days in recent), 0
    for at, days in recent:
        if total + cost <= DAYS_PER_HOUR:
            break
        total -= days
        # Whole seconds, as the delays of SQS: a fraction would be lost, and the request tried again at once.
        wait = math.ceil(at + _HOUR - now)
    return wait
