"""Explains a connection's status to support staff: the facts, where they came from, and what follows from them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from terra_connections.connections.connection import Connection, format_timestamp
from terra_connections.connections.facts import (
    BY_DISCONNECT,
    REMOVED,
    Fact,
    Facts,
    Kind,
    Position,
    Status,
    Value,
)
from terra_connections.connections.lineage import Lineage
from terra_connections.ids import UserId


class Source(StrEnum):
    """Where a fact came from."""

    WEBHOOK = "webhook"
    TERRA_RESPONSE = "terra_response"
    REQUEST = "request"
    IMPORT = "import"
    """`make import`, by an operator."""
    UNKNOWN = "unknown"
    """It arrived in a webhook or in a response of Terra, and no other fact of the same time shows in which."""


_SOURCES = {
    Kind.LOGIN: Source.WEBHOOK,
    Kind.ERROR: Source.WEBHOOK,
    Kind.FAILED: Source.WEBHOOK,
    Kind.REPLACED_BY: Source.WEBHOOK,
    Kind.REPLACES: Source.WEBHOOK,
    Kind.SCOPE: Source.WEBHOOK,
    Kind.WIDGET_SESSION: Source.WEBHOOK,
    Kind.ABSENT: Source.TERRA_RESPONSE,
    Kind.ANNOUNCED: Source.TERRA_RESPONSE,
    Kind.PRESENT: Source.TERRA_RESPONSE,
    Kind.RENAMED: Source.IMPORT,
}
"""The kinds that have one source. The others came together with one of these, or with CONNECTED or REVOKED."""
_SENTENCES = {
    Kind.CONNECTED: "Terra reported it as connected.",
    Kind.LOGIN: "A login at the provider connected it.",
    Kind.ERROR: "The provider rejected Terra's access: the user has to log in again.",
    Kind.ABSENT: "Terra's API did not know it (404).",
    Kind.PRESENT: "Terra's API knew it, without stating that it is authenticated.",
    Kind.OWNER: "Terra named its user.",
    Kind.ANNOUNCED: "Terra issued it for a login of this user.",
    Kind.RENAMED: "An import gave the first reference_id, which Terra sends, to the second one, which the app uses.",
    Kind.PROVIDER: "Terra named its provider.",
    Kind.SCOPES: "Terra sent the full list of its scopes.",
    Kind.REPLACED_BY: "A reconnect replaced it by the user_id in value.",
    Kind.REPLACES: "A reconnect made it replace the user_id in value.",
    Kind.FAILED: "A login of it failed, for the reason in value.",
    Kind.WIDGET_SESSION: "The login was on Terra's own page.",
}
_SECRET = {Kind.WIDGET_SESSION}
"""Kinds whose value is not shown: the id of a widget session is part of the URL of a login page."""


@dataclass(frozen=True, slots=True)
class ExplainedFact:
    """One fact: `Fact` in openapi.yaml."""

    user_id: UserId
    kind: str
    value: Value
    at: Position
    source: Source
    summary: str

    def as_json(self) -> dict[str, Any]:
        """Return the fact in the format of openapi.yaml."""
        return {
            "user_id": self.user_id,
            "kind": self.kind,
            "value": list(self.value) if isinstance(self.value, tuple) else self.value,
            "at": format_timestamp(self.at),
            "source": self.source,
            "summary": self.summary,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """A connection's status, explained: `Explanation` in openapi.yaml.

    Attributes:
        connection: None if Terra has never reported it as connected.
        summary: the status in words.
        facts: the newest first.
    """

    connection: Connection | None
    summary: str
    facts: tuple[ExplainedFact, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the explanation in the format of openapi.yaml."""
        return {
            "connection": None if self.connection is None else self.connection.as_json(),
            "summary": self.summary,
            "facts": [fact.as_json() for fact in self.facts],
        }


def explain(user_id: UserId, history: Lineage) -> Explanation:
    """Explain the status of the connection of a `user_id`, which is in its history."""
    members = history.members(user_id)
    facts = [fact for member in members for fact in _explained(member)]
    return Explanation(
        history.view(user_id),
        " ".join(_sentences(user_id, history)),
        tuple(sorted(facts, key=lambda fact: (-fact.at, fact.user_id, fact.kind, str(fact.value)))),
    )


# -- the facts ---------------------------------------------------------------------------------------------------------


def _explained(facts: Facts) -> Iterator[ExplainedFact]:
    sources = _sources(facts)
    for stored_kind, fact in facts.newest.items():
        kind, parameter = _kind(stored_kind)
        source = _source(kind, fact, facts) or sources.get(fact.at, Source.UNKNOWN)
        name, value, summary = _shown(kind, parameter, fact.value)
        yield ExplainedFact(facts.user_id, name, value, fact.at, source, summary)
    if (first := facts.first_connected) is not None:
        summary = "The oldest time at which Terra reported it as connected."
        yield ExplainedFact(facts.user_id, "first_connected", None, first, sources.get(first, Source.UNKNOWN), summary)


def _shown(kind: Kind, parameter: str | None, value: Value) -> tuple[str, Value, str]:
    """Return the kind, value and summary of a fact in the API."""
    if kind is Kind.SCOPE:
        is_removed = value == REMOVED
        summary = f"The user {'withdrew' if is_removed else 'granted'} this scope."
        return "scope_removed" if is_removed else "scope_added", parameter, summary
    if kind is Kind.REVOKED:
        return kind.value, value, _revocation(value)
    return kind.value, None if kind in _SECRET else parameter or value, _SENTENCES[kind]


def _sources(facts: Facts) -> Mapping[Position, Source]:
    """Return the source of each position at which Terra sent something of one source only."""
    found: dict[Position, Source] = {}
    for stored_kind, fact in facts.newest.items():
        kind, _ = _kind(stored_kind)
        source = _source(kind, fact, facts)
        # Neither of these comes with further facts.
        if source not in (None, Source.REQUEST, Source.IMPORT) and kind is not Kind.ANNOUNCED:
            found[fact.at] = source if found.get(fact.at, source) is source else Source.UNKNOWN
    return found


def _source(kind: Kind, fact: Fact, facts: Facts) -> Source | None:
    if kind is Kind.CONNECTED:
        return Source.WEBHOOK if facts.at(Kind.LOGIN) == fact.at else Source.TERRA_RESPONSE
    if kind is Kind.REVOKED:
        return Source.REQUEST if fact.value == BY_DISCONNECT else Source.WEBHOOK
    return _SOURCES.get(kind)


def _kind(name: str) -> tuple[Kind, str | None]:
    """Return the kind, and the scope or `user_id` that is part of its name."""
    kind, colon, parameter = name.partition(":")
    return Kind(kind), parameter if colon else None


def _revocation(by: Value) -> str:
    if by == BY_DISCONNECT:
        return "A request to this API disconnected it."
    return f"Terra reported that it was disconnected (event {by})."


# -- the status --------------------------------------------------------------------------------------------------------


def _sentences(user_id: UserId, history: Lineage) -> Iterator[str]:
    current = history.current(user_id)
    facts, connection = history.facts(current) or Facts(current), history.view(user_id)
    yield _status(facts, connection, is_of_other_owner=history.was_replaced_by_other_owner(current))
    if current != user_id:
        yield f"A reconnect replaced {user_id} by {current}."
    elif (replaced := len(history.members(user_id)) - 1) > 0:
        yield f"It replaced {replaced} older user_id{'s' * (replaced != 1)} of the same connection."
    if connection is not None and connection.reference_id is None:
        yield "Terra has not named its user, so it is in no user's list."


def _status(facts: Facts, connection: Connection | None, *, is_of_other_owner: bool) -> str:
    if connection is None:
        failed = facts.text(Kind.FAILED)
        ending = "" if failed is None else f" Its last failed login has the reason {failed}."
        return f"Not a connection: Terra has never reported this user_id as connected.{ending}"
    if is_of_other_owner:
        return "Revoked: a reconnect replaced it by a connection of another user."
    decisive, why, unless = _decisive(facts)
    title = {Status.CONNECTED: "Connected", Status.NEEDS_REAUTH: "Needs a new login", Status.REVOKED: "Revoked"}
    at = format_timestamp(facts.newest[decisive].at)
    return f"{title[facts.status]} since {at}. {why} {unless}"


def _decisive(facts: Facts) -> tuple[Kind, str, str]:
    """Return the kind of the fact that decides the status, what it states, and what did not follow it."""
    not_again = "Nothing newer connected it again."
    if facts.status is Status.NEEDS_REAUTH:
        return Kind.ERROR, _SENTENCES[Kind.ERROR], not_again
    if facts.status is Status.CONNECTED:
        is_login = facts.at(Kind.LOGIN) == facts.at(Kind.CONNECTED)
        why = _SENTENCES[Kind.LOGIN] if is_login else "Terra's API returned it as connected."
        return Kind.CONNECTED, why, "Nothing newer ended it."
    if facts.is_newest(Kind.REVOKED, than=Kind.CONNECTED):
        return Kind.REVOKED, _revocation(facts.text(Kind.REVOKED)), not_again
    return Kind.ABSENT, _SENTENCES[Kind.ABSENT], "Nothing newer shows that it exists."
