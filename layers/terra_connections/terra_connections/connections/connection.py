"""One connected wearable and its life: facts that can arrive in any order, and the view computed from them.

Of each kind of fact only the newest is kept, by its position; merging is a maximum per kind. It is therefore
commutative, associative and idempotent, and that alone is why webhooks may come twice, late and in any order.

A reconnect gives the same connection a new `user_id`. Only links are stored then; which ids are one connection is
computed from them (`Family`), as everything is.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NewType

from terra_connections.errors import NotFound
from terra_connections.ids import ReferenceId, UserId

Position = NewType("Position", int)
"""A moment in unix milliseconds by which facts of one kind are ordered."""

Value = str | tuple[str, ...] | None

UNKNOWN_PROVIDER = "UNKNOWN"
ADDED, REMOVED = "added", "removed"
_CONNECTION_ID = "con_"

MOST_SCOPES = 200
"""More than any provider has."""
LONGEST_SCOPE = 128  # characters
_MOST_REPLACED = 100
"""As many as one BatchGetItem reads."""


class Kind(StrEnum):
    """What can be known about a Terra `user_id`.

    ABSENT and PRESENT are what asking Terra brought: it did not know the `user_id`; a list of Terra's named it.
    LOGIN is a connect that happened, CONNECTED also one that asking only found standing.
    ANNOUNCED is the user for whom Terra issued the `user_id` before a login, by the answer to authenticateUser.
    SCOPE and REPLACES are kinds for each scope and each replaced `user_id`: see `of`.
    """

    CONNECTED = "connected"
    LOGIN = "login"
    ERROR = "error"
    REVOKED = "revoked"
    ABSENT = "absent"
    PRESENT = "present"
    OWNER = "owner"
    ANNOUNCED = "announced_for"
    PROVIDER = "provider"
    SCOPES = "scopes"
    SCOPE = "scope"
    REPLACED_BY = "replaced_by"
    REPLACES = "replaces"
    FAILED = "failed"
    WIDGET_SESSION = "widget_session_id"

    def of(self, name: str) -> str:
        """The kind for one scope, or for one replaced `user_id`."""
        return f"{self.value}:{name}"


class Status(StrEnum):
    """A connection's state, as the contract names it."""

    CONNECTED = "connected"
    NEEDS_REAUTH = "needs_reauth"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was true at a position; `value` is what the kind says, if it says more than "yes"."""

    at: Position
    value: Value = None

    @property
    def rank(self) -> tuple[int, bytes]:
        """Newer wins; at equal positions the greater canonical bytes, so that every order agrees."""
        return self.at, json.dumps(self.value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known about one Terra `user_id`, but for scopes and links beyond a bound: see `_bounded`.

    Attributes:
        user_id: whom it is about.
        newest: the newest fact of each kind.
        first_connected: the oldest position at which it was connected.
    """

    user_id: UserId
    newest: Mapping[str, Fact] = field(default_factory=dict)
    first_connected: Position | None = None

    def merged(self, other: "Facts") -> "Facts":
        """Both sets of facts together; order and repetition make no difference."""
        newest = dict(self.newest)
        for kind, fact in other.newest.items():
            known = newest.get(kind)
            if known is None or fact.rank > known.rank:
                newest[kind] = fact
        positions = [at for at in (self.first_connected, other.first_connected) if at is not None]
        return Facts(self.user_id, _bounded(newest), min(positions, default=None))

    def at(self, kind: Kind) -> Position | None:
        """The position of the newest fact of a kind."""
        fact = self.newest.get(kind)
        return fact.at if fact else None

    def is_newest(self, kind: Kind, *, than: Kind) -> bool:
        """Whether the newest fact of a kind stands against that of another one; at equal positions it does."""
        at, other = self.at(kind), self.at(than)
        return at is not None and (other is None or at >= other)

    def text(self, kind: Kind) -> str | None:
        """What the newest fact of a kind says, for kinds that say one text."""
        fact = self.newest.get(kind)
        return fact.value if fact and isinstance(fact.value, str) else None

    @property
    def owner(self) -> ReferenceId | None:
        """The newest `reference_id` that Terra named with the connection; else the one that it was announced for."""
        owner = self.text(Kind.OWNER) or self.text(Kind.ANNOUNCED)
        return None if owner is None else ReferenceId(owner)

    @property
    def is_only_announced(self) -> bool:
        """Whether nothing is known but that Terra issued the `user_id` for a login, which may never be finished."""
        return self.newest.keys() == {Kind.ANNOUNCED}

    @property
    def replaced_by(self) -> UserId | None:
        """The `user_id` that a reconnect made of this one; none if it was connected again by itself since."""
        if self.is_newest(Kind.REPLACED_BY, than=Kind.CONNECTED):
            replacement = self.text(Kind.REPLACED_BY)
            return None if replacement is None else UserId(replacement)
        return None

    @property
    def replaces(self) -> list[UserId]:
        """The `user_id`s that a reconnect was ever said to have made this one of."""
        prefix = Kind.REPLACES.of("")
        return [UserId(kind.removeprefix(prefix)) for kind in self.newest if kind.startswith(prefix)]

    @property
    def scopes(self) -> tuple[str, ...]:
        """The newest full list, with every change that is newer than it; at equal positions removing wins."""
        full = self.newest.get(Kind.SCOPES)
        scopes = set(full.value) if full and isinstance(full.value, tuple) else set()
        prefix = Kind.SCOPE.of("")
        for kind, change in self.newest.items():
            if not kind.startswith(prefix) or (full is not None and change.at < full.at):
                continue
            if change.value == REMOVED:
                scopes.discard(kind.removeprefix(prefix))
            elif full is None or change.at > full.at:
                scopes.add(kind.removeprefix(prefix))
        return tuple(sorted(scopes))

    @property
    def status(self) -> Status:
        """Its own status, of whatever connection it is a part. At equal positions the worse one wins."""
        if self.is_newest(Kind.REVOKED, than=Kind.CONNECTED):
            return Status.REVOKED
        if self.is_newest(Kind.ABSENT, than=Kind.CONNECTED) and self.is_newest(Kind.ABSENT, than=Kind.PRESENT):
            return Status.REVOKED
        if self.is_newest(Kind.ERROR, than=Kind.CONNECTED):
            return Status.NEEDS_REAUTH
        return Status.CONNECTED


def _bounded(newest: dict[str, Fact]) -> dict[str, Fact]:
    """Facts without the oldest of those kinds of which there can be any number.

    So an item stays far below the 400 kB that DynamoDB takes, and a revocation can always be written. Order still makes
    no difference: a fact that is among the newest in the end was among the newest, and kept, at every time before.
    """
    for kind, most in ((Kind.SCOPE, MOST_SCOPES), (Kind.REPLACES, _MOST_REPLACED)):
        prefix = kind.of("")
        fitting = [name for name in newest if name.startswith(prefix) and len(name) <= len(prefix) + LONGEST_SCOPE]
        kept = set(sorted(fitting, key=lambda name: (newest[name].at, name))[-most:])
        newest = {name: fact for name, fact in newest.items() if name in kept or not name.startswith(prefix)}
    return newest


@dataclass(frozen=True, slots=True)
class Change:
    """One item of the table, before and after a write.

    Attributes:
        user_id: whose item.
        old: before; None if it was not there.
        new: after; None if it was removed.
        version: of the item that was written or removed.
        at: when.
    """

    user_id: UserId
    old: Facts | None
    new: Facts | None
    version: int
    at: Position

    @property
    def related(self) -> set[UserId]:
        """The item's own id, and those that it names as parts of the same connection."""
        images = [facts for facts in (self.old, self.new) if facts is not None]
        named = {user_id for facts in images for user_id in (facts.replaced_by, *facts.replaces) if user_id}
        return named | {self.user_id}


@dataclass(frozen=True, slots=True)
class About:
    """What Terra says of a `user_id` beside the main point, as far as it does: silence is no fact."""

    user_id: UserId
    owner: ReferenceId | None = None
    provider: str | None = None
    scopes: Sequence[str] | None = None

    def facts(self, at: Position, **main: Value) -> Facts:
        """These, and the main points, as facts of one position.

        Args:
            at: the event's position.
            main: the main points by their kinds' names; a `connected` among them is also a candidate for the oldest.
        """
        newest = {name: Fact(at, value) for name, value in main.items()}
        if self.owner is not None:
            newest[Kind.OWNER.value] = Fact(at, self.owner)
        if self.provider is not None:
            newest[Kind.PROVIDER.value] = Fact(at, self.provider)
        if self.scopes is not None:
            newest[Kind.SCOPES.value] = Fact(at, tuple(sorted(set(self.scopes))))
        return Facts(self.user_id, newest, first_connected=at if Kind.CONNECTED in main else None)


def announced(user_id: UserId, reference_id: ReferenceId, at: Position) -> Facts:
    """Terra issued a `user_id` for a login of this user. It is the owner until Terra names one with the connection."""
    return Facts(user_id, {Kind.ANNOUNCED.value: Fact(at, reference_id)})


def connected(about: About, at: Position) -> Facts:
    """Terra says, having been asked, that a `user_id` is connected: since when, it does not say."""
    return about.facts(at, connected=None)


def logged_in(about: About, at: Position, *, widget_session_id: str | None = None) -> Facts:
    """Terra says that somebody has just connected a `user_id`."""
    if widget_session_id is None:
        return about.facts(at, connected=None, login=None)
    return about.facts(at, connected=None, login=None, widget_session_id=widget_session_id)


def revoked(about: About, at: Position, *, by: str) -> Facts:
    """Terra says that a `user_id` is disconnected; `by` names the event."""
    return replace(about, scopes=None).facts(at, revoked=by)


def revocations(everything: Iterable[Facts]) -> list[Facts]:
    """What disconnects, and nothing else: no owner, no provider."""
    kind = Kind.REVOKED.value
    return [Facts(facts.user_id, {kind: facts.newest[kind]}) for facts in everything if kind in facts.newest]


def troubled(about: About, at: Position) -> Facts:
    """Terra says that the provider refuses it; the person has to log in again."""
    return replace(about, scopes=None).facts(at, error=None)


def failed(about: About, at: Position, *, reason: str) -> Facts:
    """Terra says that the login of a `user_id` failed: no connection is ended by it."""
    return replace(about, scopes=None).facts(at, failed=reason)


def rescoped(about: About, at: Position, *, added: Sequence[str], removed: Sequence[str]) -> Facts:
    """Terra says that scopes changed: the full list where it is there, else what changed."""
    if about.scopes is not None:
        return about.facts(at)
    changes = dict.fromkeys(map(Kind.SCOPE.of, added), ADDED) | dict.fromkeys(map(Kind.SCOPE.of, removed), REMOVED)
    return about.facts(at, **changes)


def reconnected(new: About, old: About | None, at: Position) -> list[Facts]:
    """Terra says that a `user_id` is connected in place of another one: a link on both, and nothing carried over."""
    if old is None or old.user_id == new.user_id:
        return [logged_in(new, at)]
    link = {Kind.REPLACES.of(old.user_id): None}
    return [
        new.facts(at, connected=None, login=None, **link),
        replace(old, scopes=None).facts(at, replaced_by=new.user_id),
    ]


@dataclass(frozen=True, slots=True)
class Connection:
    """The view of one connection, as the contract's `Connection`."""

    connection_id: str
    user_id: UserId
    reference_id: ReferenceId | None
    provider: str
    status: Status
    scopes: tuple[str, ...]
    connected_at: Position
    updated_at: Position

    def as_json(self) -> dict[str, Any]:
        """The contract's shape."""
        return {
            "connection_id": self.connection_id,
            "user_id": self.user_id,
            "reference_id": self.reference_id,
            "provider": self.provider,
            "status": self.status,
            "scopes": list(self.scopes),
            "connected_at": iso(self.connected_at),
            "updated_at": iso(self.updated_at),
        }


class Family:
    """`user_id`s that reconnects have made of one another, and the connections that they are.

    A link between two people's connections carries nothing over: it ends the older one.
    """

    def __init__(self, everything: Iterable[Facts]) -> None:
        self._members = {facts.user_id: facts for facts in everything}
        self._replacements = {user_id: self._followed(user_id) for user_id in self._members}
        self._goes_by = {user_id: self._last(user_id) for user_id in self._members}

    @property
    def unread(self) -> set[UserId]:
        """What the facts name and is not among them: replacements, and predecessors whose owner may be theirs."""
        named = {facts.replaced_by for facts in self._members.values() if facts.replaced_by}
        named.update(*(facts.replaces for facts in self._members.values() if facts.owner is None))
        return named - self._members.keys()

    def current(self, user_id: UserId) -> UserId:
        """The id that a `user_id` goes by now: its last replacement, or itself."""
        return user_id if self._is_taken_over(user_id) else self._goes_by.get(user_id, user_id)

    def facts(self, user_id: UserId) -> Facts | None:
        """What is known about one `user_id`."""
        return self._members.get(user_id)

    def was_connected(self, user_id: UserId) -> bool:
        """Whether Terra ever said that this very id is connected."""
        facts = self._members.get(user_id)
        return facts is not None and facts.first_connected is not None

    def views(self) -> list[Connection]:
        """Every connection that is known, replaced ids left out."""
        shown = [user_id for user_id in self._members if self.current(user_id) == user_id]
        return [connection for user_id in shown if (connection := self.view(user_id)) is not None]

    def view(self, user_id: UserId) -> Connection | None:
        """The connection that a `user_id` belongs to, or None until Terra has said that it was connected."""
        facts = self._members.get(self.current(user_id))
        if facts is None or facts.first_connected is None:
            return None
        connected_at, root = self._root(facts)
        return Connection(
            connection_id=_connection_id(root),
            user_id=facts.user_id,
            reference_id=self._owner(facts),
            provider=facts.text(Kind.PROVIDER) or UNKNOWN_PROVIDER,
            status=Status.REVOKED if self._is_taken_over(facts.user_id) else facts.status,
            scopes=facts.scopes,
            connected_at=connected_at,
            updated_at=Position(max(fact.at for fact in facts.newest.values())),
        )

    def _owner(self, facts: Facts) -> ReferenceId | None:
        """Whose connection it is: until an event names the owner, that of what it replaced, if those have one owner."""
        if facts.owner is not None:
            return facts.owner
        replaced = [member for member in self._members.values() if facts.user_id in self._replacements[member.user_id]]
        owners = {member.owner for member in replaced} - {None}
        return owners.pop() if len(owners) == 1 else None

    def _root(self, facts: Facts) -> tuple[Position, UserId]:
        """The id that a connection began with, and when: the oldest of those of its owner that replaced none of them.

        Not simply the oldest: where asking Terra found a replacement, that looks two minutes older than it is. In a
        circle, which the links ever said may make, each replaced each; of those it is the oldest.
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
        """What it was ever said to have replaced, directly or not, within a chain."""
        found: set[UserId] = set()
        unread = {user_id}
        while unread:
            unread = {old for new in unread for old in self._members[new].replaces if old in chain} - found
            found |= unread
        return found

    def _followed(self, user_id: UserId) -> list[UserId]:
        """What replaced it, in the order of the links; in a circle of them, itself at last."""
        path: list[UserId] = []
        following = self._link(user_id)
        while following is not None and following not in path:
            path.append(following)
            following = self._link(following)
        return path

    def _last(self, user_id: UserId) -> UserId:
        """The end of the links; in a circle of them, the id that was connected last."""
        path = self._replacements[user_id]
        if not path:
            return user_id
        circle = self._replacements[path[-1]]
        return max(circle, key=lambda member: (self._members[member].at(Kind.CONNECTED) or 0, member), default=path[-1])

    def _link(self, user_id: UserId) -> UserId | None:
        """Its replacement, as far as it is known and not somebody else's."""
        facts = self._members.get(user_id)
        if facts is None or facts.replaced_by not in self._members or self._are_strangers(user_id, facts.replaced_by):
            return None
        return facts.replaced_by

    def _is_taken_over(self, user_id: UserId) -> bool:
        """Whether it was replaced by somebody else's connection."""
        facts = self._members.get(user_id)
        if facts is None:
            return False
        return self._are_strangers(user_id, facts.replaced_by) or self._are_strangers(user_id, self._goes_by[user_id])

    def _are_strangers(self, one: UserId, other: UserId | None) -> bool:
        """Whether both have an owner and it is not the same."""
        owners = [member.owner for user_id in (one, other) if user_id and (member := self._members.get(user_id))]
        return None not in owners and len(set(owners)) > 1


def listing(reference_id: ReferenceId, everything: Iterable[Facts], *, include_revoked: bool) -> list[Connection]:
    """A person's connections, newest first."""
    shown = [
        connection
        for connection in Family(everything).views()
        if connection.reference_id == reference_id and (include_revoked or connection.status is not Status.REVOKED)
    ]
    return sorted(shown, key=lambda c: (-c.connected_at, c.user_id))


def _connection_id(root: UserId) -> str:
    """Ours, derived from the first `user_id` of a connection, so that nothing needs to be stored or to arrive first."""
    return _CONNECTION_ID + hashlib.sha256(b"connection:" + root.encode()).hexdigest()[:24]


def iso(position: int) -> str:
    """Unix milliseconds as the contract's date-time, always UTC."""
    moment = datetime.fromtimestamp(position / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def no_connection(asked: str) -> NotFound:
    """The error for an id of no connection that the caller may see. What it says depends on the id's form alone.

    Args:
        asked: what the caller named; a `connection_id` is a hash, by which nothing is stored.
    """
    message = "There is no such connection."
    if asked.startswith(_CONNECTION_ID):
        message += " This is a connection_id: use the user_id of the connection instead."
    return NotFound(message)
