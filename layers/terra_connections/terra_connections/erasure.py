"""Forget a user: at Terra, and here; and nothing that comes late brings them back.

The user's tombstone first: from then on they begin nothing new, and no login that was begun before makes a connection.
Then each `user_id` by itself, several at once: its tombstone, Terra, its item. So a repeat goes on where the last one
ended, whatever stopped it. An erasure ends before its time is up, and says so if anything is left. What is not repeated
the reconciliation finishes (`sweeper`).

Deauthenticating is irreversible, so a list of Terra's is no reason for it, nor is that Terra once issued a `user_id`
for the user: Terra itself is asked first whose it is.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import TypeVar

from terra_connections.connections.facts import Facts, Kind
from terra_connections.connections.lineage import Family
from terra_connections.connections.store import ConnectionStore
from terra_connections.errors import (
    ErasureUnfinished,
    Misconfigured,
    RetryLater,
    TerraRejected,
    TerraUnavailable,
    TooManyRequests,
)
from terra_connections.ids import ReferenceId, SessionId, UserId, session_id_from
from terra_connections.sessions.session import Session
from terra_connections.sessions.store import SessionStore
from terra_connections.terra.client import TerraApi
from terra_connections.users.store import UserStore

T = TypeVar("T")
R = TypeVar("R")

WORK_FOR = timedelta(seconds=18)
"""After this nothing new is begun, and Terra is waited for no longer. What is written then, and a secret that has to be
read anew, may take 5 s each: the function has 29."""
AT_ONCE = 6  # requests towards Terra, as in a sync
_ASK_WITHIN = timedelta(seconds=5)
_DEAUTHENTICATE_WITHIN = timedelta(seconds=10)
_LEAST = timedelta(seconds=0.2)
"""Nothing is begun that has less time than this."""
_ROUNDS = 4
"""What Terra lists only later is found by the next one."""


class Outcome(Enum):
    """What became of a `user_id`."""

    ERASED = auto()
    ANOTHERS = auto()  # Terra says so, or has not said whose it is: it is left alone
    LEFT = auto()  # there was no time


@dataclass(frozen=True, slots=True)
class Found:
    """A `user_id` that may be the user's.

    Attributes:
        user_id: the id.
        facts: what is known of it here, if anything is.
        is_announced: whether Terra issued it for a login of this user.
    """

    user_id: UserId
    facts: Facts | None
    is_announced: bool

    def is_of(self, reference_id: ReferenceId) -> bool:
        """Whether Terra has said, with the connection, that it is this user's."""
        return (
            self.facts is not None
            and self.facts.first_connected is not None
            and (self.facts.owner == reference_id and self.facts.at(Kind.OWNER) is not None)
        )


class Clock:
    """The time that is left."""

    def __init__(self, within: timedelta) -> None:
        self._ends_at = time.monotonic() + within.total_seconds()

    def left(self, at_most: timedelta) -> timedelta:
        """How long something may take that is begun now; nothing if that is too little to begin it."""
        left = timedelta(seconds=self._ends_at - time.monotonic())
        return min(left, at_most) if left >= _LEAST else timedelta(0)


def end(
    found: Found, reference_id: ReferenceId | None, *, terra: TerraApi, connections: ConnectionStore, clock: Clock
) -> Outcome:
    """Deauthenticate one `user_id` and erase it, if it is the user's.

    Args:
        found: the id. Without a `reference_id` its own tombstone stands already, so it is not asked about.
        reference_id: the user.
        terra: where it ends first.
        connections: where its tombstone is set, and its item removed once Terra has confirmed.
        clock: the time that is left.

    Raises:
        TerraRejected, TerraUnavailable, TooManyRequests: it is as it was, but for its tombstone.
    """
    is_at_terra = True
    if reference_id is not None and not found.is_of(reference_id):
        within = clock.left(_ASK_WITHIN)
        if not within:
            return Outcome.LEFT
        info = terra.user_info(found.user_id, within=within)
        if info is not None and (info.reference_id or (reference_id if found.is_announced else None)) != reference_id:
            if found.facts is not None and found.facts.owner == reference_id:
                connections.erase([found.user_id])
            return Outcome.ANOTHERS
        is_at_terra = info is not None
    within = clock.left(_DEAUTHENTICATE_WITHIN)
    if not within:
        return Outcome.LEFT
    connections.bury([found.user_id])
    if is_at_terra:
        terra.deauthenticate(found.user_id, within=within)
    connections.finish_erasure(found.user_id)
    return Outcome.ERASED


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases users."""

    terra: TerraApi
    sessions: SessionStore
    connections: ConnectionStore
    users: UserStore

    def erase(self, reference_id: ReferenceId, *, clock: Clock | None = None) -> int:
        """Deauthenticate a user's connections at Terra and erase their connections and sessions.

        Args:
            reference_id: the user.
            clock: the time that there is; `WORK_FOR` from now, if none is given.

        Returns:
            How many `user_id`s this call has erased. Nothing is left.

        Raises:
            ErasureUnfinished: the time was up; a repeat goes on.
            TerraRejected, TerraUnavailable, TooManyRequests: not everything is erased; a repeat goes on.
        """
        erasing = _Erasing(
            reference_id, self.terra, self.sessions, self.connections, self.users, clock or Clock(WORK_FOR)
        )
        self.users.begin_erasure(reference_id)
        for _ in range(_ROUNDS):
            if not erasing.round():
                self.users.end_erasure(reference_id, since=erasing.began_at)
                return erasing.erased
        raise _unfinished()


@dataclass(slots=True)
class _Erasing:
    """One call's work."""

    reference_id: ReferenceId
    terra: TerraApi
    sessions: SessionStore
    connections: ConnectionStore
    users: UserStore
    clock: Clock
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    erased: int = 0
    anothers: set[UserId] = field(default_factory=set)
    errors: list[Exception] = field(default_factory=list)

    def round(self) -> bool:
        """Find all that there is, and erase it; False when there was nothing."""
        begun = self.users.all_begun(self.reference_id)
        named = {SessionId(name.name) for name in begun if name.kind == "session"}
        found = {session.session_id: session for session in self.sessions.of_person(self.reference_id)}
        found |= {session.session_id: session for session in self.sessions.read(named - found.keys())}
        logins = {login for session in found.values() if (login := session.widget_session_id) is not None}
        logins |= {SessionId(name.name) for name in begun if name.kind == "widget"}
        # A login on Terra's page has no user_id yet. What it has brought is read once it can bring no more.
        self._each(logins, lambda login: self.connections.bury((), logins=[login]))
        sessions = self.sessions.with_reports(found.values())
        announced = {user_id for session in sessions for user_id in session.named_user_ids}
        announced |= {UserId(name.name) for name in begun if name.kind == "user_id"}
        user_ids = self._user_ids(announced)
        brought = {session_id_from(one.facts.text(Kind.WIDGET_SESSION)) for one in user_ids if one.facts}
        late = {login for login in brought if login is not None} - logins
        self._each(late, lambda login: self.connections.bury((), logins=[login]))
        self._end(user_ids)
        self._forget(sessions, logins | late)
        return bool(user_ids or sessions)

    def _user_ids(self, announced: set[UserId]) -> list[Found]:
        """Every `user_id` that may be this user's and is not erased yet: known here, listed by Terra, or announced."""
        within = self.clock.left(_DEAUTHENTICATE_WITHIN)
        if not within:
            raise _unfinished()
        listed = self.terra.users_of(self.reference_id, within=within)
        ours = self.connections.of_person(self.reference_id)
        asked = (announced | set(listed) | {facts.user_id for facts in ours}) - self.anothers
        known, erased = self.connections.read_for_erasure(asked)
        found = []
        for user_id in sorted(asked - erased):
            facts = known.get(user_id)
            # What replaced a connection may be another user's by now.
            if facts is None or facts.owner in (self.reference_id, None):
                is_announced = user_id in announced or (facts is not None and facts.owner == self.reference_id)
                found.append(Found(user_id, facts, is_announced))
        return found

    def _end(self, user_ids: Sequence[Found]) -> None:
        """Erase each by itself; what fails stays for a repeat."""

        def work(found: Found) -> Outcome | Exception:
            if any(isinstance(error, TooManyRequests | Misconfigured) for error in self.errors):
                return Outcome.LEFT
            try:
                return end(found, self.reference_id, terra=self.terra, connections=self.connections, clock=self.clock)
            except (TerraRejected, RetryLater) as error:
                self.errors.append(error)
                return error

        self._set_owners(user_ids)
        outcomes = self._each(user_ids, work)
        self.erased += outcomes.count(Outcome.ERASED)
        pairs = zip(user_ids, outcomes, strict=True)
        self.anothers |= {one.user_id for one, outcome in pairs if outcome is Outcome.ANOTHERS}
        if self.errors and not self._was_cut_short():
            raise max(self.errors, key=lambda error: isinstance(error, TooManyRequests))
        if self.errors or Outcome.LEFT in outcomes:
            raise _unfinished()

    def _set_owners(self, user_ids: Iterable[Found]) -> None:
        """Store this user as the owner of connections that are listed as theirs only by what they replaced."""
        family = Family(one.facts for one in user_ids if one.facts is not None)
        for one in user_ids:
            view = family.view(one.user_id) if one.facts is not None and one.facts.owner is None else None
            if view is not None and view.reference_id == self.reference_id:
                self.connections.set_owner(one.user_id, self.reference_id)

    def _was_cut_short(self) -> bool:
        """Whether Terra was answering, and requests failed because the time of this call ended under them."""
        is_over = not self.clock.left(_LEAST)
        return is_over and self.erased > 0 and all(isinstance(error, TerraUnavailable) for error in self.errors)

    def _forget(self, sessions: Iterable[Session], logins: Iterable[SessionId]) -> None:
        """Remove sessions whose connections are gone, and what Terra's events have reported of their logins."""
        now = self.began_at.timestamp() * 1000
        listed = list(sessions)
        self.users.remember_open(self.reference_id, [one.expires_at for one in listed if one.is_open(now)])
        outcomes = self._each(listed, self._in_time(self.sessions.erase))
        outcomes += self._each(logins, self._in_time(lambda login: self.sessions.erase_reports([login])))
        if not all(outcomes):
            raise _unfinished()

    def _in_time(self, erase: Callable[[T], None]) -> Callable[[T], bool]:
        def work(one: T) -> bool:
            if not self.clock.left(_ASK_WITHIN):
                return False
            erase(one)
            return True

        return work

    def _each(self, many: Iterable[T], work: Callable[[T], R]) -> list[R]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(work, many))


def _unfinished() -> ErasureUnfinished:
    message = "Not everything is erased yet. Repeat the request: it goes on where this one ended."
    return ErasureUnfinished(message, retry_after=1)
