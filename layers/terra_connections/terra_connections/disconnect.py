"""Disconnect one connection: first at Terra, then in the table."""

from datetime import datetime

from terra_connections.auth.caller import Caller
from terra_connections.connections.connection import no_connection
from terra_connections.connections.facts import BY_DISCONNECT, Position, TerraUser, revocation_facts
from terra_connections.connections.store import ConnectionStore
from terra_connections.ids import UserId
from terra_connections.terra.client import TerraClient


def disconnect_connection(
    user_id: UserId, *, caller: Caller, terra: TerraClient, connections: ConnectionStore, now: datetime
) -> UserId:
    """Deauthenticate a connection at Terra and mark it revoked. A replaced `user_id` disconnects its replacement.

    Returns:
        The `user_id` that was disconnected.

    Raises:
        NotFound: the connection does not exist, or the caller may not access it.
        TerraRejected, TerraUnavailable, TooManyRequests: nothing was changed in the table, and a retry is safe.
    """
    connection = connections.find(user_id, caller=caller)
    if connection is None:
        raise no_connection(user_id)
    terra.deauthenticate(connection.user_id)
    # Terra's clock may be ahead of ours. The revocation must be newer than every event so far.
    at = Position(max(int(now.timestamp() * 1000), connection.updated_at))
    connections.record([revocation_facts(TerraUser(connection.user_id), at, by=BY_DISCONNECT)])
    return connection.user_id
