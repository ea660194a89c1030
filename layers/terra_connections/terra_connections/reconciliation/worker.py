"""Processes the steps of a sweep, each within one invocation. `sweep` describes the steps.

No connection is revoked because it is missing in a list. It only becomes a candidate. Candidates are checked one by
one, after every page of the sweep has reported, and only if they are few enough.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from terra_connections.connections.facts import Facts, Kind, TerraUser
from terra_connections.connections.store import ConnectionStore
from terra_connections.data.quiet import QuietWatch
from terra_connections.data.store import PayloadStore
from terra_connections.erasure.connection import ErasureOutcome, Found, erase_connection
from terra_connections.erasure.deadline import Deadline
from terra_connections.errors import TooManyRequests
from terra_connections.ids import UserId
from terra_connections.reconciliation.store import SweepStore
from terra_connections.reconciliation.sweep import (
    Drift,
    Outcome,
    Page,
    Phase,
    Recheck,
    RevocationLimit,
    Step,
    StepResult,
    Sweep,
    Task,
    is_absent,
    may_be_missing_here,
    should_exist_at_terra,
)
from terra_connections.step_queue import StepQueue
from terra_connections.terra.client import TerraClient
from terra_connections.terra.verification import verification_position, verify_user

T = TypeVar("T")

OUR_PAGE = 300
_LOOKED_FOR_AT_ONCE = 100  # Terra documents no limit; three responses of at most 10 s fit into the function's timeout
_AT_ONCE = 4  # parallel requests to Terra, in each invocation
_ASK_WITHIN = timedelta(seconds=5)
_ASK_FOR = timedelta(seconds=30)
"""With the list before it (10 s) and the requests in progress at its end (10 s) this is below the timeout of 60 s."""
_ERASE_FOR = timedelta(seconds=18)
"""With up to three lists after it (30 s) and `_PUBLISH_FOR` this is below the function's timeout of 60 s."""
_PUBLISH_FOR = timedelta(seconds=5)
"""In the check for wearables without data, before the lists. An event that is being published may take 5 s longer."""
_REVOKED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class SweepWorker:
    """Processes steps.

    Attributes:
        payloads: the bucket of payloads; None if data deliveries are discarded.
        quiet: the check for wearables without data; None if there is none.
        limit: the largest accepted share of candidates.
        on_drift: is called with a kind of drift and the number of repairs, as soon as they are stored.
    """

    terra: TerraClient
    connections: ConnectionStore
    payloads: PayloadStore | None
    quiet: QuietWatch | None
    sweeps: SweepStore
    queue: StepQueue
    limit: RevocationLimit
    on_drift: Callable[[Drift, int], None]

    def work(self, step: Step, *, now: datetime) -> StepResult:
        """Process one step, and send the steps that follow from it.

        Raises:
            TerraRejected, TerraUnavailable, NotDurable: the step is not finished; the message must be retried.
        """
        began = time.monotonic()
        sweep, page = self.sweeps.look(step)
        if sweep is None:
            return StepResult(Outcome.SUPERSEDED)
        if sweep.wait_until > now.timestamp():
            self.queue.send(step, delay=timedelta(seconds=sweep.wait_until - now.timestamp()))
            return StepResult(Outcome.WAITS)
        try:
            if step.task is Task.VERDICT:
                return self._decide(step, sweep, now=now)
            if step.task is Task.REVOKE:
                return self._revoke(step, sweep, page, now=now)
            return self._collect(step, sweep, page, now=now)
        except TooManyRequests as error:
            wait = timedelta(seconds=error.retry_after)
            until = now + timedelta(seconds=time.monotonic() - began) + wait
            self.sweeps.wait(step.sweep_id, until=until)
            self.queue.send(step, delay=wait)
            return StepResult(Outcome.WAITS, {"retry_after": error.retry_after})

    # -- collecting ----------------------------------------------------------------------------------------------------

    def _collect(self, step: Step, sweep: Sweep, page: Page | None, *, now: datetime) -> StepResult:
        """Process a page, unless it has reported, and send the next step."""
        if sweep.phase is not Phase.COLLECTING:
            return StepResult(Outcome.SUPERSEDED)
        if page is not None:
            # The earlier invocation may have failed before it sent the next step.
            self._go_on(step, page)
            return StepResult(Outcome.REPEATED)
        if step.task is Task.CONNECTIONS:
            page = self._connections_page(step, now=now)
        else:
            page = self._terra_users_page(step, now=now)
        if page is None:
            self.sweeps.moved(step.sweep_id, now=now)
            self.queue.send(step)
            return StepResult(Outcome.UNFINISHED)
        if not self.sweeps.report(step, page, now=now):
            return StepResult(Outcome.REPEATED)
        self._go_on(step, page)
        return StepResult(Outcome.REPORTED, {"checked": page.checked, "candidates": len(page.candidates)})

    def _go_on(self, step: Step, page: Page) -> None:
        if page.following is not None:
            self.queue.send(page.following)
            return
        sweep = self.sweeps.current()
        if sweep is not None and sweep.sweep_id == step.sweep_id and sweep.has_reported:
            self.queue.send(Step(step.sweep_id, Task.VERDICT, segments=step.segments))

    def _connections_page(self, step: Step, *, now: datetime) -> Page | None:
        """Look up a page of the table in Terra's list; None if the time limit was reached before it."""
        found, last = self.connections.page(step.segment, of=step.segments, start=step.start, limit=OUR_PAGE)
        erased = self.connections.erased_among(found)
        if erased:
            if not self._erase(erased):
                return None
            found = [facts for facts in found if facts not in erased]
        if self.quiet is not None and step.checks_quiet:
            deadline = Deadline(_PUBLISH_FOR)
            if not self.quiet.check(found, now=now, is_over=lambda: deadline.is_over):
                return None
        expected = [facts.user_id for facts in found if should_exist_at_terra(facts)]
        named: set[UserId] = set()
        for some in _in_parts(expected, _LOOKED_FOR_AT_ONCE):
            named |= self.terra.filter_known(some)
        following = None if last is None else replace(step, number=step.number + 1, start=last)
        return Page(len(expected), tuple(user_id for user_id in expected if user_id not in named), following)

    def _erase(self, left: Sequence[Facts]) -> bool:
        """Erase what an erasure has left or a backup restored; False if the time limit was reached."""
        deadline = Deadline(_ERASE_FOR)

        def work(facts: Facts) -> bool:
            # The owner of a `user_id` with a tombstone was verified before the tombstone was written.
            outcome = erase_connection(
                Found(facts.user_id, facts, is_announced=True),
                facts.owner,
                terra=self.terra,
                connections=self.connections,
                payloads=self.payloads,
                deadline=deadline,
            )
            if outcome is ErasureOutcome.ERASED:
                self.on_drift(Drift.ERASED_ALIVE, 1)
            return outcome is not ErasureOutcome.LEFT

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return all(pool.map(work, left))

    def _terra_users_page(self, step: Step, *, now: datetime) -> Page | None:
        """Look up a page of Terra's list in the table; None if the time limit was reached before all were checked."""
        ends_at = time.monotonic() + _ASK_FOR.total_seconds()
        listed = self.terra.list_users_page(step.number)
        found, erased = self.connections.read_with_erased(listed.user_ids)
        known = {facts.user_id: facts for facts in found}
        lost = [u for u in listed.user_ids if u not in erased and may_be_missing_here(known.get(u))]
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
                for verified in pool.map(lambda user_id: self._verify_user(user_id, now=now), some):
                    self._keep(verified, known.get(verified.user_id), waiting.get(verified.user_id), now=now)
        # Without this, a page number beyond the last page could continue endlessly.
        next_page = listed.next_page if listed.user_ids else None
        return Page(following=None if next_page is None else replace(step, number=next_page))

    def _keep(self, verified: Facts, known: Facts | None, waiting: Recheck | None, *, now: datetime) -> None:
        """Store the response about a `user_id` that Terra lists and whose webhook may be lost."""
        if verified.at(Kind.CONNECTED) is not None and verified.owner is not None:
            self.connections.record([verified])
            self.on_drift(Drift.LOST_HERE, 1)
        elif verified.at(Kind.ABSENT) is None and is_absent(known):
            self.connections.record([TerraUser(verified.user_id).facts(verification_position(now), Kind.PRESENT)])
            self.on_drift(Drift.LOST_HERE, 1)
        else:
            self.sweeps.add_waiting(verified.user_id, Recheck.after_check(now, waiting))

    # -- revoking ------------------------------------------------------------------------------------------------------

    def _decide(self, step: Step, sweep: Sweep, *, now: datetime) -> StepResult:
        """Decide whether the number of candidates is plausible; if so, send the steps that check them."""
        if sweep.phase is Phase.COLLECTING and sweep.has_reported:
            self.sweeps.decide(sweep, Phase.REVOKING if self.limit.allows(sweep) else Phase.REFUSED, now=now)
            sweep = self.sweeps.current() or sweep
        counts = {"checked": sweep.checked, "candidates": sweep.candidates}
        if sweep.sweep_id != step.sweep_id or sweep.phase is Phase.COLLECTING:
            return StepResult(Outcome.SUPERSEDED)
        if sweep.phase is Phase.REVOKING and sweep.is_over:
            return StepResult(Outcome.FINISHED, counts)
        for page_id in sorted(sweep.candidate_pages):
            self.queue.send(step.revoking(page_id))
        return StepResult(Outcome.REFUSED if sweep.phase is Phase.REFUSED else Outcome.REPORTED, counts)

    def _revoke(self, step: Step, sweep: Sweep, page: Page | None, *, now: datetime) -> StepResult:
        """Check candidates one by one; mark those that Terra does not know as absent."""
        if sweep.phase is Phase.COLLECTING or page is None:
            return StepResult(Outcome.SUPERSEDED)
        if sweep.phase is Phase.REFUSED:
            self.sweeps.forget(step)
            return StepResult(Outcome.FORGOTTEN)
        some = page.candidates[step.offset : step.offset + _REVOKED_AT_ONCE]
        if not some:
            # The invocation that settled the last page may have failed before it reported that the sweep is finished.
            return StepResult(Outcome.FINISHED if sweep.is_over else Outcome.REPEATED)
        counts: Counter[str] = Counter(candidates=len(some))
        to_verify = [facts.user_id for facts in self.connections.read(some) if should_exist_at_terra(facts)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for verified in pool.map(lambda user_id: self._verify_user(user_id, now=now), to_verify):
                if verified.at(Kind.ABSENT) is not None:
                    self.connections.record([verified])
                    self.on_drift(Drift.LOST_AT_TERRA, 1)
                    counts["absent"] += 1
        offset = step.offset + len(some)
        if offset < len(page.candidates):
            self.queue.send(replace(step, offset=offset))
            return StepResult(Outcome.REVOKED, counts)
        self.sweeps.settle(step, now=now)
        after = self.sweeps.current()
        is_over = after is not None and after.sweep_id == step.sweep_id and after.is_over
        return StepResult(Outcome.FINISHED if is_over else Outcome.REVOKED, counts)

    def _verify_user(self, user_id: UserId, *, now: datetime) -> Facts:
        return verify_user(user_id, terra=self.terra, within=_ASK_WITHIN, now=now)


def _in_parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
