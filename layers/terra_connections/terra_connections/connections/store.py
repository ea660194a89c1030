"""The connections table in DynamoDB: the facts about each Terra `user_id`, and an index by user.

```text
key        user_id, or "erased:<sha256 of user_id>", or "erased:<sha256 of widget:<Terra's widget session id>>"
index      by-reference-id (reference_id, user_id); an item without a known owner is not in it
item       user_id, version, first_connected?, reference_id? (the owner), facts {kind: {at, value?}}
announced  an item whose only fact is that Terra issued the user_id for a login. It is written with the login's session,
           has the session's ttl, and no reference_id. Only `record` reads it; any other fact makes it a normal item
tombstone  user_id, ttl; while it exists, the user_id is not written again, nor the results of the login;
           confirmed? (all its data is erased, in this table and at Terra)
user       the tombstone of a whole user: see `users/store`
```
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from terra_connections.auth.caller import Caller
from terra_connections.connections.change import Change
from terra_connections.connections.connection import Connection
from terra_connections.connections.facts import VERIFICATION_LAG, Fact, Facts, Kind, Position, announcement_facts
from terra_connections.connections.lineage import Lineage
from terra_connections.dynamodb import (
    AttributeValue,
    Item,
    Key,
    RetryBudget,
    TransactWrite,
    batch_get,
    item_from,
    query_by_reference_id,
    transact,
    try_transact,
    values_from,
)
from terra_connections.errors import ErasureInProgress
from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.users.store import LOGIN_MAY_TAKE, SESSION_KEPT_FOR, Begun, Name, UserStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ERASED_FOR = timedelta(days=36)
"""Longer than the oldest backup (35 days), and than the longest delay of a webhook from Terra."""


class ConnectionStore:
    """Facts about connections, read consistently and written in transactions."""

    def __init__(
        self, client: "DynamoDBClient", table: str, *, users: UserStore, clock: Callable[[], float] = time.time
    ) -> None:
        self._client = client
        self._table = table
        self._users = users
        self._clock = clock

    def read(self, user_ids: Iterable[UserId]) -> list[Facts]:
        """Read the facts about these `user_id`s, consistently and in one round trip; unknown ones are left out."""
        return _known_of(self._read(user_ids, RetryBudget(), with_tombstones=False)[0])

    def read_with_erased(self, user_ids: Iterable[UserId]) -> tuple[list[Facts], set[UserId]]:
        """Read the facts about these `user_id`s, and which of them were erased."""
        known, erased, _ = self._read(user_ids, RetryBudget())
        return _known_of(known), set(map(UserId, erased))

    def read_for_erasure(self, user_ids: Iterable[UserId]) -> tuple[dict[UserId, Facts], set[UserId]]:
        """Read the facts about these `user_id`s, announcements included, and which ones are completely erased."""
        known, erased, _ = self._read(user_ids, RetryBudget())
        gone = {UserId(name) for name, is_confirmed in erased.items() if is_confirmed and name not in known}
        return {user_id: facts for user_id, (facts, _) in known.items()}, gone

    def erased_among(self, some: Sequence[Facts]) -> list[Facts]:
        """Return those that were erased, or belong to an erased user: after an unfinished erasure or a restore."""
        owners = {facts.owner for facts in some if facts.owner is not None}
        _, erased, users = self._read(
            (facts.user_id for facts in some), RetryBudget(), owners=owners, tombstones_only=True
        )
        return [
            facts
            for facts in some
            if facts.user_id in erased or (facts.owner in users and not _is_newer(facts, than=users[facts.owner]))
        ]

    def family_of(self, user_ids: Iterable[UserId]) -> Lineage:
        """Read these `user_id`s with their successors and predecessors; one round trip for each link."""
        return Lineage(self.related_to(user_ids))

    def related_to(self, user_ids: Iterable[UserId]) -> list[Facts]:
        """Read the facts about these `user_id`s, and about all that reconnects link them to, consistently."""
        requested = set(user_ids)
        return self._with_related(self.read(requested), requested)

    def _with_related(self, known: Sequence[Facts], requested: set[UserId]) -> list[Facts]:
        found = list(known)
        while unread := {name for facts in found for name in (facts.replaced_by, *facts.replaces) if name} - requested:
            found += self.read(unread)
            requested = requested | unread
        return found

    def find(self, user_id: UserId, *, caller: Caller) -> Connection | None:
        """Return the current connection of a `user_id`; None if it does not exist or the caller may not read it.

        Both cases take one read, so that the response time does not reveal which one it is.
        """
        lineage = self.find_lineage(user_id, caller=caller)
        return None if lineage is None else lineage.view(user_id)

    def find_lineage(self, user_id: UserId, *, caller: Caller) -> Lineage | None:
        """Return all facts about a connection, where `find` returns the connection."""
        known = self.read([user_id])
        if any(facts.owner is not None and not caller.can_access(facts.owner) for facts in known):
            return None
        lineage = Lineage(self._with_related(known, {user_id}))
        connection = lineage.view(user_id)
        return lineage if connection and caller.can_access(connection.reference_id) else None

    def of_user(self, reference_id: ReferenceId) -> list[Facts]:
        """Read the facts about this user's connections and their successors.

        The index is eventually consistent, so the last writes may be missing.
        """
        known = self._query(reference_id)
        while (unread := Lineage(known).unread) and (found := self.read(unread)):
            known += found
        return known

    def _query(self, reference_id: ReferenceId) -> list[Facts]:
        return [_facts_from(item)[0] for item in query_by_reference_id(self._client, self._table, reference_id)]

    def page(
        self, segment: int, *, of: int, start: str | None, limit: int, is_consistent: bool = False
    ) -> tuple[list[Facts], str | None]:
        """Read a page of a parallel scan of the table.

        Args:
            segment: the index of the segment, from 0.
            of: the number of segments.
            start: the key returned with the previous page; None for the first page.
            limit: the number of scanned items.
            is_consistent: whether the page has every write that was finished before; it costs twice as much.

        Returns:
            The facts, without tombstones and announcements, and the key to start the next page with, if any.
        """
        after: dict[str, Any] = {} if start is None else {"ExclusiveStartKey": _key(start)}
        answer = self._client.scan(
            TableName=self._table, Segment=segment, TotalSegments=of, Limit=limit, ConsistentRead=is_consistent, **after
        )
        last = answer.get("LastEvaluatedKey")
        found = [_facts_from(item)[0] for item in answer["Items"] if "facts" in item]
        return [facts for facts in found if not facts.is_only_announced], str(last["user_id"]["S"]) if last else None

    def page_of_connections(self, *, start: str | None, limit: int) -> tuple[list[Connection], str | None]:
        """Read a page of the connections of all users, consistently and without erased ones.

        Each connection is complete: it is computed from all its `user_id`s, on whichever page they are. It is returned
        on the page of each of them. If only its current one counted, a reconnect during a pass could move it to a
        page that was already read.

        Args:
            start: the key returned with the previous page; None for the first page.
            limit: the number of scanned items. The page has at most as many connections, or none at all.

        Returns:
            The connections, and the key to start the next page with, if any.
        """
        found, last = self.page(0, of=1, start=start, limit=limit, is_consistent=True)
        lineage = Lineage(self._with_related(found, {facts.user_id for facts in found}))
        views = [connection for facts in found if (connection := lineage.view(facts.user_id)) is not None]
        shown = {connection.user_id: connection for connection in views}
        erased = self._erased_in(lineage, {user_id: each.reference_id for user_id, each in shown.items()})
        return [connection for user_id, connection in shown.items() if user_id not in erased], last

    def history(self, user_id: UserId) -> Lineage | None:
        """Read everything about a connection, consistently; None if its `user_id` is unknown or erased."""
        lineage = self.family_of([user_id])
        facts, connection = lineage.facts(user_id), lineage.view(user_id)
        if facts is None:
            return None
        current = lineage.current(user_id)
        erased = self._erased_in(lineage, {current: facts.owner if connection is None else connection.reference_id})
        return None if current in erased else lineage

    def _erased_in(self, lineage: Lineage, owners: Mapping[UserId, ReferenceId | None]) -> set[UserId]:
        """Return which of these current `user_id`s were erased, or belong to an erased user.

        Their items still exist while an erasure is unfinished, and after a restore.
        """
        named = sorted({owner for owner in owners.values() if owner is not None})
        _, erased, users = self._read(owners, RetryBudget(), owners=named, tombstones_only=True)
        return {
            user_id
            for user_id, owner in owners.items()
            if user_id in erased
            or (owner in users and not any(_is_newer(facts, than=users[owner]) for facts in lineage.members(user_id)))
        }

    def views_with_erased(self, user_ids: Collection[UserId]) -> tuple[dict[UserId, Connection], set[UserId]]:
        """Read the current connection of each of these `user_id`s, and which of them, or whose users, were erased."""
        lineage = self.family_of(user_ids)
        views = {user_id: view for user_id in user_ids if (view := lineage.view(user_id)) is not None}
        owners = {user_id: views[user_id].reference_id if user_id in views else None for user_id in user_ids}
        return views, self._erased_in(lineage, owners)

    def erased_until(self, reference_ids: Iterable[ReferenceId]) -> dict[ReferenceId, int]:
        """Read which of these users were erased: everything of theirs before this time, in Unix milliseconds."""
        return self._read((), RetryBudget(), owners=reference_ids, tombstones_only=True)[2]

    def record(
        self,
        new_facts: Sequence[Facts],
        *,
        together_with: Sequence[TransactWrite] = (),
        login: SessionId | None = None,
        of_login: Sequence[TransactWrite] = (),
        are_new: bool = False,
        begun: Begun | None = None,
        on_connected: Callable[[], None] | None = None,
    ) -> list[Facts] | None:
        """Merge new facts into the stored ones, in one transaction with other writes.

        Each item is written on condition that its version has not changed since the read. If it has, the item is read
        and merged again.

        Erased `user_id`s stay erased: facts about them are dropped. The successor of a late reconnect, and the result
        of a login that was in progress, are erased, too. So is a connection of an erased user, unless it can be
        attributed to a login after the erasure.

        Args:
            new_facts: new facts, at most one entry for a `user_id`.
            together_with: writes of other stores, each with its own condition.
            login: the widget session of the facts.
            of_login: writes of other stores. They are left out if that session, or a `user_id` it connected, was
                erased, or if one of their conditions fails.
            are_new: the `user_id`s were just issued, so nothing is read before the first try. If an item exists after
                all, the conditions of that try fail.
            begun: the login that caused the facts, if known. It is stored under its user.
            on_connected: called after the write, for each `user_id` that had never been connected before it. Of several
                requests with the same facts only one makes that write.

        Returns:
            The merged facts about these `user_id`s, without erased ones. None if a condition of `together_with`
            failed: then nothing was written.

        Raises:
            ErasureInProgress: the user was erased after `begun`, or is being erased; nothing was written.
            NotDurable: contention or throttling lasted too long.
        """
        retry_budget = RetryBudget()
        while True:
            merged, added, connected = self._writes(
                new_facts, retry_budget, login, of_login, are_new=are_new, begun=begun
            )
            writes = [*together_with, *added]
            failure = try_transact(self._client, writes) if writes else None
            if failure is None:
                if on_connected is not None:
                    for _ in connected:
                        on_connected()
                return merged
            if any(write in together_with for write in failure.refused):
                return None
            if any(write in of_login for write in failure.refused):
                of_login = ()
            if are_new:
                are_new = False  # the next try reads the items first, and needs no wait
            else:
                retry_budget.wait()

    def set_owner(self, user_id: UserId, reference_id: ReferenceId) -> None:
        """Store the owner of a connection that has it only by the one that it replaced.

        The stream reports each deleted item alone: without its owner, no change event could follow from it.

        Raises:
            NotDurable: other writers, or a throttled table, were in the way for too long.
        """
        retry_budget = RetryBudget()
        while True:
            known, _, _ = self._read([user_id], retry_budget, with_tombstones=False)
            facts, _ = known.get(user_id, (None, 0))
            if facts is None or facts.owner is not None:
                return
            now = Position(_milliseconds(timedelta(seconds=self._clock())))
            owned = facts.merged(announcement_facts(user_id, reference_id, now))
            if try_transact(self._client, self._write(known, owned)) is None:
                return
            retry_budget.wait()

    def erase(self, user_ids: Iterable[UserId]) -> None:
        """Delete the facts about these `user_id`s. Their tombstones must already exist."""
        for user_id in user_ids:
            self._client.delete_item(TableName=self._table, Key=_key(user_id))

    def put_tombstones(self, user_ids: Iterable[UserId], *, logins: Iterable[SessionId] = ()) -> None:
        """Write tombstones, which prevent further writes of these `user_id`s and of the results of these logins."""
        for name in (*user_ids, *map(_login_name, logins)):
            self._client.put_item(TableName=self._table, Item=self._tombstone(name))

    def finish_erasure(self, user_id: UserId) -> None:
        """Delete the facts about a `user_id` that Terra has deauthenticated, and mark its tombstone as confirmed.

        Raises:
            NotDurable: contention or throttling lasted too long.
        """
        transact(self._client, self._erasure(user_id, is_confirmed=True))

    def _read(
        self,
        user_ids: Iterable[UserId],
        retry_budget: RetryBudget,
        *,
        login: SessionId | None = None,
        owners: Iterable[ReferenceId] = (),
        with_tombstones: bool = True,
        tombstones_only: bool = False,
    ) -> tuple[dict[UserId, tuple[Facts, int]], dict[str, bool], dict[ReferenceId, int]]:
        """Read facts with their versions, and which of the `user_id`s, the login and the owners were erased.

        For an erased `user_id` or login the value is whether Terra has confirmed it, for a user the erasure's time.
        An announcement past its ttl is read as an item without facts, because DynamoDB deletes it with a delay.
        """
        requested = list(dict.fromkeys(user_ids))
        erasable = [*requested, *([] if login is None else [_login_name(login)])] if with_tombstones else []
        erasure_keys = {_tombstone_key(name): name for name in erasable}
        user_keys = {self._users.tombstone_key(owner): owner for owner in owners}
        keys = [_key(name) for name in (*([] if tombstones_only else requested), *erasure_keys, *user_keys)]
        known: dict[UserId, tuple[Facts, int]] = {}
        erased: dict[str, bool] = {}
        users: dict[ReferenceId, int] = {}
        for item in batch_get(self._client, {self._table: keys}, retry_budget)[self._table]:
            name = str(item["user_id"]["S"])
            if name in user_keys:
                if self._users.is_standing(item):
                    users[user_keys[name]] = int(item["until"]["N"])
            elif name not in erasure_keys:
                facts, version = _facts_from(item)
                is_over = facts.is_only_announced and int(item["ttl"]["N"]) <= self._clock()
                known[facts.user_id] = (Facts(facts.user_id) if is_over else facts), version
            elif int(item["ttl"]["N"]) > self._clock():
                erased[erasure_keys[name]] = "confirmed" in item
        return known, erased, users

    def _writes(
        self,
        new_facts: Sequence[Facts],
        retry_budget: RetryBudget,
        login: SessionId | None,
        of_login: Sequence[TransactWrite],
        *,
        are_new: bool,
        begun: Begun | None,
    ) -> tuple[list[Facts], list[TransactWrite], list[UserId]]:
        """Return the merged facts, the writes that store them, and the `user_id`s that were never connected before."""
        known: dict[UserId, tuple[Facts, int]] = {}
        erased_names: dict[str, bool] = {}
        users: dict[ReferenceId, int] = {}
        owners = {facts.owner for facts in new_facts if facts.owner is not None}
        if begun is not None:
            owners.add(begun.reference_id)
        if not are_new:
            known, erased_names, users = self._read(
                (facts.user_id for facts in new_facts), retry_budget, login=login, owners=sorted(owners)
            )
        if begun is not None and users.get(begun.reference_id, -1) >= begun.at:
            message = "This user is being erased, or was erased after this login began. Begin a new one."
            raise ErasureInProgress(message)
        erased = set(erased_names)
        is_login_erased = login is not None and _login_name(login) in erased
        erased_successors = {
            facts.user_id for facts in new_facts if is_login_erased or _succeeds_erased(facts, new_facts, erased)
        }
        erased_successors |= {
            facts.user_id for facts in new_facts if self._is_unexplained(facts, known, users, login, begun)
        }
        erased_successors -= erased
        kept = [facts for facts in new_facts if facts.user_id not in erased | erased_successors]
        writes = [write for user_id in sorted(erased_successors) for write in self._erasure(user_id)]
        before = {facts.user_id: known.get(facts.user_id, (Facts(facts.user_id), 0))[0] for facts in kept}
        merged = [before[facts.user_id].merged(facts) for facts in kept]
        connected = [
            facts.user_id
            for facts in merged
            if facts.first_connected is not None and before[facts.user_id].first_connected is None
        ]
        writes += [write for facts in merged for write in self._write(known, facts)]
        # An erasure that started after the read deletes existing items, but cannot delete one that is written later.
        unconditioned: list[str] = [facts.user_id for facts in kept if facts.user_id not in known]
        if login is not None and not is_login_erased and len(kept) == len(new_facts):
            writes += of_login
            unconditioned = [_login_name(login), *(facts.user_id for facts in kept)]
        writes += self._begins(kept, known, users, begun)
        return merged, writes + [self._unless_erased(name) for name in unconditioned], connected

    def _is_unexplained(
        self,
        new: Facts,
        known: Mapping[UserId, tuple[Facts, int]],
        users: Mapping[ReferenceId, int],
        login: SessionId | None,
        begun: Begun | None,
    ) -> bool:
        """Whether the facts are of an erased user, and their login may have started before the erasure.

        It may have if it finished within `LOGIN_MAY_TAKE` of the erasure, unless a later login matches the facts.
        """
        until = None if new.owner is None else users.get(new.owner)
        if new.owner is None or until is None or (begun is not None and begun.reference_id == new.owner):
            return False
        before, _ = known.get(new.user_id, (Facts(new.user_id), 0))
        at = max((fact.at for fact in new.newest.values()), default=Position(0))
        if at > until + _milliseconds(LOGIN_MAY_TAKE):
            return False
        if before.owner == new.owner and _is_newer(before, than=until):
            return False
        provider = new.text(Kind.PROVIDER) or before.text(Kind.PROVIDER)
        explains = {("user_id", new.user_id), ("widget", login), ("provider", provider), ("provider", "*")}
        since = datetime.fromtimestamp(until / 1000, UTC)
        return not any(
            name.at > until and (name.kind, name.name) in explains for name in self._users.begun(new.owner, since=since)
        )

    def _begins(
        self,
        kept: Sequence[Facts],
        known: Mapping[UserId, tuple[Facts, int]],
        users: Mapping[ReferenceId, int],
        begun: Begun | None,
    ) -> list[TransactWrite]:
        """Return the writes that add connections and logins to users, on condition that they were not erased since."""
        now = int(self._clock() * 1000)
        names: dict[ReferenceId, list[Name]] = {}
        for facts in kept:
            before = known.get(facts.user_id)
            if facts.owner is not None and (before is None or before[0].owner != facts.owner):
                names.setdefault(facts.owner, []).append(Name(now, "user_id", facts.user_id))
        if begun is not None:
            names.setdefault(begun.reference_id, []).extend(begun.names)
        writes: list[TransactWrite] = []
        for owner, begins in names.items():
            if begun is not None and owner == begun.reference_id:
                writes.append(self._users.unless_erased_after(owner, begun_at=begun.at))
            else:
                writes.append(self._users.unless_erased_since(owner, read=users.get(owner)))
            if begins:
                writes.append(self._users.begins(owner, begins))
        return writes

    def _write(self, known: Mapping[UserId, tuple[Facts, int]], merged: Facts) -> list[TransactWrite]:
        """Return the write of a whole item; none if there are no new facts. Facts are only added, never removed."""
        facts, version = known.get(merged.user_id, (None, 0))
        if merged == facts:
            return []
        item = _item_from(merged, version + 1)
        if version == 0:
            condition = "attribute_not_exists(user_id)"
            return [{"Put": {"TableName": self._table, "Item": item, "ConditionExpression": condition}}]
        return [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": item,
                    "ConditionExpression": "version = :read",
                    "ExpressionAttributeValues": {":read": {"N": str(version)}},
                }
            }
        ]

    def _unless_erased(self, name: str) -> TransactWrite:
        """Return the condition that a `user_id` or a login has no tombstone."""
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": _key(_tombstone_key(name)),
                "ConditionExpression": "attribute_not_exists(user_id) OR #ttl <= :now",
                "ExpressionAttributeNames": {"#ttl": "ttl"},
                "ExpressionAttributeValues": {":now": {"N": str(int(self._clock()))}},
            }
        }

    def _erasure(self, user_id: UserId, *, is_confirmed: bool = False) -> list[TransactWrite]:
        """Return the writes that replace the facts about a `user_id` by its tombstone."""
        confirmed: dict[str, AttributeValue] = {"confirmed": {"BOOL": True}} if is_confirmed else {}
        return [
            {"Put": {"TableName": self._table, "Item": {**self._tombstone(user_id), **confirmed}}},
            {"Delete": {"TableName": self._table, "Key": _key(user_id)}},
        ]

    def _tombstone(self, name: str) -> dict[str, AttributeValue]:
        gone_at = int(self._clock() + ERASED_FOR.total_seconds())
        return {"user_id": {"S": _tombstone_key(name)}, "ttl": {"N": str(gone_at)}}


def _is_newer(facts: Facts, *, than: int) -> bool:
    """Whether a connection got its owner after a time in Unix milliseconds. Facts from calls to Terra are backdated."""
    at = facts.at(Kind.OWNER) or facts.at(Kind.ANNOUNCED)
    return at is not None and at > than - _milliseconds(VERIFICATION_LAG)


def _milliseconds(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)


def _key(name: str) -> Key:
    return {"user_id": {"S": name}}


def _tombstone_key(name: str) -> str:
    """Return the key of a tombstone. It cannot collide with a `user_id`, and does not reveal one."""
    return f"erased:{hashlib.sha256(name.encode()).hexdigest()}"


def _login_name(widget_session_id: SessionId) -> str:
    """Return the name of a login's tombstone. It cannot collide with a `user_id`, which has no colon."""
    return f"widget:{widget_session_id}"


def _succeeds_erased(facts: Facts, new_facts: Sequence[Facts], erased: set[str]) -> bool:
    """Whether this is the successor of an erased `user_id` of the same user, from a late reconnect event."""
    owners = {other.user_id: other.owner for other in new_facts}
    return any(
        old in erased and (facts.owner is None or owners.get(old) in (None, facts.owner)) for old in facts.replaces
    )


def change_from(record: Mapping[str, Any]) -> Change | None:
    """Return the change in a record of the table's stream; None for tombstones and announcements."""
    written = record["dynamodb"]
    images = [written.get(name) for name in ("OldImage", "NewImage")]
    stored = [_facts_from(image) if image and "facts" in image else None for image in images]
    old, new = (None if image is None or image[0].is_only_announced else image for image in stored)
    latest = new or old
    if latest is None:
        return None
    facts, version = latest
    at = Position(int(float(written["ApproximateCreationDateTime"]) * 1000))
    return Change(facts.user_id, old and old[0], new and new[0], version, at)


def _known_of(read: Mapping[UserId, tuple[Facts, int]]) -> list[Facts]:
    """Return the facts, without `user_id`s that are only announced."""
    return [facts for facts, _ in read.values() if facts.newest and not facts.is_only_announced]


def _item_from(facts: Facts, version: int) -> dict[str, AttributeValue]:
    values: dict[str, Any] = {
        "user_id": facts.user_id,
        "version": version,
        "facts": {str(kind): _stored(fact) for kind, fact in facts.newest.items()},
        "first_connected": facts.first_connected,
    }
    if facts.is_only_announced:
        values["ttl"] = facts.newest[Kind.ANNOUNCED].at // 1000 + int(SESSION_KEPT_FOR.total_seconds())
    elif facts.owner is not None:
        values["reference_id"] = facts.owner
    return item_from(values)


def _stored(fact: Fact) -> dict[str, Any]:
    if fact.value is None:
        return {"at": fact.at}
    return {"at": fact.at, "value": list(fact.value) if isinstance(fact.value, tuple) else fact.value}


def _facts_from(item: Item) -> tuple[Facts, int]:
    stored = values_from(item)
    newest: dict[str, Fact] = {}
    for kind, fact in stored["facts"].items():
        value = fact.get("value")
        newest[kind] = Fact(Position(int(fact["at"])), tuple(value) if isinstance(value, list) else value)
    first_connected = stored.get("first_connected")
    facts = Facts(
        UserId(stored["user_id"]),
        newest,
        None if first_connected is None else Position(int(first_connected)),
    )
    return facts, int(stored["version"])
