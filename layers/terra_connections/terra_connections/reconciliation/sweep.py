"""A sweep: everybody here is looked for at Terra, and everybody at Terra here, page by page.

```text
OURS    a page of our connections: whom a list of Terra's does not name becomes a candidate
THEIRS  a page of Terra's list: whom we do not know, or hold for absent, is asked about
VERDICT once every page has reported: are there few enough candidates to believe in?
REVOKE  the candidates of one page: who is 404 when asked about alone is absent
```

Each step is one message on a queue. Messages come twice, late or never: what a step did is written once, under its
page, and a sweep that lost one simply never reaches its verdict.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from terra_connections.connections.facts import Facts, Kind, Status
from terra_connections.ids import UserId

SEGMENTS = 4
"""Parts of our table that are gone through at the same time; Terra's list is one more."""
DEAD_AFTER = timedelta(hours=1)
"""A sweep in which nothing has moved for this long has lost a message. The next one takes its place."""
NEVER_TOO_MANY = 10
"""So many candidates are believed in however small the table is, unless they are everybody."""
ASKED_AT_LEAST_EVERY = timedelta(days=7)


class Task(StrEnum):
    """What a step does."""

    OURS = "ours"
    THEIRS = "theirs"
    VERDICT = "verdict"
    REVOKE = "revoke"


class Drift(StrEnum):
    """In which way the table and Terra had come apart."""

    LOST_HERE = "lost_here"
    LOST_AT_TERRA = "lost_at_terra"
    ERASED_ALIVE = "erased_alive"


class Phase(StrEnum):
    """How far a sweep is."""

    COLLECTING = "collecting"
    REVOKING = "revoking"
    REFUSED = "refused"


class Outcome(StrEnum):
    """What became of a step."""

    REPORTED = "reported"
    UNFINISHED = "unfinished"  # time was up; the same step goes on
    WAITS = "waits"  # Terra asked us to
    REPEATED = "repeated"  # another message had done it
    SUPERSEDED = "superseded"  # its sweep is over, or was given up
    REVOKED = "revoked"
    FORGOTTEN = "forgotten"
    FINISHED = "finished"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Step:
    """One message.

    Attributes:
        sweep_id: which sweep.
        task: what is to be done.
        segment: the part of our table, of `segments`.
        number: the page: of the segment, counted; of Terra's list, as Terra numbers it.
        start: the key that our page comes after.
        offset: how many of the page's candidates have been asked about.
    """

    sweep_id: str
    task: Task
    segment: int = 0
    segments: int = SEGMENTS
    number: int = 0
    start: str | None = None
    offset: int = 0

    @property
    def page_id(self) -> str:
        """What the page's record is called within the sweep."""
        part = Task.THEIRS if self.task is Task.THEIRS else Task.OURS
        return f"{part}:{self.segment}:{self.number}"

    def as_text(self) -> str:
        """The message."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> "Step":
        """The step of a message.

        Raises:
            ValueError: it is none.
        """
        try:
            step = cls(**json.loads(text))
            return replace(step, task=Task(step.task))
        except TypeError:
            message = "The message is no step of a sweep."
            raise ValueError(message) from None

    def revoking(self, page_id: str) -> "Step":
        """The step that asks about the candidates of a page."""
        _, segment, number = page_id.split(":")
        return Step(self.sweep_id, Task.REVOKE, int(segment), self.segments, int(number))


@dataclass(frozen=True, slots=True)
class Page:
    """What a page reported.

    Attributes:
        checked: how many connections were looked for at Terra.
        candidates: whom of them Terra did not name.
        following: the step that goes on; none after the last page of a part.
    """

    checked: int = 0
    candidates: tuple[UserId, ...] = ()
    following: Step | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep as it stands.

    Attributes:
        open_parts: parts that have not come to their end.
        candidate_pages: the pages that have candidates.
        unsettled: how many of those have not been asked about, once it is revoking.
        wait_until: before this, unix seconds, Terra wants no requests.
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
        """Whether every page of it has."""
        return self.open_parts == 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.phase is Phase.REFUSED or (self.phase is Phase.REVOKING and self.unsettled == 0)


@dataclass(frozen=True, slots=True)
class Report:
    """What a step did, for the log: counts only."""

    outcome: Outcome
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many candidates are believed in. 0 percent: none ever are."""

    percent: float

    def allows(self, sweep: Sweep) -> bool:
        """Whether so many connections can have vanished. That everybody has is never believed."""
        if sweep.candidates == 0:
            return True
        if self.percent <= 0 or sweep.candidates >= sweep.checked:
            return False
        return sweep.candidates <= NEVER_TOO_MANY or sweep.candidates * 100 < self.percent * sweep.checked


@dataclass(frozen=True, slots=True)
class Waiting:
    """Somebody whom Terra lists and who is not connected: most have never finished a login.

    They are asked about again after as long as they have been waiting already, and every week in the end: a lost
    webhook is made up for soon, and the many who never come back cost little.
    """

    since: int
    ask_at: int

    @classmethod
    def asked(cls, now: datetime, before: "Waiting | None") -> "Waiting":
        """What stands after another answer that did not connect."""
        seconds = int(now.timestamp())
        since = before.since if before else seconds
        return cls(since, seconds + min(seconds - since, int(ASKED_AT_LEAST_EVERY.total_seconds())))

    def is_due(self, now: datetime) -> bool:
        """Whether it is time to ask again."""
        return now.timestamp() >= self.ask_at


def is_believed(facts: Facts) -> bool:
    """Whether we show it, under this very id: only then Terra has to know it."""
    return facts.first_connected is not None and facts.replaced_by is None and facts.status is not Status.REVOKED


def is_absent(facts: Facts | None) -> bool:
    """Whether nothing but Terra's not knowing it has revoked it."""
    return (
        facts is not None
        and facts.first_connected is not None
        and facts.status is Status.REVOKED
        and not facts.is_newest(Kind.REVOKED, than=Kind.CONNECTED)
    )


def may_be_lost(facts: Facts | None) -> bool:
    """Whether Terra's naming it may mean that we missed something.

    What an event has revoked, or a reconnect replaced, only an event brings back.
    """
    if facts is None:
        return True
    if facts.replaced_by is not None or facts.is_newest(Kind.REVOKED, than=Kind.CONNECTED):
        return False
    return facts.first_connected is None or is_absent(facts)


def first_steps(sweep_id: str) -> list[Step]:
    """What a sweep begins with."""
    ours = [Step(sweep_id, Task.OURS, segment) for segment in range(SEGMENTS)]
    return [*ours, Step(sweep_id, Task.THEIRS)]
