"""The events on the event bus: one for each change of a connection in GET /connections, and `went_quiet`.

A record of the table's stream contains one item, before and after a write; a connection may consist of several items.
Both views are therefore computed from the current related items, with only this item swapped. A reconnect writes a link
on two items. Their records arrive in any order and perhaps hours apart. The link is counted only with the record of the
new `user_id`, so that it causes one event.

No state is kept: a repeated record gives the same events, with the same ids. Data that Terra should never send (one id
replaced by two others, in a circle, or under a new owner) may cause a duplicate event, but never a missing one.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Any

from terra_connections.connections.change import Change
from terra_connections.connections.connection import Connection, format_timestamp
from terra_connections.connections.facts import Facts, Kind, Position, Status
from terra_connections.connections.lineage import Lineage, listed_connections
from terra_connections.ids import ReferenceId, UserId


class ChangeType(StrEnum):
    """The type of an event."""

    CONNECTED = "connected"
    NEEDS_REAUTH = "needs_reauth"
    RECOVERED = "recovered"
    SCOPES_CHANGED = "scopes_changed"
    RECONNECTED = "reconnected"
    CORRECTED = "corrected"
    DISCONNECTED = "disconnected"
    ERASED = "erased"
    WENT_QUIET = "went_quiet"


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """One change of a connection of one user.

    Attributes:
        previous: the connection before, if one of its ids has changed.
        replaces: the other listed connections that have become a part of this one.
        at: the time of the write, which DynamoDB rounds down to the second; of `went_quiet`, that of the check.
        quiet_since: the day since which the connection is quiet (`data.quiet`), for `went_quiet` only.
    """

    event_id: str
    type: ChangeType
    reference_id: ReferenceId
    connection: Connection
    previous: Connection | None
    replaces: tuple[Connection, ...]
    at: Position
    quiet_since: date | None = None

    def detail(self, connections: Sequence[Connection], position: Position) -> dict[str, Any]:
        """Return the detail of the event, as in docs/events.md.

        Args:
            connections: the user's full current list of connections.
            position: the time when reading the list began: the list with the greater position is the newer one.
        """
        detail: dict[str, Any] = {
            "event_id": self.event_id,
            "type": self.type,
            "reference_id": self.reference_id,
            "connection": self.connection.as_json(),
            "connections": [connection.as_json() for connection in connections],
            "position": position,
            "at": format_timestamp(self.at),
        }
        if self.previous is not None:
            detail["previous"] = _ids_as_json(self.previous)
        if self.replaces:
            detail["replaces"] = [_ids_as_json(connection) for connection in self.replaces]
        if self.quiet_since is not None:
            detail["quiet_since"] = self.quiet_since.isoformat()
        if self.connection.status is Status.NEEDS_REAUTH and self.type is not ChangeType.ERASED:
            detail["repair"] = {"method": "POST", "path": "/sessions", "body": {"user_id": self.connection.user_id}}
        return detail


def change_events(change: Change, related: Iterable[Facts]) -> list[ChangeEvent]:
    """Return the events of a change.

    Args:
        change: the item that was written.
        related: every item of the same connections, in its current state.
    """
    others = {facts.user_id: facts for facts in related if facts.user_id != change.user_id}
    if change.new is None and change.old and _went_by_another(change.old, others):
        return []
    if _only_stores_derived_owner(change):
        return []
    before = _family(change.user_id, _with_its_link(change, others), others)
    after = _family(change.user_id, change.new, others)
    removed = change.user_id if change.new is None else None
    drafts = [draft for pair in _pairs(before, after) for draft in _drafts(pair, removed)]
    return [
        ChangeEvent(
            _event_id(change, draft, number),
            draft.type,
            draft.reference_id,
            draft.connection,
            draft.previous,
            draft.replaces,
            change.at,
        )
        for number, draft in enumerate(drafts)
    ]


def current_connections(
    event: ChangeEvent, change: Change, of_user: Iterable[Facts], related: Iterable[Facts]
) -> list[Connection]:
    """Return a user's full current list: items of the index, which may lag, replaced by consistently read ones.

    An erasure removes a connection's items one by one. An item whose successor is gone is about to be removed, and its
    own record causes no event: it is not listed, so that the last list is complete.
    """
    known = {facts.user_id: facts for facts in of_user if facts.user_id not in change.related}
    known |= {facts.user_id: facts for facts in related}
    left = [
        facts
        for facts in known.values()
        if facts.replaced_by is None or facts.replaced_by in known or facts.user_id == event.connection.user_id
    ]
    return listed_connections(event.reference_id, left, include_revoked=False)


def claimed_by(change: Change, related: Iterable[Facts]) -> ReferenceId | None:
    """Return the owner of a `user_id` whose owner was unknown until this change; None if there is no such change."""
    if change.new is None:
        return None
    others = {facts.user_id: facts for facts in related if facts.user_id != change.user_id}
    before = _family(change.user_id, change.old, others).view(change.user_id)
    after = _family(change.user_id, change.new, others).view(change.user_id)
    return after.reference_id if after and (before is None or before.reference_id is None) else None


# --- both views ------------------------------------------------------------------------------------------------------


def _family(user_id: UserId, image: Facts | None, others: Mapping[UserId, Facts]) -> Lineage:
    """Return all items with one image of the changed item, and only the links to it that existed with that image."""
    members = [_without_later_link(facts, user_id, image) for facts in others.values()]
    return Lineage([*members, *([image] if image else [])])


def _without_later_link(facts: Facts, user_id: UserId, image: Facts | None) -> Facts:
    """Return an item without its link to the changed one, if the link is more recent than the image."""
    if image is None or facts.replaced_by != user_id:
        return facts
    link, connected = image.newest.get(Kind.REPLACES.of(facts.user_id)), facts.at(Kind.CONNECTED)
    if link and (connected is None or link.at >= connected):
        return facts
    return replace(facts, newest={kind: fact for kind, fact in facts.newest.items() if kind != Kind.REPLACED_BY})


def _went_by_another(facts: Facts, others: Mapping[UserId, Facts]) -> bool:
    """Whether a removed item had a successor that was removed, too, and whose record causes the event.

    In a circle each item may have been the last one, so each causes an event.
    """
    replacement = facts.replaced_by
    return replacement is not None and replacement not in others and replacement not in facts.replaces


def _only_stores_derived_owner(change: Change) -> bool:
    """Whether a write only stores the owner that a successor had by its predecessors (`ConnectionStore.set_owner`)."""
    old, new = change.old, change.new
    if old is None or new is None or old.owner is not None or not old.replaces or old.first_connected is None:
        return False
    return new.newest.keys() - old.newest.keys() == {Kind.ANNOUNCED} and all(
        new.newest[kind] == fact for kind, fact in old.newest.items()
    )


def _with_its_link(change: Change, others: Mapping[UserId, Facts]) -> Facts | None:
    """Return the image before, with the link that is counted with the successor's record, and its other facts."""
    old, new = change.old, change.new
    if old is None or new is None or new.replaced_by is None or old.owner not in (None, new.owner):
        return old
    if old.replaced_by is not None:
        return old  # This record did not add the link: what else it contains is its own change.
    link, replacement = new.newest[Kind.REPLACED_BY], others.get(new.replaced_by)
    counted = replacement.newest.get(Kind.REPLACES.of(change.user_id)) if replacement else None
    if counted is None or counted.at < link.at:
        return old
    came_along = {kind.value: new.newest[kind] for kind in (Kind.OWNER, Kind.PROVIDER) if kind in new.newest}
    return replace(old, newest={**came_along, **old.newest, Kind.REPLACED_BY.value: link})


@dataclass(frozen=True, slots=True)
class _Pair:
    """A connection before and after, and the other listed connections that it has absorbed."""

    was: Connection | None
    now: Connection | None
    absorbed: tuple[Connection, ...] = ()


def _pairs(before: Lineage, after: Lineage) -> Iterator[_Pair]:
    """Pair each connection before with the one after, by its `connection_id`, else by its `user_id`."""
    gone = {connection.connection_id: connection for connection in before.views()}
    come = {connection.connection_id: connection for connection in after.views()}
    listed = {(connection.user_id, connection.reference_id) for connection in come.values() if _is_listed(connection)}
    pairs: list[tuple[Connection | None, Connection | None]] = [
        (gone.pop(connection_id), come.pop(connection_id)) for connection_id in sorted(gone.keys() & come.keys())
    ]
    by_user_id = {connection.user_id: connection for connection in come.values()}
    absorbed: dict[UserId, list[Connection]] = {}
    for was in gone.values():
        now, current = by_user_id.pop(was.user_id, None), after.current(was.user_id)
        if now is not None or (current, was.reference_id) not in listed:
            pairs.append((was, now))
        elif _is_listed(was):
            absorbed.setdefault(current, []).append(was)
    pairs += [(None, now) for now in by_user_id.values()]
    for before_, now in pairs:
        yield _Pair(before_, now, tuple(absorbed.get(now.user_id, ())) if now else ())


# --- the type of event -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Draft:
    type: ChangeType
    reference_id: ReferenceId
    connection: Connection
    previous: Connection | None = None
    replaces: tuple[Connection, ...] = ()


def _drafts(pair: _Pair, removed: UserId | None) -> Iterator[_Draft]:
    """Yield one event or none; two if the connection moved to another user, one for each user."""
    was, now = pair.was, pair.now
    if was and was.user_id == removed:
        if was.reference_id is not None:
            yield _Draft(ChangeType.ERASED, was.reference_id, was)
        return
    is_same_user = was is not None and now is not None and was.reference_id == now.reference_id
    if was and was.reference_id and _is_listed(was) and not (is_same_user and _is_listed(now)):
        ended = now if now and is_same_user and _ids(now) == _ids(was) else replace(was, status=Status.REVOKED)
        yield _Draft(ChangeType.DISCONNECTED, was.reference_id, ended)
    if now and now.reference_id and _is_listed(now):
        type_ = _type(was if is_same_user else None, now) or (ChangeType.CORRECTED if pair.absorbed else None)
        if type_:
            is_renamed = was is not None and is_same_user and _ids(was) != _ids(now)
            yield _Draft(type_, now.reference_id, now, was if is_renamed else None, pair.absorbed)


def _type(was: Connection | None, now: Connection) -> ChangeType | None:
    """Return the type of event for a connection in its current state; None if nothing relevant changed."""
    if was and was.user_id != now.user_id:
        return ChangeType.RECONNECTED
    if was is None or was.status is not now.status:
        if now.status is Status.NEEDS_REAUTH:
            return ChangeType.NEEDS_REAUTH
        return ChangeType.RECOVERED if was and _is_listed(was) else ChangeType.CONNECTED
    if was.scopes != now.scopes:
        return ChangeType.SCOPES_CHANGED
    # The only other field is `updated_at`, which changes with every event from Terra.
    is_same = (was.connection_id, was.provider, was.connected_at) == (now.connection_id, now.provider, now.connected_at)
    return None if is_same else ChangeType.CORRECTED


def _is_listed(connection: Connection | None) -> bool:
    return connection is not None and connection.status is not Status.REVOKED


def _ids(connection: Connection) -> tuple[str, UserId]:
    return connection.connection_id, connection.user_id


def _ids_as_json(connection: Connection) -> dict[str, str]:
    return {"connection_id": connection.connection_id, "user_id": connection.user_id}


def _event_id(change: Change, draft: _Draft, number: int) -> str:
    """Derive the id from the write and the event, so that it is the same when the record is delivered again."""
    parts = [change.user_id, change.version, change.new is None, draft.type, draft.reference_id, number]
    return "evt_" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
