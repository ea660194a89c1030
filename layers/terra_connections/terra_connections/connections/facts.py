"""The facts about one Terra `user_id`, which can arrive in any order.

Only the newest fact of each kind is kept, by its position; merging is a maximum per kind. It is therefore
commutative, associative and idempotent. This is why webhooks may arrive twice, late and in any order.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import NewType

from terra_connections.ids import ReferenceId, UserId

Position = NewType("Position", int)
"""A time in Unix milliseconds that orders the facts of one kind."""
VERIFICATION_LAG = timedelta(minutes=2)
"""Terra's responses may be this stale. Facts from them are dated back, so that newer events take precedence."""
Value = str | tuple[str, ...] | None
ADDED, REMOVED = "added", "removed"
BY_DISCONNECT = "disconnect"
"""The value of a revocation by DELETE /connections/{user_id}. Every other value is the type of Terra's event."""
MOST_SCOPES = 200
"""More than any provider has."""
LONGEST_SCOPE = 128  # characters
_MOST_REPLACED = 100
"""The number of keys that one BatchGetItem reads."""


class Kind(StrEnum):
    """The kinds of facts about a Terra `user_id`.

    ABSENT and PRESENT come from calls to Terra: ABSENT if it did not know the `user_id`, PRESENT if it listed or
    returned it. LOGIN is a login that connected it. CONNECTED is a login, or a call to Terra that found it connected.
    ANNOUNCED is the user for which Terra issued the `user_id` before a login, from the response to authenticateUser.
    RENAMED is the operator's mapping of one `reference_id` at Terra to the app's own one, from `make import`.
    SCOPE and REPLACES are prefixes of one kind for each scope and each replaced `user_id`: see `of`.
    """

    CONNECTED = "connected"
    LOGIN = "login"
    ERROR = "error"
    REVOKED = "revoked"
    ABSENT = "absent"
    PRESENT = "present"
    OWNER = "owner"
    ANNOUNCED = "announced_for"
    RENAMED = "renamed"
    PROVIDER = "provider"
    SCOPES = "scopes"
    SCOPE = "scope"
    REPLACED_BY = "replaced_by"
    REPLACES = "replaces"
    FAILED = "failed"
    WIDGET_SESSION = "widget_session_id"

    def of(self, name: str) -> str:
        """Return the kind for one scope, or for one replaced `user_id`."""
        return f"{self.value}:{name}"


class Status(StrEnum):
    """A connection's status, as in openapi.yaml."""

    CONNECTED = "connected"
    NEEDS_REAUTH = "needs_reauth"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was true at a position; `value` is None for kinds without a value."""

    at: Position
    value: Value = None

    @property
    def rank(self) -> tuple[int, bytes]:
        """The newer fact wins; at equal positions the greater canonical bytes, so that order makes no difference."""
        return self.at, json.dumps(self.value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts about one Terra `user_id`, except for scopes and links beyond a limit: see `_bounded`.

    Attributes:
        user_id: the id.
        newest: the newest fact of each kind.
        first_connected: the oldest position at which it was connected.
    """

    user_id: UserId
    newest: Mapping[str, Fact] = field(default_factory=dict)
    first_connected: Position | None = None

    def merged(self, other: "Facts") -> "Facts":
        """Return both sets of facts merged; order and repetition make no difference."""
        newest = dict(self.newest)
        for kind, fact in other.newest.items():
            known = newest.get(kind)
            if known is None or fact.rank > known.rank:
                newest[kind] = fact
        positions = [at for at in (self.first_connected, other.first_connected) if at is not None]
        return Facts(self.user_id, _bounded(newest), min(positions, default=None))

    def at(self, kind: Kind) -> Position | None:
        """Return the position of the newest fact of a kind."""
        fact = self.newest.get(kind)
        return fact.at if fact else None

    def is_newest(self, kind: Kind, *, than: Kind) -> bool:
        """Whether the newest fact of a kind is at least as new as that of another kind."""
        at, other = self.at(kind), self.at(than)
        return at is not None and (other is None or at >= other)

    def text(self, kind: Kind) -> str | None:
        """Return the value of the newest fact of a kind, for kinds whose value is one string."""
        fact = self.newest.get(kind)
        return fact.value if fact and isinstance(fact.value, str) else None

    @property
    def owner(self) -> ReferenceId | None:
        """The newest `reference_id` that Terra sent with the connection; else the one that it was announced for.

        If the app uses another `reference_id` for that one, it is the app's.
        """
        owner = self.text(Kind.OWNER) or self.text(Kind.ANNOUNCED)
        renamed = self.newest.get(Kind.RENAMED)
        if renamed is not None and isinstance(renamed.value, tuple) and renamed.value[0] == owner:
            owner = renamed.value[1]
        return None if owner is None else ReferenceId(owner)

    @property
    def is_only_announced(self) -> bool:
        """Whether the only fact is that Terra issued the `user_id` for a login, which may never be finished."""
        return self.newest.keys() == {Kind.ANNOUNCED}

    @property
    def replaced_by(self) -> UserId | None:
        """The successor after a reconnect; None if this `user_id` itself was connected again later."""
        if self.is_newest(Kind.REPLACED_BY, than=Kind.CONNECTED):
            replacement = self.text(Kind.REPLACED_BY)
            return None if replacement is None else UserId(replacement)
        return None

    @property
    def replaces(self) -> list[UserId]:
        """All `user_id`s that this one directly replaced in a reconnect."""
        prefix = Kind.REPLACES.of("")
        return [UserId(kind.removeprefix(prefix)) for kind in self.newest if kind.startswith(prefix)]

    @property
    def scopes(self) -> tuple[str, ...]:
        """The newest full list with all newer changes applied; at equal positions a removal wins."""
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
        """The status of this `user_id` alone, not of its connection. At equal positions the worse one wins."""
        if self.is_newest(Kind.REVOKED, than=Kind.CONNECTED):
            return Status.REVOKED
        if self.is_newest(Kind.ABSENT, than=Kind.CONNECTED) and self.is_newest(Kind.ABSENT, than=Kind.PRESENT):
            return Status.REVOKED
        if self.is_newest(Kind.ERROR, than=Kind.CONNECTED):
            return Status.NEEDS_REAUTH
        return Status.CONNECTED


def _bounded(newest: dict[str, Fact]) -> dict[str, Fact]:
    """Return the facts without the oldest scopes and links beyond the limits.

    An item thus stays far below DynamoDB's limit of 400 kB, and a revocation can always be written. Order still makes
    no difference: a fact that is among the newest at the end was among them in every earlier merge, and never dropped.
    """
    for kind, most in ((Kind.SCOPE, MOST_SCOPES), (Kind.REPLACES, _MOST_REPLACED)):
        prefix = kind.of("")
        fitting = [name for name in newest if name.startswith(prefix) and len(name) <= len(prefix) + LONGEST_SCOPE]
        kept = set(sorted(fitting, key=lambda name: (newest[name].at, name))[-most:])
        newest = {name: fact for name, fact in newest.items() if name in kept or not name.startswith(prefix)}
    return newest


@dataclass(frozen=True, slots=True)
class TerraUser:
    """Additional data about a `user_id` in an event or response of Terra. Fields that are None create no fact."""

    user_id: UserId
    owner: ReferenceId | None = None
    provider: str | None = None
    scopes: Sequence[str] | None = None

    def facts(self, at: Position, *kinds: str, values: Mapping[str, Value] | None = None) -> Facts:
        """Return the reported facts, and this data with them, as facts of one position.

        Args:
            at: the event's position.
            kinds: kinds of facts that have no value. CONNECTED is also a candidate for `first_connected`.
            values: the values of further kinds.
        """
        newest = {str(kind): Fact(at) for kind in kinds}
        newest |= {str(kind): Fact(at, value) for kind, value in (values or {}).items()}
        if self.owner is not None:
            newest[Kind.OWNER.value] = Fact(at, self.owner)
        if self.provider is not None:
            newest[Kind.PROVIDER.value] = Fact(at, self.provider)
        if self.scopes is not None:
            newest[Kind.SCOPES.value] = Fact(at, tuple(sorted(set(self.scopes))))
        return Facts(self.user_id, newest, first_connected=at if Kind.CONNECTED in kinds else None)


def announcement_facts(user_id: UserId, reference_id: ReferenceId, at: Position) -> Facts:
    """Terra issued a `user_id` for a login of this user, who owns it until Terra sends an owner with the connection."""
    return Facts(user_id, {Kind.ANNOUNCED.value: Fact(at, reference_id)})


def rename_facts(user_id: UserId, at_terra: ReferenceId, in_app: ReferenceId, at: Position) -> Facts:
    """The app uses another `reference_id` for the one at Terra, which Terra's later events continue to contain."""
    return Facts(user_id, {Kind.RENAMED.value: Fact(at, (at_terra, in_app))})


def confirmed_facts(user: TerraUser, at: Position) -> Facts:
    """Terra returned that a `user_id` is connected, without the time of the login."""
    return user.facts(at, Kind.CONNECTED)


def login_facts(user: TerraUser, at: Position, *, widget_session_id: str | None = None) -> Facts:
    """Terra reports that a login has just connected a `user_id`."""
    values: dict[str, Value] = {} if widget_session_id is None else {Kind.WIDGET_SESSION: widget_session_id}
    return user.facts(at, Kind.CONNECTED, Kind.LOGIN, values=values)


def revocation_facts(user: TerraUser, at: Position, *, by: str) -> Facts:
    """Terra reports that a `user_id` is disconnected; `by` is the name of the event."""
    return replace(user, scopes=None).facts(at, values={Kind.REVOKED: by})


def only_revocations(everything: Iterable[Facts]) -> list[Facts]:
    """Return only the revocations, without owners and providers."""
    kind = Kind.REVOKED.value
    return [Facts(facts.user_id, {kind: facts.newest[kind]}) for facts in everything if kind in facts.newest]


def error_facts(user: TerraUser, at: Position) -> Facts:
    """Terra reports that the provider rejects the connection; the user has to log in again."""
    return replace(user, scopes=None).facts(at, Kind.ERROR)


def login_failure_facts(user: TerraUser, at: Position, *, reason: str) -> Facts:
    """Terra reports that the login of a `user_id` failed. This does not end a connection."""
    return replace(user, scopes=None).facts(at, values={Kind.FAILED: reason})


def scope_change_facts(user: TerraUser, at: Position, *, added: Sequence[str], removed: Sequence[str]) -> Facts:
    """Terra reports changed scopes: the full list if the event contains it, else the changes."""
    if user.scopes is not None:
        return user.facts(at)
    changes = dict.fromkeys(map(Kind.SCOPE.of, added), ADDED) | dict.fromkeys(map(Kind.SCOPE.of, removed), REMOVED)
    return user.facts(at, values=changes)


def reconnect_facts(new: TerraUser, old: TerraUser | None, at: Position) -> list[Facts]:
    """Terra reports that a `user_id` replaces another one: both get a link, and no other facts are copied."""
    if old is None or old.user_id == new.user_id:
        return [login_facts(new, at)]
    return [
        new.facts(at, Kind.CONNECTED, Kind.LOGIN, Kind.REPLACES.of(old.user_id)),
        replace(old, scopes=None).facts(at, values={Kind.REPLACED_BY: new.user_id}),
    ]


def scopes_from(value: object) -> tuple[str, ...] | None:
    """Parse the comma-separated scopes of a user. Invalid values, or more than any provider has, return None."""
    if not isinstance(value, str) or len(value) > MOST_SCOPES * (LONGEST_SCOPE + 2):
        return None
    scopes = tuple(scope.strip() for scope in value.split(",") if scope.strip())
    if len(scopes) > MOST_SCOPES or any(len(scope) > LONGEST_SCOPE for scope in scopes) or not _storable(value):
        return None
    return scopes


def _storable(text: str) -> bool:
    """Whether DynamoDB can store it: JSON can contain lone surrogates, UTF-8 cannot."""
    return text.isprintable()
