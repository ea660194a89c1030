"""The steps of a sweep, each within the time of one invocation. What they are: see `sweep`.

Nothing is revoked on the word of a list. A list makes candidates; they are asked about one by one, and only once every
page of the sweep has reported and they are few enough.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from terra_connections.connections.facts import About, Facts, Kind
from terra_connections.connections.store import ConnectionStore
from terra_connections.erasure import Clock, Found, end
from terra_connections.erasure import Outcome as Erasure
from terra_connections.errors import TooManyRequests
from terra_connections.ids import UserId
from terra_connections.reconciliation.queue import SweepQueue
from terra_connections.reconciliation.store import SweepStore
from terra_connections.reconciliation.sweep import (
    Drift,
    Limit,
    Outcome,
    Page,
    Phase,
    Report,
    Step,
    Sweep,
    Task,
    Waiting,
    is_absent,
    is_believed,
    may_be_lost,
)
from terra_connections.terra.client import TerraApi
from terra_connections.terra.verification import answer_about, position_of_asking

T = TypeVar("T")

OUR_PAGE = 300
_LOOKED_FOR_AT_ONCE = 100  # Terra names no limit; three answers of at most 10 s fit the time there is
_AT_ONCE = 4  # requests towards Terra, in each invocation
_ASK_WITHIN = timedelta(seconds=5)
_ASK_FOR = timedelta(seconds=30)
"""With the list before it (10 s) and what is under way when it ends (10 s) this stays below the function's 60 s."""
_ERASE_FOR = timedelta(seconds=18)
"""Before up to three lists (30 s) this stays below the function's 60 s."""
_REVOKED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Works steps.

    Attributes:
        limit: how many candidates are believed in.
        on_drift: is told how much drift of a kind was undone, as soon as it is durable.
    """

    terra: TerraApi
    connections: ConnectionStore
    sweeps: SweepStore
    queue: SweepQueue
    limit: Limit
    on_drift: Callable[[Drift, int], None]

    def work(self, step: Step, *, now: datetime) -> Report:
        """Do one step, and send what follows from it.

        Raises:
            TerraRejected, TerraUnavailable, NotDurable: it is not done; the message has to come again.
        """
        began = time.monotonic()
        sweep, page = self.sweeps.look(step)
        if sweep is None:
            return Report(Outcome.SUPERSEDED)
        if sweep.wait_until > now.timestamp():
            self.queue.send(step, delay=timedelta(seconds=sweep.wait_until - now.timestamp()))
            return Report(Outcome.WAITS)
        try:
            if step.task is Task.VERDICT:
                return self._judge(step, sweep, now=now)
            if step.task is Task.REVOKE:
                return self._revoke(step, sweep, page, now=now)
            return self._collect(step, sweep, page, now=now)
        except TooManyRequests as error:
            wait = timedelta(seconds=error.retry_after)
            until = now + timedelta(seconds=time.monotonic() - began) + wait
            self.sweeps.wait(step.sweep_id, until=until)
            self.queue.send(step, delay=wait)
            return Report(Outcome.WAITS, {"retry_after": error.retry_after})

    # -- collecting ----------------------------------------------------------------------------------------------------

    def _collect(self, step: Step, sweep: Sweep, page: Page | None, *, now: datetime) -> Report:
        """Work a page, unless it has reported; then whatever comes after it."""
        if sweep.phase is not Phase.COLLECTING:
            return Report(Outcome.SUPERSEDED)
        if page is not None:
            # Its message may have died before it sent what follows.
            self._go_on(step, page)
            return Report(Outcome.REPEATED)
        page = self._ours(step) if step.task is Task.OURS else self._theirs(step, now=now)
        if page is None:
            self.sweeps.moved(step.sweep_id, now=now)
            self.queue.send(step)
            return Report(Outcome.UNFINISHED)
        if not self.sweeps.report(step, page, now=now):
            return Report(Outcome.REPEATED)
        self._go_on(step, page)
        return Report(Outcome.REPORTED, {"checked": page.checked, "candidates": len(page.candidates)})

    def _go_on(self, step: Step, page: Page) -> None:
        if page.following is not None:
            self.queue.send(page.following)
            return
        sweep = self.sweeps.current()
        if sweep is not None and sweep.sweep_id == step.sweep_id and sweep.has_reported:
            self.queue.send(Step(step.sweep_id, Task.VERDICT, segments=step.segments))

    def _ours(self, step: Step) -> Page | None:
        """Look for a page of ours in a list of Terra's; None when time is up and something erased is left of it."""
        ours, last = self.connections.page(step.segment, of=step.segments, start=step.start, limit=OUR_PAGE)
        erased = self.connections.erased_among(ours)
        if erased:
            if not self._erase(erased):
                return None
            ours = [facts for facts in ours if facts not in erased]
        believed = [facts.user_id for facts in ours if is_believed(facts)]
        named: set[UserId] = set()
        for some in _in_parts(believed, _LOOKED_FOR_AT_ONCE):
            named |= self.terra.known_among(some)
        following = None if last is None else replace(step, number=step.number + 1, start=last)
        return Page(len(believed), tuple(user_id for user_id in believed if user_id not in named), following)

    def _erase(self, left: Sequence[Facts]) -> bool:
        """Erase what an erasure has left, or a backup brought back; False when time is up."""
        clock = Clock(_ERASE_FOR)

        def work(facts: Facts) -> bool:
            # What has a tombstone of its own was asked about before that was set.
            outcome = end(
                Found(facts.user_id, facts, is_announced=True),
                facts.owner,
                terra=self.terra,
                connections=self.connections,
                clock=clock,
            )
            if outcome is Erasure.ERASED:
                self.on_drift(Drift.ERASED_ALIVE, 1)
            return outcome is not Erasure.LEFT

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return all(pool.map(work, left))

    def _theirs(self, step: Step, *, now: datetime) -> Page | None:
        """Look for a page of Terra's list here; None when time is up and somebody has not been asked about."""
        ends_at = time.monotonic() + _ASK_FOR.total_seconds()
        listed = self.terra.everybody(step.number)
        found, erased = self.connections.read_with_erased(listed.user_ids)
        known = {facts.user_id: facts for facts in found}
        lost = [u for u in listed.user_ids if u not in erased and may_be_lost(known.get(u))]
        waiting = self.sweeps.waiting(lost, now=now)
        due = [user_id for user_id in lost if user_id not in waiting or waiting[user_id].is_due(now)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for some in _in_parts(sorted(erased), _AT_ONCE):
                if time.monotonic() > ends_at:
                    return None
                for _ in pool.map(self.terra.deauthenticate, some):
                    self.on_drift(Drift.ERASED_ALIVE, 1)
            for some in _in_parts(due, _AT_ONCE):
                if time.monotonic() > ends_at:
                    return None
                for told in pool.map(lambda user_id: self._answer_about(user_id, now=now), some):
                    self._keep(told, known.get(told.user_id), waiting.get(told.user_id), now=now)
        # A page beyond the last one could go on for ever.
        next_page = listed.next_page if listed.user_ids else None
        return Page(following=None if next_page is None else replace(step, number=next_page))

    def _keep(self, told: Facts, known: Facts | None, waiting: Waiting | None, *, now: datetime) -> None:
        """Keep an answer about somebody whom Terra lists and we may have lost."""
        if told.at(Kind.CONNECTED) is not None and told.owner is not None:
            self.connections.record([told])
            self.on_drift(Drift.LOST_HERE, 1)
        elif told.at(Kind.ABSENT) is None and is_absent(known):
            self.connections.record([About(told.user_id).facts(position_of_asking(now), **{Kind.PRESENT: None})])
            self.on_drift(Drift.LOST_HERE, 1)
        else:
            self.sweeps.add_waiting(told.user_id, Waiting.asked(now, waiting))

    # -- revoking ------------------------------------------------------------------------------------------------------

    def _judge(self, step: Step, sweep: Sweep, *, now: datetime) -> Report:
        """Decide whether the candidates are believed in, and if so have them asked about."""
        if sweep.phase is Phase.COLLECTING and sweep.has_reported:
            self.sweeps.decide(sweep, Phase.REVOKING if self.limit.allows(sweep) else Phase.REFUSED, now=now)
            sweep = self.sweeps.current() or sweep
        counts = {"checked": sweep.checked, "candidates": sweep.candidates}
        if sweep.sweep_id != step.sweep_id or sweep.phase is Phase.COLLECTING:
            return Report(Outcome.SUPERSEDED)
        if sweep.phase is Phase.REVOKING and sweep.is_over:
            return Report(Outcome.FINISHED, counts)
        for page_id in sorted(sweep.candidate_pages):
            self.queue.send(step.revoking(page_id))
        return Report(Outcome.REFUSED if sweep.phase is Phase.REFUSED else Outcome.REPORTED, counts)

    def _revoke(self, step: Step, sweep: Sweep, page: Page | None, *, now: datetime) -> Report:
        """Ask about candidates one by one; who is not there is absent."""
        if sweep.phase is Phase.COLLECTING or page is None:
            return Report(Outcome.SUPERSEDED)
        if sweep.phase is Phase.REFUSED:
            self.sweeps.forget(step)
            return Report(Outcome.FORGOTTEN)
        some = page.candidates[step.offset : step.offset + _REVOKED_AT_ONCE]
        if not some:
            # Whoever settled the last page may have died before it was counted that the sweep is finished.
            return Report(Outcome.FINISHED if sweep.is_over else Outcome.REPEATED)
        counts: Counter[str] = Counter(candidates=len(some))
        asked = [facts.user_id for facts in self.connections.read(some) if is_believed(facts)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for told in pool.map(lambda user_id: self._answer_about(user_id, now=now), asked):
                if told.at(Kind.ABSENT) is not None:
                    self.connections.record([told])
                    self.on_drift(Drift.LOST_AT_TERRA, 1)
                    counts["absent"] += 1
        offset = step.offset + len(some)
        if offset < len(page.candidates):
            self.queue.send(replace(step, offset=offset))
            return Report(Outcome.REVOKED, counts)
        self.sweeps.settle(step, now=now)
        after = self.sweeps.current()
        is_over = after is not None and after.sweep_id == step.sweep_id and after.is_over
        return Report(Outcome.FINISHED if is_over else Outcome.REVOKED, counts)

    def _answer_about(self, user_id: UserId, *, now: datetime) -> Facts:
        return answer_about(user_id, terra=self.terra, within=_ASK_WITHIN, now=now)


def _in_parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
