"""Start a replay: a message for each `user_id` whose payloads are announced again."""

from dataclasses import replace

from terra_connections.connections.lineage import Lineage
from terra_connections.connections.store import ConnectionStore
from terra_connections.data.announcing import Announcement, AnnouncementQueue
from terra_connections.ids import ReferenceId, UserId
from terra_connections.users.pseudonym import Pseudonyms


def start_replay(
    wanted: Announcement,
    user_id: UserId | None,
    reference_id: ReferenceId | None,
    *,
    connections: ConnectionStore,
    pseudonyms: Pseudonyms,
    queue: AnnouncementQueue,
) -> None:
    """Send the messages of a replay.

    Args:
        wanted: its types, its period and its id.
        user_id: one connection, whether it is known here or not; or
        reference_id: a user: all their connections, revoked and replaced ones included, and their reports.
        connections: finds the user's connections.
        pseudonyms: finds the user's reports.
        queue: takes the messages.

    Raises:
        NotDurable, ClientError, BotoCoreError: some messages may have been sent. A retry repeats them.
    """
    if reference_id is None:
        queue.send([replace(wanted, user_id=user_id)])
        return
    known = connections.of_user(reference_id)
    lineage = Lineage(known)
    own = sorted(facts.user_id for facts in known if lineage.owner(facts.user_id) == reference_id)
    reports = replace(wanted, pseudonym=pseudonyms.in_keys(reference_id))
    queue.send([*(replace(wanted, user_id=each) for each in own), reports])
