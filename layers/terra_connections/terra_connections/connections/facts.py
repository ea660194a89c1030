"""What is known about one Terra `user_id`: facts that can arrive in any order.

Of each kind of fact only the newest is kept, by its position; merging is a maximum per kind. It is therefore
commutative, associative and idempotent, and that alone is why webhooks may come twice, late and in any order.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from terra_connections.ids import ReferenceId, UserId

Position = NewType("Position", int)
"""A moment in unix milliseconds by which facts of one kind are ordered."""
Value = str | tuple[str, ...] | None
ADDED, REMOVED = "added", "removed"
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


def scopes_from(value: object) -> tuple[str, ...] | None:
    """A user's scopes as Terra sends them, comma-separated. More than any provider has is silence, as nonsense is."""
    if not isinstance(value, str) or len(value) > MOST_SCOPES * (LONGEST_SCOPE + 2):
        return None
    scopes = tuple(scope.strip() for scope in value.split(",") if scope.strip())
    if len(scopes) > MOST_SCOPES or any(len(scope) > LONGEST_SCOPE for scope in scopes) or not _storable(value):
        return None
    return scopes


def _storable(text: str) -> bool:
    """Whether DynamoDB can hold it: JSON can spell lone surrogates, UTF-8 cannot."""
    return text.isprintable()
