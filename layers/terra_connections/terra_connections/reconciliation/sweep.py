"""A sweep: compares the connections table with Terra's list of users in both directions, page by page.

```text
CONNECTIONS  a page of the table: a connection that is missing in Terra's list becomes a candidate
TERRA_USERS  a page of Terra's list: a user_id that is unknown or marked as absent here is checked with Terra
VERDICT      after every page has reported: compares the number of candidates with the limit
REVOKE       the candidates of one page: checked one by one; a 404 marks a candidate as absent
```

Each step is one message on a queue. Messages can arrive twice, late or never. The result of a step is written once,
under its page. A sweep that lost a message never reaches its verdict.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from terra_connections.connections.facts import Facts, Kind, Status
from terra_connections.ids import UserId

SEGMENTS = 4
"""The number of segments of the table that are scanned in parallel. Terra's list is one more part."""
DEAD_AFTER = timedelta(hours=1)
"""A sweep without progress for this long has lost a message. The next sweep replaces it."""
NEVER_TOO_MANY = 10
"""This many candidates are accepted however small the table is, unless every connection is a candidate."""
ASKED_AT_LEAST_EVERY = timedelta(days=7)


class Task(StrEnum):
    """The task of a step. The values are stored in messages and items, and must not change."""

    CONNECTIONS = "ours"
    TERRA_USERS = "theirs"
    VERDICT = "verdict"
    REVOKE = "revoke"


class Drift(StrEnum):
    """The kind of a difference between the table and Terra."""

    LOST_HERE = "lost_here"
    LOST_AT_TERRA = "lost_at_terra"
    ERASED_ALIVE = "erased_alive"


class Phase(StrEnum):
    """The phase of a sweep."""

    COLLECTING = "collecting"
    REVOKING = "revoking"
    REFUSED = "refused"


class Outcome(StrEnum):
    """The outcome of a step."""

    REPORTED = "reported"
    UNFINISHED = "unfinished"  # the time limit was reached; the same step is sent again
    WAITS = "waits"  # Terra's rate limit
    REPEATED = "repeated"  # another message did it before
    SUPERSEDED = "superseded"  # its sweep has ended or was replaced
    REVOKED = "revoked"
    FORGOTTEN = "forgotten"
    FINISHED = "finished"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a sweep, sent as a message.

    Attributes:
        sweep_id: the sweep.
        task: the task of the step.
        segment: the segment of the table, of `segments`.
        number: the number of the page, in the segment or in Terra's list.
        start: the key after which the page of the table starts.
        offset: the number of the page's candidates that were already checked.
        checks_quiet: whether the sweep is the first one of its day (UTC), which looks for wearables without data.
    """

    sweep_id: str
    task: Task
    segment: int = 0
    segments: int = SEGMENTS
    number: int = 0
    start: str | None = None
    offset: int = 0
    checks_quiet: bool = False

    @property
    def page_id(self) -> str:
        """The name of the page's record within the sweep."""
        part = Task.TERRA_USERS if self.task is Task.TERRA_USERS else Task.CONNECTIONS
        return f"{part}:{self.segment}:{self.number}"

    def as_text(self) -> str:
        """Return the message."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Step":
        """Parse a message.

        Raises:
            ValueError: the message is not a step of a sweep.
        """
        try:
            step = cls(**json.loads(text))
            return replace(step, task=Task(step.task))
        except TypeError:
            message = "The message is no step of a sweep."
            raise ValueError(message) from None

    def revoking(self, page_id: str) -> "Step":
        """Return the step that checks the candidates of a page."""
        _, segment, number = page_id.split(":")
        return Step(self.sweep_id, Task.REVOKE, int(segment), self.segments, int(number))


@dataclass(frozen=True, slots=True)
class Page:
    """The report of a page.

    Attributes:
        checked: the number of connections that were looked up in Terra's list.
        candidates: those that Terra did not list.
        following: the step for the next page; None after the last page of a part.
    """

    checked: int = 0
    candidates: tuple[UserId, ...] = ()
    following: Step | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """The state of a sweep.

    Attributes:
        open_parts: the number of parts that have not reported their last page.
        candidate_pages: the pages that have candidates.
        unsettled: the number of those pages whose candidates are not checked yet, in the revoking phase.
        wait_until: until this time, in Unix seconds, Terra's rate limit blocks requests.
    """

    sweep_id: str
    phase: Phase
    open_parts: int
    checked: int = 0
    candidates: int = 0
    candidate_pages: frozenset[str] = frozenset()
    unsettled: int = 0
    wait_until: int = 0

    @property
    def has_reported(self) -> bool:
        """Whether every page has reported."""
        return self.open_parts == 0

    @property
    def is_over(self) -> bool:
        """Whether the sweep has no steps left."""
        return self.phase is Phase.REFUSED or (self.phase is Phase.REVOKING and self.unsettled == 0)


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of a step, for the log: counts only."""

    outcome: Outcome
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RevocationLimit:
    """The largest accepted share of candidates. With 0 percent, no candidate is revoked."""

    percent: float

    def allows(self, sweep: Sweep) -> bool:
        """Whether the number of candidates is plausible. If every connection is a candidate, it never is."""
        if sweep.candidates == 0:
            return True
        if self.percent <= 0 or sweep.candidates >= sweep.checked:
            return False
        return sweep.candidates <= NEVER_TOO_MANY or sweep.candidates * 100 < self.percent * sweep.checked


@dataclass(frozen=True, slots=True)
class Recheck:
    """A `user_id` that Terra lists but that is not connected: most come from unfinished logins.

    The wait until the next check equals the time since the first one, up to a week. So a lost webhook is repaired
    soon, and the many logins that are never finished cause few calls.
    """

    since: int
    ask_at: int

    @classmethod
    def after_check(cls, now: datetime, before: "Recheck | None") -> "Recheck":
        """Return the state after another check that found no connection."""
        seconds = int(now.timestamp())
        since = before.since if before else seconds
        return cls(since, seconds + min(seconds - since, int(ASKED_AT_LEAST_EVERY.total_seconds())))

    def is_due(self, now: datetime) -> bool:
        """Whether the next check is due."""
        return now.timestamp() >= self.ask_at


def should_exist_at_terra(facts: Facts) -> bool:
    """Whether it is an active connection under this same `user_id`. Only then Terra must know it."""
    return facts.first_connected is not None and facts.replaced_by is None and facts.status is not Status.REVOKED


def is_absent(facts: Facts | None) -> bool:
    """Whether it is revoked only because Terra did not know it."""
    return (
        facts is not None
        and facts.first_connected is not None
        and facts.status is Status.REVOKED
        and not facts.is_newest(Kind.REVOKED, than=Kind.CONNECTED)
    )


def may_be_missing_here(facts: Facts | None) -> bool:
    """Whether an entry in Terra's list may mean that a webhook was lost.

    A connection that an event has revoked, or a reconnect replaced, is only restored by an event.
    """
    if facts is None:
        return True
    if facts.replaced_by is not None or facts.is_newest(Kind.REVOKED, than=Kind.CONNECTED):
        return False
    return facts.first_connected is None or is_absent(facts)


def first_steps(sweep_id: str, *, checks_quiet: bool = False) -> list[Step]:
    """Return the first steps of a sweep."""
    segments = [Step(sweep_id, Task.CONNECTIONS, segment, checks_quiet=checks_quiet) for segment in range(SEGMENTS)]
    return [*segments, Step(sweep_id, Task.TERRA_USERS)]
