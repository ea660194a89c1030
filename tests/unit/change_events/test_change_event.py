"""Change events: one per visible change, in any order, with repeats and delays. An invisible change has none."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from terra_connections.change_events import change_event as published
from terra_connections.change_events.change_event import ChangeEvent, ChangeType
from terra_connections.connections.change import Change
from terra_connections.connections.connection import Connection
from terra_connections.connections.facts import (
    Facts,
    Position,
    Status,
    TerraUser,
    announcement_facts,
    confirmed_facts,
    error_facts,
    login_failure_facts,
    reconnect_facts,
    revocation_facts,
    scope_change_facts,
)
from terra_connections.connections.lineage import Lineage, listed_connections
from terra_connections.ids import ReferenceId, UserId

ADA, BOB = ReferenceId("ada"), ReferenceId("bob")
A, B, C = UserId("a"), UserId("b"), UserId("c")


def at(number: int) -> Position:
    return Position(1_750_000_000_000 + number * 1000)


def about(user_id: UserId, owner: ReferenceId | None = ADA, scopes: Sequence[str] | None = ("SLEEP",)) -> TerraUser:
    return TerraUser(user_id, owner=owner, provider="FITBIT", scopes=scopes)


@dataclass
class Table:
    """Items with versions, and the stream of their changes."""

    items: dict[UserId, tuple[Facts, int]] = field(default_factory=dict)
    stream: list[Change] = field(default_factory=list)

    def write(self, *told: Facts) -> list[Change]:
        """Write one transaction, and return its stream records."""
        changes = []
        for facts in told:
            known, version = self.items.get(facts.user_id, (None, 0))
            merged = known.merged(facts) if known else facts
            if merged != known:
                self.items[facts.user_id] = merged, version + 1
                changes.append(Change(facts.user_id, known, merged, version + 1, at(len(self.stream))))
        self.stream += changes
        return changes

    def erase(self, user_id: UserId) -> list[Change]:
        known, version = self.items.pop(user_id)
        self.stream.append(Change(user_id, known, None, version, at(len(self.stream))))
        return self.stream[-1:]

    @property
    def now(self) -> list[Facts]:
        return [facts for facts, _ in self.items.values()]

    def told(self, changes: Iterable[Change]) -> list[ChangeEvent]:
        """Return the events for these changes, with everything else in its current state."""
        return [event for change in changes for event in published.change_events(change, self.now)]

    def listed(self, reference_id: ReferenceId = ADA) -> list[Connection]:
        return listed_connections(reference_id, self.now, include_revoked=False)


def types(events: Iterable[ChangeEvent]) -> list[str]:
    return [event.type.value for event in events]


@pytest.fixture
def table() -> Table:
    return Table()


class TestOneItem:
    def test_a_first_connection_is_connected(self, table: Table) -> None:
        (event,) = table.told(table.write(confirmed_facts(about(A), at(1))))
        assert (event.type, event.reference_id, event.connection, event.previous) == (
            ChangeType.CONNECTED,
            ADA,
            table.listed()[0],
            None,
        )

    @pytest.mark.parametrize(
        ("then", "type_"),
        [
            (error_facts(about(A), at(2)), ChangeType.NEEDS_REAUTH),
            (revocation_facts(about(A), at(2), by="deauth"), ChangeType.DISCONNECTED),
            (confirmed_facts(about(A, scopes=("SLEEP", "BODY")), at(2)), ChangeType.SCOPES_CHANGED),
            (scope_change_facts(about(A, scopes=None), at(2), added=["BODY"], removed=[]), ChangeType.SCOPES_CHANGED),
            (TerraUser(A, provider="GARMIN").facts(at(2)), ChangeType.CORRECTED),
            (confirmed_facts(about(A), at(0)), ChangeType.CORRECTED),
        ],
    )
    def test_what_changes_the_view_is_told(self, table: Table, then: Facts, type_: ChangeType) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        (event,) = table.told(table.write(then))
        assert event.type is type_
        assert (event.connection.status is Status.REVOKED) == (type_ is ChangeType.DISCONNECTED)

    @pytest.mark.parametrize(
        "then",
        [
            confirmed_facts(about(A), at(2)),
            login_failure_facts(about(A), at(2), reason="cancelled"),
            revocation_facts(about(A), at(0), by="deauth"),
            error_facts(about(A), at(0)),
            scope_change_facts(about(A, scopes=None), at(2), added=["SLEEP"], removed=["BODY"]),
        ],
    )
    def test_what_does_not_change_the_view_is_silent(self, table: Table, then: Facts) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        changes = table.write(then)
        assert changes
        assert table.told(changes) == []

    def test_a_connection_that_needed_a_login_has_recovered(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(error_facts(about(A), at(2)))
        assert types(table.told(table.write(confirmed_facts(about(A), at(3))))) == ["recovered"]

    def test_a_revoked_one_that_comes_back_is_connected(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(revocation_facts(about(A), at(2), by="deauth"))
        assert types(table.told(table.write(confirmed_facts(about(A), at(3))))) == ["connected"]

    def test_one_that_appears_in_trouble_needs_a_login(self, table: Table) -> None:
        table.write(error_facts(about(A), at(2)))
        assert types(table.told(table.write(confirmed_facts(about(A), at(1))))) == ["needs_reauth"]

    def test_several_changes_in_one_write_are_one_event(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(error_facts(about(A), at(2)))
        (event,) = table.told(table.write(confirmed_facts(about(A, scopes=("BODY",)), at(3))))
        assert (event.type, event.connection.scopes) == (ChangeType.RECOVERED, ("BODY",))

    def test_nobody_is_told_of_a_connection_of_nobody_until_its_owner_is_known(self, table: Table) -> None:
        assert table.told(table.write(confirmed_facts(about(A, owner=None), at(1)))) == []
        assert types(table.told(table.write(TerraUser(A, owner=ADA).facts(at(2))))) == ["connected"]

    def test_a_connection_that_moves_ends_for_the_one_and_begins_for_the_other(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        ended, begun = table.told(table.write(confirmed_facts(about(A, owner=BOB), at(2))))
        assert (ended.type, ended.reference_id, ended.connection.reference_id) == (ChangeType.DISCONNECTED, ADA, ADA)
        assert ended.connection.status is Status.REVOKED
        assert (begun.type, begun.reference_id, begun.connection) == (ChangeType.CONNECTED, BOB, table.listed(BOB)[0])

    @pytest.mark.parametrize("was_revoked", [False, True])
    def test_what_is_removed_is_erased(self, table: Table, was_revoked: bool) -> None:  # noqa: FBT001
        table.write(confirmed_facts(about(A), at(1)))
        if was_revoked:
            table.write(revocation_facts(about(A), at(2), by="deauth"))
        assert types(table.told(table.erase(A))) == ["erased"]

    def test_an_item_that_never_was_a_connection_is_removed_silently(self, table: Table) -> None:
        table.write(revocation_facts(about(A), at(1), by="deauth"))
        assert table.told(table.erase(A)) == []


class TestAReconnect:
    """A link is written on two items, so that two records arrive."""

    def test_it_is_told_once_whichever_record_comes_first(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        changes = table.write(*reconnect_facts(about(B), about(A), at(2)))
        assert len(changes) == 2
        for order in permutations(changes):
            (event,) = table.told(order)
            assert event.type is ChangeType.RECONNECTED
            assert event.previous is not None
            assert (event.previous.user_id, event.connection.user_id) == (A, B)
            assert event.previous.connection_id == event.connection.connection_id

    def test_after_its_own_auth_it_is_told_once_and_nothing_is_disconnected(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        assert types(table.told(table.write(confirmed_facts(about(B), at(2))))) == ["connected"]
        assert types(table.told(table.write(*reconnect_facts(about(B), about(A), at(3))))) == ["reconnected"]

    def test_its_auth_afterwards_is_silent(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(*reconnect_facts(about(B), about(A), at(2)))
        assert table.told(table.write(confirmed_facts(about(B), at(3)))) == []

    def test_a_repeated_one_is_silent(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(*reconnect_facts(about(B), about(A), at(2)))
        changes = table.write(*reconnect_facts(about(B), about(A), at(3)))
        assert len(changes) == 2
        assert table.told(changes) == []

    def test_one_that_heals_says_so_by_the_status(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(error_facts(about(A), at(2)))
        (event,) = table.told(table.write(*reconnect_facts(about(B), about(A), at(3))))
        assert (event.type, event.connection.status) == (ChangeType.RECONNECTED, Status.CONNECTED)

    def test_of_an_unknown_connection_it_is_connected(self, table: Table) -> None:
        assert types(table.told(table.write(*reconnect_facts(about(B), about(A), at(2))))) == ["connected"]
        (event,) = table.told(table.write(confirmed_facts(about(A), at(1))))
        assert event.type is ChangeType.CORRECTED
        assert event.previous is not None
        assert event.previous.connection_id != event.connection.connection_id
        assert event.connection.user_id == B

    def test_a_chain_of_them_is_told_link_by_link_even_if_all_records_come_late(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(*reconnect_facts(about(B), about(A), at(2)))
        table.write(*reconnect_facts(about(C), about(B), at(3)))
        told = [e for e in table.told(table.stream) if e.type is ChangeType.RECONNECTED]
        assert [(e.previous and e.previous.user_id, e.connection.user_id) for e in told] == [(A, B), (B, C)]
        assert len({e.connection.connection_id for e in told}) == 1

    def test_after_its_own_auth_all_records_late_it_is_still_told_once(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(confirmed_facts(about(B), at(2)))
        table.write(*reconnect_facts(about(B), about(A), at(3)))
        assert types(table.told(table.stream)) == ["connected", "connected", "reconnected"]

    def test_several_into_one_are_told_each(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(confirmed_facts(about(B), at(2)))
        assert types(table.told(table.write(*reconnect_facts(about(C), about(A), at(3))))) == ["reconnected"]
        table.told(table.write(*reconnect_facts(about(C), about(B), at(4))))
        assert [c.user_id for c in table.listed()] == [C]

    def test_a_replaced_one_that_connects_by_itself_again_is_told_as_both(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(*reconnect_facts(about(B), about(A), at(2)))
        told = table.told(table.write(confirmed_facts(about(A), at(3))))
        assert sorted(types(told)) == ["connected", "reconnected"]
        again = table.told(table.write(*reconnect_facts(about(B), about(A), at(4))))
        assert types(again) == ["reconnected"]

    def test_one_id_into_two_leaves_a_listener_with_the_right_list(self, table: Table) -> None:
        listener = Listener()
        for step in (
            [confirmed_facts(about(A), at(1))],
            *(reconnect_facts(about(n), about(A), at(i)) for i, n in ((2, B), (3, C))),
        ):
            for event in table.told(table.write(*step)):
                listener.hear(event)
        assert sorted(map(repr, listener.lists[ADA].values())) == sorted(map(repr, table.listed()))

    def test_one_by_another_person_ends_the_old_and_begins_the_new(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        told = table.told(table.write(*reconnect_facts(about(B, owner=BOB), about(A), at(2))))
        assert {(e.type, e.reference_id) for e in told} == {(ChangeType.DISCONNECTED, ADA), (ChangeType.CONNECTED, BOB)}
        assert len(told) == 2

    @pytest.mark.parametrize("order", [(A, B), (B, A)])
    @pytest.mark.parametrize("is_late", [False, True])
    def test_it_is_erased_once(self, table: Table, order: tuple[UserId, UserId], is_late: bool) -> None:  # noqa: FBT001
        table.write(confirmed_facts(about(A), at(1)))
        table.write(*reconnect_facts(about(B), about(A), at(2)))
        changes: list[Change] = []
        told: list[ChangeEvent] = []
        for user_id in order:
            changes += table.erase(user_id)
            told += [] if is_late else table.told(changes[-1:])
        told += table.told(changes) if is_late else []
        assert [(e.type, e.connection.user_id) for e in told if e.type is ChangeType.ERASED] == [(ChangeType.ERASED, B)]


class TestIds:
    def test_a_replay_gives_the_same_events_and_ids(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        changes = table.write(*reconnect_facts(about(B), about(A), at(2)))
        first = table.told(changes)
        assert table.told(changes) == first
        assert table.told([*changes, *changes]) == [*first, *first]

    def test_ids_stay_when_the_world_has_moved_on(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        (then,) = table.told(table.stream)
        table.write(*reconnect_facts(about(B), about(A), at(2)))
        table.write(error_facts(about(B), at(3)))
        (now,) = table.told(table.stream[:1])
        assert now.event_id == then.event_id

    def test_each_change_has_its_own(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        table.write(error_facts(about(A), at(2)))
        table.write(confirmed_facts(about(A, owner=BOB), at(3)))
        table.write(error_facts(about(A, owner=BOB), at(4)))
        table.erase(A)
        ids = [event.event_id for event in table.told(table.stream)]
        assert len(set(ids)) == len(ids) == 6


class TestTheList:
    def test_what_the_index_does_not_know_yet_is_taken_from_what_was_read(self, table: Table) -> None:
        table.write(confirmed_facts(about(C), at(0)))
        before = table.now
        (change,) = table.write(confirmed_facts(about(A), at(1)))
        (event,) = table.told([change])
        assert published.current_connections(event, change, before, [table.items[A][0]]) == table.listed()

    def test_what_the_index_still_knows_is_left_out(self, table: Table) -> None:
        table.write(confirmed_facts(about(A), at(1)))
        before = table.now
        (change,) = table.erase(A)
        (event,) = table.told([change])
        assert published.current_connections(event, change, before, []) == []


# --- random scenarios ------------------------------------------------------------------------------------------------

EXAMPLES = 300
PEOPLE = st.sampled_from([ADA, BOB, None])
IDS = st.sampled_from([A, B, C])
POSITIONS = st.integers(0, 9).map(at)
WRITES = st.one_of(
    st.builds(lambda u, o, p: [confirmed_facts(about(u, owner=o), p)], IDS, PEOPLE, POSITIONS),
    st.builds(lambda u, p: [revocation_facts(about(u, owner=None), p, by="deauth")], IDS, POSITIONS),
    st.builds(lambda u, p: [error_facts(about(u, owner=None), p)], IDS, POSITIONS),
    st.builds(lambda u, p: [scope_change_facts(TerraUser(u), p, added=["BODY"], removed=["SLEEP"])], IDS, POSITIONS),
    st.builds(
        lambda n, o, w, p: reconnect_facts(about(n, owner=w), about(o, owner=None), p), IDS, IDS, PEOPLE, POSITIONS
    ),
)


STEPS: st.SearchStrategy[list[Facts]] = st.one_of(WRITES, WRITES, WRITES, st.just([]))  # an empty one erases every user


def seen(connections: Iterable[Connection]) -> list[Connection]:
    """Return a list's connections without `updated_at`, which every fact changes."""
    return [replace(connection, updated_at=Position(0)) for connection in connections]


def is_sane(story: list[list[Facts]]) -> bool:
    """Return whether links have neither forks nor cycles. In those cases an id would get more than one event."""
    links = {
        (facts.user_id, facts.newest["replaced_by"].value)
        for step in story
        for facts in step
        if "replaced_by" in facts.newest
    }
    return len({old for old, _ in links}) == len(links) and all(old < str(new) for old, new in links)


def take(table: Table, step: list[Facts]) -> list[Change]:
    """Write a step. An empty one erases everything; an erasure stores owners that are only derived first."""
    if step:
        return table.write(*step)
    family = Lineage(table.now)
    views = [view for user_id in table.items if (view := family.view(user_id)) is not None]
    derived = [view for view in views if table.items[view.user_id][0].owner is None and view.reference_id is not None]
    named = [announcement_facts(view.user_id, view.reference_id, at(20)) for view in derived if view.reference_id]
    return [*table.write(*named), *(change for user_id in list(table.items) for change in table.erase(user_id))]


@dataclass
class Listener:
    """A consumer that uses only the connection in each event."""

    lists: dict[ReferenceId, dict[UserId, Connection]] = field(default_factory=lambda: {ADA: {}, BOB: {}})

    def hear(self, event: ChangeEvent) -> None:
        mine = self.lists[event.reference_id]
        if event.previous:
            mine.pop(event.previous.user_id, None)
        mine.pop(event.connection.user_id, None)
        if event.type not in (ChangeType.DISCONNECTED, ChangeType.ERASED):
            mine[event.connection.user_id] = event.connection


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(STEPS, max_size=8).filter(is_sane))
def test_whose_list_changes_is_told_what_has_changed_and_nobody_else_is_told(story: list[list[Facts]]) -> None:
    table, listener = Table(), Listener()
    note("\n".join(map(repr, story)))
    for step in story:
        before = {reference_id: seen(table.listed(reference_id)) for reference_id in (ADA, BOB)}
        events = table.told(take(table, step))
        for event in events:
            listener.hear(event)
        for reference_id, shown in before.items():
            now = seen(table.listed(reference_id))
            if step:
                assert (shown != now) == bool([e for e in events if e.reference_id == reference_id])
            assert sorted(map(repr, seen(listener.lists[reference_id].values()))) == sorted(map(repr, now))


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(WRITES, max_size=8), st.permutations([A, B, C]))
def test_records_that_come_late_still_tell_of_every_connection(story: list[list[Facts]], shards: list[UserId]) -> None:
    table = Table()
    for step in story:
        table.write(*step)
    # Only records of one item keep their order.
    events = table.told(sorted(table.stream, key=lambda change: shards.index(change.user_id)))
    for reference_id in (ADA, BOB):
        told = {e.connection.user_id for e in events if e.reference_id == reference_id}
        assert {connection.user_id for connection in table.listed(reference_id)} <= told
    assert len({e.event_id for e in events}) == len(events)
