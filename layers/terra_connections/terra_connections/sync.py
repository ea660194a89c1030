"""Update the connections of one user from Terra, even if webhooks were lost.

Terra's list endpoint is not authoritative: it only provides the `user_id`s to check. `userInfo?user_id=` is
authoritative. Nothing is written until all calls have succeeded: an invalid, partial or missing response changes
nothing.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from terra_connections.connections.connection import Connection
from terra_connections.connections.facts import Facts, Kind
from terra_connections.connections.lineage import Lineage, listed_connections
from terra_connections.connections.store import ConnectionStore
from terra_connections.ids import ReferenceId, UserId
from terra_connections.terra.client import TerraClient
from terra_connections.terra.verification import verify_user

_AT_ONCE = 6  # parallel requests to Terra
_ASK_WITHIN = timedelta(seconds=5)
_WRITTEN_AT_ONCE = 20  # connections; a transaction has at most 100 writes


@dataclass(frozen=True, slots=True)
class Syncer:
    """Syncs the connections of users with Terra."""

    terra: TerraClient
    connections: ConnectionStore

    def sync(self, reference_id: ReferenceId, *, now: datetime) -> list[Connection]:
        """Update the user's connections from Terra, and return them.

        Raises:
            TerraRejected, TerraUnavailable, TooManyRequests: nothing was changed.
        """
        ours = self.connections.of_user(reference_id)
        user_ids = self._user_ids_to_verify(reference_id, ours)
        reported = self._ask(user_ids, now=now)
        worth = [facts for facts in reported if _is_worth_storing(facts, {known.user_id: known for known in ours})]
        for start in range(0, len(worth), _WRITTEN_AT_ONCE):
            self.connections.record(worth[start : start + _WRITTEN_AT_ONCE])
        # Read by key: the index may not contain the last writes yet.
        now_known = {facts.user_id: facts for facts in ours}
        now_known |= {facts.user_id: facts for facts in self.connections.read([*now_known, *user_ids])}
        return listed_connections(reference_id, now_known.values(), include_revoked=False)

    def _user_ids_to_verify(self, reference_id: ReferenceId, ours: Sequence[Facts]) -> list[UserId]:
        """Return the `user_id`s that Terra lists for the user, and those of the user's stored connections."""
        family = Lineage(ours)
        expected = [facts.user_id for facts in ours if family.current(facts.user_id) == facts.user_id]
        return list(dict.fromkeys([*self.terra.list_user_ids(reference_id), *expected]))

    def _ask(self, user_ids: Sequence[UserId], *, now: datetime) -> list[Facts]:
        def ask(user_id: UserId) -> Facts:
            return verify_user(user_id, terra=self.terra, within=_ASK_WITHIN, now=now)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(ask, user_ids))


def _is_worth_storing(reported: Facts, known: dict[UserId, Facts]) -> bool:
    """Whether a response contains a new fact. PRESENT for an unknown `user_id` (an unfinished login) does not."""
    return reported.at(Kind.PRESENT) is None or reported.user_id in known
