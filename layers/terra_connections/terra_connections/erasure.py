"""Erase a user's data, at Terra and in the tables. Late events do not restore it.

The user's tombstone is written first. From then on the user can start nothing new, and no earlier login creates a
connection. Then each `user_id` is erased on its own, several in parallel: tombstone, Terra, item. A retry therefore
continues where the last call stopped. An erasure stops before its time limit and reports whether anything is left.
The reconciliation finishes erasures that are not retried (`reconciliation/worker`).

Deauthenticating is irreversible. Neither Terra's list nor a `user_id` that Terra once issued for the user is sufficient
proof: Terra is first asked for the `user_id`'s owner.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import TypeVar

from terra_connections.connections.facts import Facts, Kind
from terra_connections.connections.lineage import Lineage
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
from terra_connections.sessions.idempotency import ClaimStore
from terra_connections.sessions.session import Session
from terra_connections.sessions.store import SessionStore
from terra_connections.sessions.widget_reports import WidgetReportStore
from terra_connections.terra.client import TerraClient
from terra_connections.users.store import UserStore

T = TypeVar("T")
R = TypeVar("R")

WORK_FOR = timedelta(seconds=18)
"""After this time no new step starts, and calls to Terra time out. The writes that follow, and a secret that must be
read again, may take 5 s each. The function's timeout is 29 s."""
AT_ONCE = 6  # parallel requests to Terra, as in a sync
_ASK_WITHIN = timedelta(seconds=5)
_DEAUTHENTICATE_WITHIN = timedelta(seconds=10)
_LEAST = timedelta(seconds=0.2)
"""A step does not start with less time left than this."""
_ROUNDS = 4
"""A later round finds connections that Terra lists with a delay."""


class Outcome(Enum):
    """The outcome for a `user_id`."""

    ERASED = auto()
    ANOTHERS = auto()  # Terra reports another owner, or none: the `user_id` is not changed
    LEFT = auto()  # the time limit was reached


@dataclass(frozen=True, slots=True)
class Found:
    """A `user_id` that may belong to the user.

    Attributes:
        user_id: the id.
        facts: the stored facts about it, if any.
        is_announced: whether Terra issued it for a login of this user.
    """

    user_id: UserId
    facts: Facts | None
    is_announced: bool

    def is_of(self, reference_id: ReferenceId) -> bool:
        """Whether Terra has named this user as the connection's owner."""
        return (
            self.facts is not None
            and self.facts.first_connected is not None
            and (self.facts.owner == reference_id and self.facts.at(Kind.OWNER) is not None)
        )


class Clock:
    """The time left of an erasure."""

    def __init__(self, within: timedelta) -> None:
        self._ends_at = time.monotonic() + within.total_seconds()

    def left(self, at_most: timedelta) -> timedelta:
        """The time that a step may take if it starts now; zero if too little is left to start it."""
        left = timedelta(seconds=self._ends_at - time.monotonic())
        return min(left, at_most) if left >= _LEAST else timedelta(0)


def erase_connection(
    found: Found, reference_id: ReferenceId | None, *, terra: TerraClient, connections: ConnectionStore, clock: Clock
) -> Outcome:
    """Deauthenticate one `user_id` and erase it, if it belongs to the user.

    Args:
        found: the id.
        reference_id: the user. None if the `user_id` already has a tombstone: its owner is then not checked.
        terra: the API that deauthenticates it.
        connections: the store that writes its tombstone, and deletes its item once Terra has confirmed.
        clock: the time left.

    Raises:
        TerraRejected, TerraUnavailable, TooManyRequests: nothing was changed except for its tombstone.
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
    connections.put_tombstones([found.user_id])
    if is_at_terra:
        terra.deauthenticate(found.user_id, within=within)
    connections.finish_erasure(found.user_id)
    return Outcome.ERASED


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases users."""

    terra: TerraClient
    sessions: SessionStore
    claims: ClaimStore
    reports: WidgetReportStore
    connections: ConnectionStore
    users: UserStore

    def erase(self, reference_id: ReferenceId, *, clock: Clock | None = None) -> int:
        """Deauthenticate a user's connections at Terra and erase their connections and sessions.

        Args:
            reference_id: the user.
            clock: the time left; by default `WORK_FOR` from now.

        Returns:
            The number of `user_id`s that this call has erased. The erasure is complete.

        Raises:
            ErasureUnfinished: the time limit was reached; a retry continues.
            TerraRejected, TerraUnavailable, TooManyRequests: not everything is erased; a retry continues.
        """
        erasing = _Erasing(
            reference_id,
            self.terra,
            self.sessions,
            self.claims,
            self.reports,
            self.connections,
            self.users,
            clock or Clock(WORK_FOR),
        )
        self.users.begin_erasure(reference_id)
        for _ in range(_ROUNDS):
            if not erasing.round():
                self.users.end_erasure(reference_id, since=erasing.began_at)
                return erasing.erased
        raise _unfinished()


@dataclass(slots=True)
class _Erasing:
    """The state of one erasure call."""

    reference_id: ReferenceId
    terra: TerraClient
    sessions: SessionStore
    claims: ClaimStore
    reports: WidgetReportStore
    connections: ConnectionStore
    users: UserStore
    clock: Clock
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    erased: int = 0
    anothers: set[UserId] = field(default_factory=set)
    errors: list[Exception] = field(default_factory=list)

    def round(self) -> bool:
        """Find and erase all that is left; return False if nothing was left."""
        begun = self.users.all_begun(self.reference_id)
        named = {SessionId(name.name) for name in begun if name.kind == "session"}
        found = {session.session_id: session for session in self.sessions.of_user(self.reference_id)}
        found |= {session.session_id: session for session in self.sessions.read(named - found.keys())}
        logins = {login for session in found.values() if (login := session.widget_session_id) is not None}
        logins |= {SessionId(name.name) for name in begun if name.kind == "widget"}
        # A login on Terra's page has no user_id yet. Its results are read once its tombstone prevents further ones.
        self._each(logins, lambda login: self.connections.put_tombstones((), logins=[login]))
        sessions = self.reports.with_reports(found.values())
        announced = {user_id for session in sessions for user_id in session.candidate_user_ids}
        announced |= {UserId(name.name) for name in begun if name.kind == "user_id"}
        user_ids = self._user_ids(announced)
        brought = {session_id_from(one.facts.text(Kind.WIDGET_SESSION)) for one in user_ids if one.facts}
        late = {login for login in brought if login is not None} - logins
        self._each(late, lambda login: self.connections.put_tombstones((), logins=[login]))
        self._end(user_ids)
        self._forget(sessions, logins | late)
        return bool(user_ids or sessions)

    def _user_ids(self, announced: set[UserId]) -> list[Found]:
        """Every `user_id` that may be this user's and is not erased yet: stored, listed by Terra, or announced."""
        within = self.clock.left(_DEAUTHENTICATE_WITHIN)
        if not within:
            raise _unfinished()
        listed = self.terra.list_user_ids(self.reference_id, within=within)
        ours = self.connections.of_user(self.reference_id)
        asked = (announced | set(listed) | {facts.user_id for facts in ours}) - self.anothers
        known, erased = self.connections.read_for_erasure(asked)
        found = []
        for user_id in sorted(asked - erased):
            facts = known.get(user_id)
            # The successor of a connection may belong to another user by now.
            if facts is None or facts.owner in (self.reference_id, None):
                is_announced = user_id in announced or (facts is not None and facts.owner == self.reference_id)
                found.append(Found(user_id, facts, is_announced))
        return found

    def _end(self, user_ids: Sequence[Found]) -> None:
        """Erase each `user_id` on its own; those that fail are left for a retry."""

        def work(found: Found) -> Outcome | Exception:
            if any(isinstance(error, TooManyRequests | Misconfigured) for error in self.errors):
                return Outcome.LEFT
            try:
                return erase_connection(
                    found, self.reference_id, terra=self.terra, connections=self.connections, clock=self.clock
                )
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
        family = Lineage(one.facts for one in user_ids if one.facts is not None)
        for one in user_ids:
            view = family.view(one.user_id) if one.facts is not None and one.facts.owner is None else None
            if view is not None and view.reference_id == self.reference_id:
                self.connections.set_owner(one.user_id, self.reference_id)

    def _was_cut_short(self) -> bool:
        """Whether Terra was available, and requests failed only because this call's time limit was reached."""
        is_over = not self.clock.left(_LEAST)
        return is_over and self.erased > 0 and all(isinstance(error, TerraUnavailable) for error in self.errors)

    def _forget(self, sessions: Iterable[Session], logins: Iterable[SessionId]) -> None:
        """Delete sessions whose connections are erased, and the reports of Terra's events about their logins."""
        now = self.began_at.timestamp() * 1000
        listed = list(sessions)
        self.users.remember_open(self.reference_id, [one.expires_at for one in listed if one.is_open(now)])
        outcomes = self._each(listed, self._in_time(self._erase_session))
        outcomes += self._each(logins, self._in_time(self.reports.erase))
        if not all(outcomes):
            raise _unfinished()

    def _erase_session(self, session: Session) -> None:
        """Delete a session, after the stored response for its idempotency key, which only the session names."""
        if session.claim_id is not None:
            self.claims.erase(session.claim_id)
        self.sessions.erase(session)

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
