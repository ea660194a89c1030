"""Forget a person: nobody pays for them at Terra any more, and nothing that comes late brings them back.

Tombstones first, so that no webhook can recreate what is being removed; then Terra, which may refuse; then the items.
Whatever fails, a repeat goes on.
"""

from dataclasses import dataclass

from terra_connections.connection_store import ConnectionStore
from terra_connections.errors import NotDurable
from terra_connections.ids import ReferenceId, UserId
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
            announced = {user_id for session in sessions for user_id in session.named_user_ids}
            theirs = self._of_person(reference_id, announced) - done
            if not theirs and not sessions:
                return len(done)
            self.connections.bury(theirs)
            for user_id in theirs:
                self.terra.deauthenticate(user_id)
            self.connections.erase(theirs)
            for session in sessions:
                self.sessions.erase(session)
            done |= theirs
            gone |= {session.session_id for session in sessions}
        message = "The person is connecting while being erased."
        raise NotDurable(message)

    def _of_person(self, reference_id: ReferenceId, announced: set[UserId]) -> set[UserId]:
        """Every `user_id` that may be this person's: known here, known at Terra, or issued to a login under way."""
        known = {facts.user_id: facts.owner for facts in self.connections.of_person(reference_id)}
        unknown = announced | set(self.terra.users_of(reference_id))
        known |= {facts.user_id: facts.owner for facts in self.connections.read(unknown - known.keys())}
        return {
            user_id for user_id in unknown | known.keys() if known.get(user_id, reference_id) in (reference_id, None)
        }
