"""Groups `user_id`s into connections. A reconnect changes a connection's `user_id`; only the links are stored."""

import hashlib
from collections.abc import Collection, Iterable

from terra_connections.connections.connection import CONNECTION_ID_PREFIX, UNKNOWN_PROVIDER, Connection
from terra_connections.connections.facts import Facts, Kind, Position, Status
from terra_connections.ids import ReferenceId, UserId


class Lineage:
    """`user_id`s that are linked by reconnects, and their connections.

    A link between connections of two users transfers nothing: it ends the older connection.
    """

    def __init__(self, everything: Iterable[Facts]) -> None:
        self._members = {facts.user_id: facts for facts in everything}
        self._replacements = {user_id: self._followed(user_id) for user_id in self._members}
        self._goes_by = {user_id: self._last(user_id) for user_id in self._members}

    @property
    def unread(self) -> set[UserId]:
        """Linked `user_id`s without facts here: successors, and predecessors whose owner may apply to a member."""
        named = {facts.replaced_by for facts in self._members.values() if facts.replaced_by}
        named.update(*(facts.replaces for facts in self._members.values() if facts.owner is None))
        return named - self._members.keys()

    def current(self, user_id: UserId) -> UserId:
        """Return the current `user_id` of a `user_id`: its last successor, or itself."""
        return user_id if self.was_replaced_by_other_owner(user_id) else self._goes_by.get(user_id, user_id)

    def facts(self, user_id: UserId) -> Facts | None:
        """Return the facts about one `user_id`."""
        return self._members.get(user_id)

    def members(self, user_id: UserId) -> list[Facts]:
        """Return the facts about every `user_id` of the same connection."""
        current = self.current(user_id)
        return [facts for member, facts in self._members.items() if self.current(member) == current]

    def was_replaced_by_other_owner(self, user_id: UserId) -> bool:
        """Whether another user's connection replaced it."""
        facts = self._members.get(user_id)
        if facts is None:
            return False
        return self._have_different_owners(user_id, facts.replaced_by) or self._have_different_owners(
            user_id, self._goes_by[user_id]
        )

    def was_connected(self, user_id: UserId) -> bool:
        """Whether Terra ever reported this same `user_id` as connected."""
        facts = self._members.get(user_id)
        return facts is not None and facts.first_connected is not None

    def views(self) -> list[Connection]:
        """Return every connection, without replaced `user_id`s."""
        shown = [user_id for user_id in self._members if self.current(user_id) == user_id]
        return [connection for user_id in shown if (connection := self.view(user_id)) is not None]

    def view(self, user_id: UserId) -> Connection | None:
        """Return the connection of a `user_id`; None until Terra has reported it as connected."""
        facts = self._members.get(self.current(user_id))
        if facts is None or facts.first_connected is None:
            return None
        connected_at, root = self._root(facts)
        return Connection(
            connection_id=_connection_id(root),
            user_id=facts.user_id,
            reference_id=self._owner(facts),
            provider=facts.text(Kind.PROVIDER) or UNKNOWN_PROVIDER,
            status=Status.REVOKED if self.was_replaced_by_other_owner(facts.user_id) else facts.status,
            scopes=facts.scopes,
            connected_at=connected_at,
            updated_at=Position(max(fact.at for fact in facts.newest.values())),
        )

    def owner(self, user_id: UserId) -> ReferenceId | None:
        """Return the owner of a `user_id`; None if it is unknown."""
        facts = self._members.get(user_id)
        return None if facts is None else self._owner(facts)

    def _owner(self, facts: Facts) -> ReferenceId | None:
        """Return the connection's owner. Until an event contains it, that is the predecessors' owner, if unique."""
        if facts.owner is not None:
            return facts.owner
        replaced = [member for member in self._members.values() if facts.user_id in self._replacements[member.user_id]]
        owners = {member.owner for member in replaced} - {None}
        return owners.pop() if len(owners) == 1 else None

    def _root(self, facts: Facts) -> tuple[Position, UserId]:
        """Return the connection's root `user_id` and its time: the oldest one of its owner that replaced no other.

        It is not simply the oldest: a successor that was found by a call to Terra is dated two minutes too early. In a
        circle, which all links together may form, each replaced each; there it is the oldest.
        """
        owner = self._owner(facts)
        connected = {
            member.user_id: member.first_connected
            for member in self._members.values()
            if member.first_connected is not None
            and (member.owner == owner or member is facts)
            and self.current(member.user_id) == facts.user_id
        }
        chain = connected.keys() | {later for user_id in connected for later in self._replacements[user_id]}
        replaced = {user_id: self._ever_replaced(user_id, chain) for user_id in chain}
        return min(
            (at, user_id)
            for user_id, at in connected.items()
            if all(user_id in replaced[old] for old in replaced[user_id] & connected.keys())
        )

    def _ever_replaced(self, user_id: UserId, chain: Collection[UserId]) -> set[UserId]:
        """Return all `user_id`s of the chain that this one replaced, transitively."""
        found: set[UserId] = set()
        unread = {user_id}
        while unread:
            unread = {old for new in unread for old in self._members[new].replaces if old in chain} - found
            found |= unread
        return found

    def _followed(self, user_id: UserId) -> list[UserId]:
        """Return its successors in the order of the links; in a circle, the last one is the `user_id` itself."""
        path: list[UserId] = []
        following = self._link(user_id)
        while following is not None and following not in path:
            path.append(following)
            following = self._link(following)
        return path

    def _last(self, user_id: UserId) -> UserId:
        """Return the end of the links; in a circle, the `user_id` that was connected last."""
        path = self._replacements[user_id]
        if not path:
            return user_id
        circle = self._replacements[path[-1]]
        return max(circle, key=lambda member: (self._members[member].at(Kind.CONNECTED) or 0, member), default=path[-1])

    def _link(self, user_id: UserId) -> UserId | None:
        """Return its successor, if it is a member and not another user's."""
        facts = self._members.get(user_id)
        if (
            facts is None
            or facts.replaced_by not in self._members
            or self._have_different_owners(user_id, facts.replaced_by)
        ):
            return None
        return facts.replaced_by

    def _have_different_owners(self, one: UserId, other: UserId | None) -> bool:
        """Whether both have owners, and the owners differ."""
        owners = [member.owner for user_id in (one, other) if user_id and (member := self._members.get(user_id))]
        return None not in owners and len(set(owners)) > 1


def listed_connections(
    reference_id: ReferenceId, everything: Iterable[Facts], *, include_revoked: bool
) -> list[Connection]:
    """Return a user's connections, newest first."""
    shown = [
        connection
        for connection in Lineage(everything).views()
        if connection.reference_id == reference_id and (include_revoked or connection.status is not Status.REVOKED)
    ]
    return sorted(shown, key=lambda c: (-c.connected_at, c.user_id))


def _connection_id(root: UserId) -> str:
    """Derive the id from the root `user_id`, so that it need not be stored and does not depend on the event order."""
    return CONNECTION_ID_PREFIX + hashlib.sha256(b"connection:" + root.encode()).hexdigest()[:24]
