"""Update the connections of one user from Terra, even if webhooks were lost.

Terra's list endpoint is not authoritative: it only provides the `user_id`s to check. `userInfo?user_id=` is
authoritative. Nothing is written until all calls have succeeded: an invalid, partial or missing response changes
nothing.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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


def sync_user(
    reference_id: ReferenceId, *, terra: TerraClient, connections: ConnectionStore, now: datetime
) -> list[Connection]:
    """Update a user's connections from Terra, and return them.

    Raises:
        TerraRejected, TerraUnavailable, TooManyRequests: nothing was changed.
    """

    def verify(user_id: UserId) -> Facts:
        return verify_user(user_id, terra=terra, within=_ASK_WITHIN, now=now)

    known = {facts.user_id: facts for facts in connections.of_user(reference_id)}
    lineage = Lineage(known.values())
    expected = [user_id for user_id in known if lineage.current(user_id) == user_id]
    user_ids = list(dict.fromkeys([*terra.list_user_ids(reference_id), *expected]))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        reported = list(pool.map(verify, user_ids))
    new = [facts for facts in reported if _is_worth_storing(facts, known)]
    for start in range(0, len(new), _WRITTEN_AT_ONCE):
        connections.record(new[start : start + _WRITTEN_AT_ONCE])
    # Read by key: the index may not contain the last writes yet.
    known |= {facts.user_id: facts for facts in connections.read([*known, *user_ids])}
    return listed_connections(reference_id, known.values(), include_revoked=False)


def _is_worth_storing(reported: Facts, known: Mapping[UserId, Facts]) -> bool:
    """Whether a response contains a new fact. PRESENT for an unknown `user_id` (an unfinished login) does not."""
    return reported.at(Kind.PRESENT) is None or reported.user_id in known
