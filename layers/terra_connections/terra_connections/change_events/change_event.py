"""What whoever listens is told: one event for each change of what GET /connections shows.

The table's stream tells of one item at a time, before and after; a connection may be several of them. So both views are
computed with everything related as it is now, and only this item swapped. A reconnect writes a link on two items, which
come as two records, in any order and perhaps hours apart: the link is counted with the record of the new `user_id`,
and with that alone, so that it is told once.

Nothing is remembered: a record that comes again gives the same events, under the same ids. What Terra should never say
(one id replaced by two others, in a circle, or under a new owner) may be told once too often, and never too seldom.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from terra_connections.connections.change import Change
from terra_connections.connections.connection import Connection, iso
from terra_connections.connections.facts import Facts, Kind, Position, Status
from terra_connections.connections.lineage import Family, listing
from terra_connections.ids import ReferenceId, UserId


class Type(StrEnum):
    """What happened to a connection."""

    CONNECTED = "connected"
    NEEDS_REAUTH = "needs_reauth"
    RECOVERED = "recovered"
    SCOPES_CHANGED = "scopes_changed"
    RECONNECTED = "reconnected"
    CORRECTED = "corrected"
    DISCONNECTED = "disconnected"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Event:
    """What is told of one connection to whoever cares for this person."""

    event_id: str
    type: Type
    reference_id: ReferenceId
    connection: Connection
    previous: Connection | None
    at: Position

    def detail(self, connections: Sequence[Connection]) -> dict[str, Any]:
        """The event as docs/events.md has it, with the person's full current list."""
        told: dict[str, Any] = {
            "event_id": self.event_id,
            "type": self.type,
            "reference_id": self.reference_id,
            "connection": self.connection.as_json(),
            "connections": [connection.as_json() for connection in connections],
            "at": iso(self.at),
        }
        if self.previous is not None:
            told["previous"] = {"connection_id": self.previous.connection_id, "user_id": self.previous.user_id}
        return told


def events(change: Change, related: Iterable[Facts]) -> list[Event]:
    """What to tell about a change.

    Args:
        change: the item that was written.
        related: every item that belongs to the same connections, as they are now.
    """
    others = {facts.user_id: facts for facts in related if facts.user_id != change.user_id}
    if change.new is None and change.old and _went_by_another(change.old, others):
        return []
    before = _family(change.user_id, _with_its_link(change, others), others)
    after = _family(change.user_id, change.new, others)
    removed = change.user_id if change.new is None else None
    told = [told for was, now in _pairs(before, after) for told in _told(was, now, removed)]
    return [
        Event(_event_id(change, told, number), told.type, told.reference_id, told.connection, told.previous, change.at)
        for number, told in enumerate(told)
    ]


def current(event: Event, change: Change, of_person: Iterable[Facts], related: Iterable[Facts]) -> list[Connection]:
    """A person's full list now: by the index, which may lag, with what was read consistently in its place."""
    known = {facts.user_id: facts for facts in of_person if facts.user_id not in change.related}
    known |= {facts.user_id: facts for facts in related}
    return listing(event.reference_id, known.values(), include_revoked=False)


# --- both views ------------------------------------------------------------------------------------------------------


def _family(user_id: UserId, image: Facts | None, others: Mapping[UserId, Facts]) -> Family:
    """Everything with one image of the changed item, and the links to it that this image knows of."""
    members = [_without_later_link(facts, user_id, image) for facts in others.values()]
    return Family([*members, *([image] if image else [])])


def _without_later_link(facts: Facts, user_id: UserId, image: Facts | None) -> Facts:
    """An item without its link to the changed one, where that link is none of the image's time."""
    if image is None or facts.replaced_by != user_id:
        return facts
    link, connected = image.newest.get(Kind.REPLACES.of(facts.user_id)), facts.at(Kind.CONNECTED)
    if link and (connected is None or link.at >= connected):
        return facts
    return replace(facts, newest={kind: fact for kind, fact in facts.newest.items() if kind != Kind.REPLACED_BY})


def _went_by_another(facts: Facts, others: Mapping[UserId, Facts]) -> bool:
    """Whether a removed item was replaced by one that was removed, too, whose record tells of the connection.

    In a circle each of them may have been the last one: each is told.
    """
    replacement = facts.replaced_by
    return replacement is not None and replacement not in others and replacement not in facts.replaces


def _with_its_link(change: Change, others: Mapping[UserId, Facts]) -> Facts | None:
    """The image before, with the link that is counted with its replacement's record, and what came with it."""
    old, new = change.old, change.new
    if old is None or new is None or new.replaced_by is None or old.owner not in (None, new.owner):
        return old
    if old.replaced_by not in (None, new.replaced_by):
        return old  # It was another one's until now, of which only this record tells.
    link, replacement = new.newest[Kind.REPLACED_BY], others.get(new.replaced_by)
    counted = replacement.newest.get(Kind.REPLACES.of(change.user_id)) if replacement else None
    if counted is None or counted.at < link.at:
        return old
    came_along = {kind.value: new.newest[kind] for kind in (Kind.OWNER, Kind.PROVIDER) if kind in new.newest}
    return replace(old, newest={**came_along, **old.newest, Kind.REPLACED_BY.value: link})


def _pairs(before: Family, after: Family) -> Iterator[tuple[Connection | None, Connection | None]]:
    """Each connection before with what it is after: by its own id, else by its `user_id`."""
    gone = {connection.connection_id: connection for connection in before.views()}
    come = {connection.connection_id: connection for connection in after.views()}
    listed = {(connection.user_id, connection.reference_id) for connection in come.values() if _is_listed(connection)}
    for connection_id in sorted(gone.keys() & come.keys()):
        yield gone.pop(connection_id), come.pop(connection_id)
    by_user_id = {connection.user_id: connection for connection in come.values()}
    for was in gone.values():
        now = by_user_id.pop(was.user_id, None)
        if now is None and (after.current(was.user_id), was.reference_id) in listed:
            continue  # It has become a part of another one, which tells of itself.
        yield was, now
    for now in by_user_id.values():
        yield None, now


# --- what to call it -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Told:
    type: Type
    reference_id: ReferenceId
    connection: Connection
    previous: Connection | None = None


def _told(was: Connection | None, now: Connection | None, removed: UserId | None) -> Iterator[_Told]:
    """One event, or none; where a connection moved to another person, one for each of the two."""
    if was and was.user_id == removed:
        if was.reference_id is not None:
            yield _Told(Type.ERASED, was.reference_id, was)
        return
    is_same_person = was is not None and now is not None and was.reference_id == now.reference_id
    if was and was.reference_id and _is_listed(was) and not (is_same_person and _is_listed(now)):
        ended = now if now and is_same_person and _ids(now) == _ids(was) else replace(was, status=Status.REVOKED)
        yield _Told(Type.DISCONNECTED, was.reference_id, ended)
    if now and now.reference_id and _is_listed(now):
        type_ = _type(was if is_same_person else None, now)
        if type_:
            is_renamed = was is not None and is_same_person and _ids(was) != _ids(now)
            yield _Told(type_, now.reference_id, now, was if is_renamed else None)


def _type(was: Connection | None, now: Connection) -> Type | None:
    """What to call that a connection is listed as it is now."""
    if was and was.user_id != now.user_id:
        return Type.RECONNECTED
    if was is None or was.status is not now.status:
        if now.status is Status.NEEDS_REAUTH:
            return Type.NEEDS_REAUTH
        return Type.RECOVERED if was and _is_listed(was) else Type.CONNECTED
    if was.scopes != now.scopes:
        return Type.SCOPES_CHANGED
    # Only `updated_at` is left, and it changes with whatever Terra says.
    is_same = (was.connection_id, was.provider, was.connected_at) == (now.connection_id, now.provider, now.connected_at)
    return None if is_same else Type.CORRECTED


def _is_listed(connection: Connection | None) -> bool:
    return connection is not None and connection.status is not Status.REVOKED


def _ids(connection: Connection) -> tuple[str, UserId]:
    return connection.connection_id, connection.user_id


def _event_id(change: Change, told: _Told, number: int) -> str:
    """Ours, of what was written and what is told of it: the same whenever the record comes again."""
    parts = [change.user_id, change.version, change.new is None, told.type, told.reference_id, number]
    return "evt_" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
