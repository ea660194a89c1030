"""The erasure of a user's data, at Terra and in the tables. Late events do not restore it.

The user's tombstone is written first. From then on the user can start nothing new, and no earlier login creates a
connection. Then each `user_id` is erased on its own, several in parallel: tombstone, Terra, payloads, item. A retry
therefore continues where the last call stopped. An erasure stops before its time limit and reports whether anything is
left. Reports, which name no `user_id`, are deleted at the end.
The reconciliation finishes erasures that are not retried (`reconciliation/worker`).
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from terra_connections.connections.facts import Kind
from terra_connections.connections.lineage import Lineage
from terra_connections.connections.store import ConnectionStore
from terra_connections.data.backfill_store import BackfillStore, backfills_among
from terra_connections.data.delivery import report_prefix
from terra_connections.data.store import PayloadStore
from terra_connections.erasure.connection import ErasureOutcome, Found, erase_connection
from terra_connections.erasure.deadline import Deadline
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
_LIST_WITHIN = timedelta(seconds=10)
_ROUNDS = 4
"""A later round finds connections that Terra lists with a delay."""


def erase_user(  # noqa: PLR0913 - each part of a user has its own store
    reference_id: ReferenceId,
    *,
    terra: TerraClient,
    sessions: SessionStore,
    claims: ClaimStore,
    reports: WidgetReportStore,
    connections: ConnectionStore,
    users: UserStore,
    payloads: PayloadStore | None,
    backfills: BackfillStore,
    deadline: Deadline | None = None,
) -> int:
    """Deauthenticate a user's connections at Terra and erase their connections and sessions.

    Args:
        reference_id: the user.
        terra: the API that deauthenticates the connections.
        sessions: the store of the user's sessions.
        claims: the store of the responses for the sessions' idempotency keys.
        reports: the store of the reports about the sessions' logins.
        connections: the store of the user's connections.
        users: the store of the user's tombstone.
        payloads: the bucket of the user's payloads; None if data deliveries are discarded.
        backfills: the store of the user's backfills.
        deadline: the time left; by default `WORK_FOR` from now.

    Returns:
        The number of `user_id`s that this call has erased. The erasure is complete.

    Raises:
        ErasureUnfinished: the time limit was reached; a retry continues.
        TerraRejected, TerraUnavailable, TooManyRequests: not everything is erased; a retry continues.
    """
    erasure = _Erasure(
        reference_id,
        terra,
        sessions,
        claims,
        reports,
        connections,
        users,
        payloads,
        backfills,
        deadline or Deadline(WORK_FOR),
    )
    users.begin_erasure(reference_id)
    for _ in range(_ROUNDS):
        if not erasure.round():
            erasure.erase_reports()
            users.end_erasure(reference_id, since=erasure.began_at)
            return erasure.erased
    raise _unfinished()


@dataclass(slots=True)
class _Erasure:
    """The state of one erasure call."""

    reference_id: ReferenceId
    terra: TerraClient
    sessions: SessionStore
    claims: ClaimStore
    reports: WidgetReportStore
    connections: ConnectionStore
    users: UserStore
    payloads: PayloadStore | None
    backfills: BackfillStore
    deadline: Deadline
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    erased: int = 0
    of_others: set[UserId] = field(default_factory=set)
    errors: list[Exception] = field(default_factory=list)

    def round(self) -> bool:
        """Find and erase all that is left; return False if nothing was left."""
        begun = self.users.all_begun(self.reference_id)
        if not all(self._each(backfills_among(begun), self._in_time(self.backfills.erase))):
            raise _unfinished()
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
        reported = {session_id_from(one.facts.text(Kind.WIDGET_SESSION)) for one in user_ids if one.facts}
        late = {login for login in reported if login is not None} - logins
        self._each(late, lambda login: self.connections.put_tombstones((), logins=[login]))
        self._erase_connections(user_ids)
        self._erase_sessions(sessions, logins | late)
        return bool(user_ids or sessions)

    def erase_reports(self) -> None:
        """Delete the reports that name the user and no `user_id`."""
        if self.payloads is not None:
            prefix = report_prefix(self.users.pseudonym(self.reference_id))
            if not self.payloads.erase(prefix, until=lambda: self.deadline.is_over):
                raise _unfinished()

    def _user_ids(self, announced: set[UserId]) -> list[Found]:
        """Every `user_id` that may be this user's and is not erased yet: stored, listed by Terra, or announced."""
        within = self.deadline.left(_LIST_WITHIN)
        if not within:
            raise _unfinished()
        listed = self.terra.list_user_ids(self.reference_id, within=within)
        own = self.connections.of_user(self.reference_id)
        candidates = (announced | set(listed) | {facts.user_id for facts in own}) - self.of_others
        known, erased = self.connections.read_for_erasure(candidates)
        found = []
        for user_id in sorted(candidates - erased):
            facts = known.get(user_id)
            # The successor of a connection may belong to another user by now.
            if facts is None or facts.owner in (self.reference_id, None):
                is_announced = user_id in announced or (facts is not None and facts.owner == self.reference_id)
                found.append(Found(user_id, facts, is_announced))
        return found

    def _erase_connections(self, user_ids: Sequence[Found]) -> None:
        """Erase each `user_id` on its own; those that fail are left for a retry."""

        def work(found: Found) -> ErasureOutcome | Exception:
            if any(isinstance(error, TooManyRequests | Misconfigured) for error in self.errors):
                return ErasureOutcome.LEFT
            try:
                return erase_connection(
                    found,
                    self.reference_id,
                    terra=self.terra,
                    connections=self.connections,
                    payloads=self.payloads,
                    deadline=self.deadline,
                )
            except (TerraRejected, RetryLater) as error:
                self.errors.append(error)
                return error

        self._set_owners(user_ids)
        outcomes = self._each(user_ids, work)
        self.erased += outcomes.count(ErasureOutcome.ERASED)
        pairs = zip(user_ids, outcomes, strict=True)
        self.of_others |= {one.user_id for one, outcome in pairs if outcome is ErasureOutcome.OTHER_OWNER}
        if self.errors and not self._was_cut_short():
            raise max(self.errors, key=lambda error: isinstance(error, TooManyRequests))
        if self.errors or ErasureOutcome.LEFT in outcomes:
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
        is_terra_up = self.erased > 0 and all(isinstance(error, TerraUnavailable) for error in self.errors)
        return self.deadline.is_over and is_terra_up

    def _erase_sessions(self, sessions: Iterable[Session], logins: Iterable[SessionId]) -> None:
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
            if self.deadline.is_over:
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
