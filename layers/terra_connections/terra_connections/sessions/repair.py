"""The start of a login that repairs a connection."""

from terra_connections.auth.caller import Caller
from terra_connections.connections.connection import UNKNOWN_PROVIDER, no_connection
from terra_connections.connections.facts import Kind, Position, Status
from terra_connections.connections.store import ConnectionStore
from terra_connections.errors import ConnectionEnded, UnknownResource
from terra_connections.ids import ReferenceId, UserId
from terra_connections.sessions.session import Repair, resource_of


def find_repair(
    user_id: UserId, *, caller: Caller, reference_id: ReferenceId | None, connections: ConnectionStore
) -> tuple[ReferenceId, str, Repair]:
    """Return the user and the provider of a connection, and what its repair needs to know about it.

    Args:
        user_id: one of its `user_id`s.
        caller: who wants to repair it.
        reference_id: the user in the request, if it has one. It must be the user of the connection.
        connections: read consistently.

    Raises:
        Forbidden: a request with a user token names another user.
        NotFound: there is no such connection, it is not the user's, or it was erased.
        ConnectionEnded: it is revoked.
        UnknownResource: its provider is not known.
    """
    expected = reference_id if caller.subject is None else caller.reference_id(reference_id)
    lineage = connections.find_lineage(user_id, caller=caller)
    connection = None if lineage is None else lineage.view(user_id)
    if lineage is None or connection is None or connection.reference_id is None:
        raise no_connection(user_id)
    members = lineage.members(user_id)
    if expected not in (None, connection.reference_id) or connections.erased_among(members):
        raise no_connection(user_id)
    provider = resource_of(connection.provider)
    if connection.status is Status.REVOKED:
        message = f"A login cannot repair it. Start a session with the resource {provider} to make a new connection."
        raise ConnectionEnded(message)
    if provider == UNKNOWN_PROVIDER:
        message = "Terra has not named the provider of this connection."
        raise UnknownResource(message)
    logins = [at for facts in members if (at := facts.at(Kind.LOGIN)) is not None]
    return connection.reference_id, provider, Repair(connection.user_id, max(logins, default=Position(0)))
