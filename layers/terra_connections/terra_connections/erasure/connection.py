"""The erasure of one `user_id`: tombstone, Terra, payloads, item.

Deauthenticating is irreversible. Neither Terra's list nor a `user_id` that Terra once issued for the user is sufficient
proof: Terra is first asked for the `user_id`'s owner.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto

from terra_connections.connections.facts import Facts, Kind
from terra_connections.connections.store import ConnectionStore
from terra_connections.data.delivery import user_prefix
from terra_connections.data.store import PayloadStore
from terra_connections.erasure.deadline import Deadline
from terra_connections.ids import ReferenceId, UserId
from terra_connections.terra.client import TerraClient

_ASK_WITHIN = timedelta(seconds=5)
_DEAUTHENTICATE_WITHIN = timedelta(seconds=10)


class ErasureOutcome(Enum):
    """The outcome for a `user_id`."""

    ERASED = auto()
    OTHER_OWNER = auto()  # Terra reports another owner, or none: the `user_id` is not changed
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


def erase_connection(
    found: Found,
    reference_id: ReferenceId | None,
    *,
    terra: TerraClient,
    connections: ConnectionStore,
    payloads: PayloadStore | None,
    deadline: Deadline,
) -> ErasureOutcome:
    """Deauthenticate one `user_id` and erase it, if it belongs to the user.

    Args:
        found: the id.
        reference_id: the user. None if the `user_id` already has a tombstone: its owner is then not checked.
        terra: the API that deauthenticates it.
        connections: the store that writes its tombstone, and deletes its item once Terra has confirmed.
        payloads: the bucket of its payloads; None if data deliveries are discarded.
        deadline: the time left.

    Raises:
        TerraRejected, TerraUnavailable, TooManyRequests: nothing was changed except for its tombstone.
    """
    is_at_terra = True
    if reference_id is not None and not found.is_of(reference_id):
        within = deadline.left(_ASK_WITHIN)
        if not within:
            return ErasureOutcome.LEFT
        info = terra.user_info(found.user_id, within=within)
        if info is not None and (info.reference_id or (reference_id if found.is_announced else None)) != reference_id:
            if found.facts is not None and found.facts.owner == reference_id:
                connections.erase([found.user_id])
            return ErasureOutcome.OTHER_OWNER
        is_at_terra = info is not None
    within = deadline.left(_DEAUTHENTICATE_WITHIN)
    if not within:
        return ErasureOutcome.LEFT
    connections.put_tombstones([found.user_id])
    if is_at_terra:
        terra.deauthenticate(found.user_id, within=within)
    # After the tombstone: what arrives later is deleted by the publisher.
    if payloads is not None and not payloads.erase(user_prefix(found.user_id), until=lambda: deadline.is_over):
        return ErasureOutcome.LEFT
    connections.finish_erasure(found.user_id)
    return ErasureOutcome.ERASED
