"""One connected wearable and its life: facts that can arrive in any order, and the view computed from them.

Of each kind of fact only the newest is kept, by its position; merging is a maximum per kind. It is therefore
commutative, associative and idempotent, and that alone is why webhooks may come twice, late and in any order.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NewType

from terra_connections.ids import ReferenceId, UserId

Position = NewType("Position", int)
"""A moment in unix milliseconds by which facts of one kind are ordered."""

Value = str | tuple[str, ...] | None

UNKNOWN_PROVIDER = "UNKNOWN"


class Kind(StrEnum):
    """What can be known about a Terra `user_id`."""

    CONNECTED = "connected"
    REVOKED = "revoked"
    OWNER = "owner"
    PROVIDER = "provider"
    SCOPES = "scopes"
    FAILED = "failed"
    WIDGET_SESSION = "widget_session_id"


class Status(StrEnum):
    """A connection's state, as the contract names it."""

    CONNECTED = "connected"
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
    """All that is known about one Terra `user_id`.

    Attributes:
        user_id: whom it is about.
        newest: the newest fact of each kind.
        first_connected: the oldest position at which it was connected.
    """

    user_id: UserId
    newest: Mapping[Kind, Fact] = field(default_factory=dict)
    first_connected: Position | None = None

    def merged(self, other: "Facts") -> "Facts":
        """Both sets of facts together; order and repetition make no difference."""
        newest = dict(self.newest)
        for kind, fact in other.newest.items():
            known = newest.get(kind)
            if known is None or fact.rank > known.rank:
                newest[kind] = fact
        positions = [at for at in (self.first_connected, other.first_connected) if at is not None]
        return Facts(self.user_id, newest, min(positions, default=None))

    def at(self, kind: Kind) -> Position | None:
        """The position of the newest fact of a kind."""
        fact = self.newest.get(kind)
        return fact.at if fact else None

    def text(self, kind: Kind) -> str | None:
        """What the newest fact of a kind says, for kinds that say one text."""
        fact = self.newest.get(kind)
        return fact.value if fact and isinstance(fact.value, str) else None

    @property
    def owner(self) -> ReferenceId | None:
        """The newest `reference_id` that Terra named, if it ever named one."""
        owner = self.text(Kind.OWNER)
        return None if owner is None else ReferenceId(owner)


def connected(
    user_id: UserId,
    at: Position,
    *,
    owner: ReferenceId | None,
    provider: str | None,
    scopes: Sequence[str] | None = None,
    widget_session_id: str | None = None,
) -> Facts:
    """What Terra says by telling that a `user_id` is connected."""
    newest = {Kind.CONNECTED: Fact(at), **_about(at, owner, provider, scopes)}
    if widget_session_id is not None:
        newest[Kind.WIDGET_SESSION] = Fact(at, widget_session_id)
    return Facts(user_id, newest, first_connected=at)


def revoked(user_id: UserId, at: Position, *, owner: ReferenceId | None, provider: str | None, by: str) -> Facts:
    """What Terra says by telling that a `user_id` is disconnected; `by` names the event."""
    return Facts(user_id, {Kind.REVOKED: Fact(at, by), **_about(at, owner, provider, None)})


def failed(user_id: UserId, at: Position, *, owner: ReferenceId | None, provider: str | None, reason: str) -> Facts:
    """What Terra says by telling that the login of a `user_id` failed: no connection is ended by it."""
    return Facts(user_id, {Kind.FAILED: Fact(at, reason), **_about(at, owner, provider, None)})


def _about(
    at: Position, owner: ReferenceId | None, provider: str | None, scopes: Sequence[str] | None
) -> dict[Kind, Fact]:
    """What an event says beside its main point, as far as it does: silence is no fact."""
    about: dict[Kind, Fact] = {}
    if owner is not None:
        about[Kind.OWNER] = Fact(at, owner)
    if provider is not None:
        about[Kind.PROVIDER] = Fact(at, provider)
    if scopes is not None:
        about[Kind.SCOPES] = Fact(at, tuple(sorted(set(scopes))))
    return about


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


def view(facts: Facts) -> Connection | None:
    """What people see of a `user_id`: nothing until Terra has said that it was connected."""
    connected_at = facts.at(Kind.CONNECTED)
    if connected_at is None or facts.first_connected is None:
        return None
    revoked_at = facts.at(Kind.REVOKED)
    scopes = facts.newest.get(Kind.SCOPES)
    return Connection(
        connection_id=_connection_id(facts.user_id),
        user_id=facts.user_id,
        reference_id=facts.owner,
        provider=facts.text(Kind.PROVIDER) or UNKNOWN_PROVIDER,
        # At equal positions revoking wins.
        status=Status.REVOKED if revoked_at is not None and revoked_at >= connected_at else Status.CONNECTED,
        scopes=scopes.value if scopes and isinstance(scopes.value, tuple) else (),
        connected_at=facts.first_connected,
        updated_at=Position(max(fact.at for fact in facts.newest.values())),
    )


def listing(everything: Iterable[Facts], *, include_revoked: bool) -> list[Connection]:
    """A person's connections, newest first."""
    connections = [connection for facts in everything if (connection := view(facts)) is not None]
    shown = [c for c in connections if include_revoked or c.status is not Status.REVOKED]
    return sorted(shown, key=lambda c: (-c.connected_at, c.user_id))


def _connection_id(root: UserId) -> str:
    """Ours, derived from the first `user_id` of a connection, so that nothing needs to be stored or to arrive first."""
    return "con_" + hashlib.sha256(b"connection:" + root.encode()).hexdigest()[:24]


def iso(position: int) -> str:
    """Unix milliseconds as the contract's date-time, always UTC."""
    moment = datetime.fromtimestamp(position / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
