"""Forget a person: nobody pays for them at Terra any more, and nothing that comes late brings them back.

Tombstones first, so that no webhook can recreate what is being removed; then Terra, which may refuse; then the items.
Whatever fails, a repeat goes on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from terra_connections.connection import Facts, Kind
from terra_connections.connection_store import ConnectionStore
from terra_connections.errors import NotDurable
from terra_connections.ids import ReferenceId, SessionId, UserId, session_id_from
from terra_connections.session_store import SessionStore
from terra_connections.terra_api import TerraApi

_ROUNDS = 3
"""What a login adds while it is being erased is found by the next round."""


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases people."""

    terra: TerraApi
    sessions: SessionStore
    connections: ConnectionStore

    def erase(self, reference_id: ReferenceId) -> int:
        """Deauthenticate a person's connections at Terra and erase their connections and sessions.

        Returns:
            How many `user_id`s were erased.

        Raises:
            TerraRejected, TerraUnavailable, TooManyRequests: not everything is erased; a repeat goes on.
            NotDurable: the person is connecting all the while; a repeat goes on.
        """
        done: set[UserId] = set()
        gone: set[str] = set()
        for _ in range(_ROUNDS):
            sessions = [s for s in self.sessions.of_person(reference_id) if s.session_id not in gone]
            logins = {session.widget_session_id for session in sessions if session.widget_session_id}
            # A login on Terra's page has no user_id yet. What it has brought is read once it can bring no more.
            self.connections.bury((), logins=logins)
            announced = {name for session in sessions for name in self.sessions.with_report(session).named_user_ids}
            theirs = {name: facts for name, facts in self._of_person(reference_id, announced) if name not in done}
            if not theirs and not sessions:
                return len(done)
            logins |= {login for facts in theirs.values() if (login := _login_of(facts)) is not None}
            self.connections.bury(theirs)
            for user_id in theirs:
                self.terra.deauthenticate(user_id)
            self.connections.erase(theirs)
            self.sessions.erase_reports(logins)
            for session in sessions:
                self.sessions.erase(session)
            done |= theirs.keys()
            gone |= {session.session_id for session in sessions}
        message = "The person is connecting while being erased."
        raise NotDurable(message)

    def _of_person(self, reference_id: ReferenceId, announced: set[UserId]) -> Iterator[tuple[UserId, Facts]]:
        """Every `user_id` that may be this person's: known here, known at Terra, or issued to a login under way."""
        known = {facts.user_id: facts for facts in self.connections.of_person(reference_id)}
        unknown = announced | set(self.terra.users_of(reference_id))
        known |= {facts.user_id: facts for facts in self.connections.read(unknown - known.keys())}
        for user_id in unknown | known.keys():
            facts = known.get(user_id, Facts(user_id))
            if facts.owner in (reference_id, None):
                yield user_id, facts


def _login_of(facts: Facts) -> SessionId | None:
    """The widget session that a connection came from: Terra's events may have told of it longer than it is kept."""
    return session_id_from(facts.text(Kind.WIDGET_SESSION))
