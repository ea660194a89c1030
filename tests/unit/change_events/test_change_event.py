"""Change events: one per visible change, in any order, with repeats and delays. An invisible change emits none."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import permutations

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from terra_connections.change_events.change_event import ChangeEvent, ChangeType, current_connections
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
from terra_connections.connections.lineage import Lineage
from terra_connections.ids import ReferenceId, UserId
from tests.support.change_stream import ADA, BOB, A, B, C, Table, at, terra_user


def types(events: Iterable[ChangeEvent]) -> list[str]:
    return [event.type.value for event in events]


@pytest.fixture
def table() -> Table:
    return Table()


class TestOneItem:
    def test_a_new_connection_emits_connected(self, table: Table) -> None:
        (event,) = table.events(table.write(confirmed_facts(terra_user(A), at(1))))
        assert (event.type, event.reference_id, event.connection, event.previous) == (
            ChangeType.CONNECTED,
            ADA,
            table.listed()[0],
            None,
        )

    @pytest.mark.parametrize(
        ("change", "type_"),
        [
            (error_facts(terra_user(A), at(2)), ChangeType.NEEDS_REAUTH),
            (revocation_facts(terra_user(A), at(2), by="deauth"), ChangeType.DISCONNECTED),
            (confirmed_facts(terra_user(A, scopes=("SLEEP", "BODY")), at(2)), ChangeType.SCOPES_CHANGED),
            (
                scope_change_facts(terra_user(A, scopes=None), at(2), added=["BODY"], removed=[]),
                ChangeType.SCOPES_CHANGED,
            ),
            (TerraUser(A, provider="GARMIN").facts(at(2)), ChangeType.CORRECTED),
            (confirmed_facts(terra_user(A), at(0)), ChangeType.CORRECTED),
        ],
    )
    def test_a_visible_change_emits_an_event_of_its_type(self, table: Table, change: Facts, type_: ChangeType) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        (event,) = table.events(table.write(change))
        assert event.type is type_
        assert (event.connection.status is Status.REVOKED) == (type_ is ChangeType.DISCONNECTED)

    @pytest.mark.parametrize(
        "change",
        [
            confirmed_facts(terra_user(A), at(2)),
            login_failure_facts(terra_user(A), at(2), reason="cancelled"),
            revocation_facts(terra_user(A), at(0), by="deauth"),
            error_facts(terra_user(A), at(0)),
            scope_change_facts(terra_user(A, scopes=None), at(2), added=["SLEEP"], removed=["BODY"]),
        ],
    )
    def test_an_invisible_change_emits_nothing(self, table: Table, change: Facts) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        changes = table.write(change)
        assert changes
        assert table.events(changes) == []

    def test_a_login_after_an_error_emits_recovered(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(error_facts(terra_user(A), at(2)))
        assert types(table.events(table.write(confirmed_facts(terra_user(A), at(3))))) == ["recovered"]

    def test_a_login_after_a_disconnect_emits_connected(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(revocation_facts(terra_user(A), at(2), by="deauth"))
        assert types(table.events(table.write(confirmed_facts(terra_user(A), at(3))))) == ["connected"]

    def test_a_new_connection_with_an_error_emits_needs_reauth(self, table: Table) -> None:
        table.write(error_facts(terra_user(A), at(2)))
        assert types(table.events(table.write(confirmed_facts(terra_user(A), at(1))))) == ["needs_reauth"]

    def test_events_offer_the_repair_of_a_connection_that_needs_it(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        (failing,) = table.events(table.write(error_facts(terra_user(A), at(2))))
        (scopes,) = table.events(table.write(TerraUser(A, owner=ADA, scopes=["BODY"]).facts(at(3))))
        for event in (failing, scopes):
            repair = event.detail([], at(9))["repair"]
            assert repair == {"method": "POST", "path": "/sessions", "body": {"user_id": A}}
        (erased,) = [event for change in table.erase(A) for event in table.events([change])]
        assert erased.connection.status is Status.NEEDS_REAUTH
        assert "repair" not in erased.detail([], at(9))
        (connected,) = table.events(table.write(confirmed_facts(terra_user(B), at(1))))
        assert "repair" not in connected.detail([], at(9))

    def test_several_changes_in_one_write_emit_one_event(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(error_facts(terra_user(A), at(2)))
        (event,) = table.events(table.write(confirmed_facts(terra_user(A, scopes=("BODY",)), at(3))))
        assert (event.type, event.connection.scopes) == (ChangeType.RECOVERED, ("BODY",))

    def test_a_connection_without_an_owner_emits_nothing_until_its_owner_is_known(self, table: Table) -> None:
        assert table.events(table.write(confirmed_facts(terra_user(A, owner=None), at(1)))) == []
        assert types(table.events(table.write(TerraUser(A, owner=ADA).facts(at(2))))) == ["connected"]

    def test_a_new_owner_emits_disconnected_to_the_old_one_and_connected_to_the_new_one(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        ended, begun = table.events(table.write(confirmed_facts(terra_user(A, owner=BOB), at(2))))
        assert (ended.type, ended.reference_id, ended.connection.reference_id) == (ChangeType.DISCONNECTED, ADA, ADA)
        assert ended.connection.status is Status.REVOKED
        assert (begun.type, begun.reference_id, begun.connection) == (ChangeType.CONNECTED, BOB, table.listed(BOB)[0])

    @pytest.mark.parametrize("was_revoked", [False, True])
    def test_a_removed_item_emits_erased(self, table: Table, was_revoked: bool) -> None:  # noqa: FBT001
        table.write(confirmed_facts(terra_user(A), at(1)))
        if was_revoked:
            table.write(revocation_facts(terra_user(A), at(2), by="deauth"))
        assert types(table.events(table.erase(A))) == ["erased"]

    def test_a_removed_item_that_was_never_a_connection_emits_nothing(self, table: Table) -> None:
        table.write(revocation_facts(terra_user(A), at(1), by="deauth"))
        assert table.events(table.erase(A)) == []


class TestAReconnect:
    """A link is written on two items, so that two records arrive."""

    def test_it_emits_one_event_in_both_orders_of_the_records(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        changes = table.write(*reconnect_facts(terra_user(B), terra_user(A), at(2)))
        assert len(changes) == 2
        for order in permutations(changes):
            (event,) = table.events(order)
            assert event.type is ChangeType.RECONNECTED
            assert event.previous is not None
            assert (event.previous.user_id, event.connection.user_id) == (A, B)
            assert event.previous.connection_id == event.connection.connection_id

    def test_after_the_new_id_s_auth_it_emits_reconnected_and_no_disconnected(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        assert types(table.events(table.write(confirmed_facts(terra_user(B), at(2))))) == ["connected"]
        (event,) = table.events(table.write(*reconnect_facts(terra_user(B), terra_user(A), at(3))))
        assert event.type is ChangeType.RECONNECTED
        [thrown_away] = event.replaces
        assert thrown_away.user_id == B
        assert thrown_away.connection_id != event.connection.connection_id

    def test_a_later_auth_of_the_new_id_emits_nothing(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(*reconnect_facts(terra_user(B), terra_user(A), at(2)))
        assert table.events(table.write(confirmed_facts(terra_user(B), at(3)))) == []

    def test_a_repeated_reconnect_emits_nothing(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(*reconnect_facts(terra_user(B), terra_user(A), at(2)))
        changes = table.write(*reconnect_facts(terra_user(B), terra_user(A), at(3)))
        assert len(changes) == 2
        assert table.events(changes) == []

    def test_a_reconnect_after_an_error_has_the_status_connected(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(error_facts(terra_user(A), at(2)))
        (event,) = table.events(table.write(*reconnect_facts(terra_user(B), terra_user(A), at(3))))
        assert (event.type, event.connection.status) == (ChangeType.RECONNECTED, Status.CONNECTED)

    def test_a_reconnect_of_an_unknown_connection_emits_connected(self, table: Table) -> None:
        assert types(table.events(table.write(*reconnect_facts(terra_user(B), terra_user(A), at(2))))) == ["connected"]
        (event,) = table.events(table.write(confirmed_facts(terra_user(A), at(1))))
        assert event.type is ChangeType.CORRECTED
        assert event.previous is not None
        assert event.previous.connection_id != event.connection.connection_id
        assert event.connection.user_id == B

    def test_a_chain_of_reconnects_emits_one_event_per_link_even_if_all_records_are_late(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(*reconnect_facts(terra_user(B), terra_user(A), at(2)))
        table.write(*reconnect_facts(terra_user(C), terra_user(B), at(3)))
        events = [e for e in table.events(table.stream) if e.type is ChangeType.RECONNECTED]
        assert [(e.previous and e.previous.user_id, e.connection.user_id) for e in events] == [(A, B), (B, C)]
        assert len({e.connection.connection_id for e in events}) == 1

    def test_after_the_new_id_s_auth_it_emits_one_event_even_if_all_records_are_late(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(confirmed_facts(terra_user(B), at(2)))
        table.write(*reconnect_facts(terra_user(B), terra_user(A), at(3)))
        assert types(table.events(table.stream)) == ["connected", "connected", "reconnected"]

    def test_two_reconnects_into_one_id_leave_one_connection(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(confirmed_facts(terra_user(B), at(2)))
        assert types(table.events(table.write(*reconnect_facts(terra_user(C), terra_user(A), at(3))))) == [
            "reconnected"
        ]
        (event,) = table.events(table.write(*reconnect_facts(terra_user(C), terra_user(B), at(4))))
        assert (event.type, [c.user_id for c in event.replaces]) == (ChangeType.CORRECTED, [B])
        assert [c.user_id for c in table.listed()] == [C]

    def test_a_login_of_a_replaced_id_emits_connected_and_reconnected(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(*reconnect_facts(terra_user(B), terra_user(A), at(2)))
        events = table.events(table.write(confirmed_facts(terra_user(A), at(3))))
        assert sorted(types(events)) == ["connected", "reconnected"]
        again = table.events(table.write(*reconnect_facts(terra_user(B), terra_user(A), at(4))))
        assert types(again) == ["reconnected"]

    def test_a_consumer_has_the_right_list_after_two_reconnects_of_one_id(self, table: Table) -> None:
        consumer = Consumer()
        for step in (
            [confirmed_facts(terra_user(A), at(1))],
            *(reconnect_facts(terra_user(n), terra_user(A), at(i)) for i, n in ((2, B), (3, C))),
        ):
            for event in table.events(table.write(*step)):
                consumer.receive(event)
        assert sorted(map(repr, consumer.lists[ADA].values())) == sorted(map(repr, table.listed()))

    def test_an_owner_of_the_old_id_that_is_named_later_corrects_the_connection_id(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A, owner=None), at(1)))
        # An `auth` and a `user_reauth` of the new id in the same millisecond.
        table.write(confirmed_facts(terra_user(B), at(2)), *reconnect_facts(terra_user(B), TerraUser(A), at(2)))
        before = table.listed()[0]
        (event,) = table.events(table.write(confirmed_facts(terra_user(A), at(1))))
        assert (event.type, event.previous, event.connection) == (ChangeType.CORRECTED, before, table.listed()[0])
        assert event.connection.connection_id != before.connection_id

    def test_a_reconnect_by_another_user_emits_disconnected_and_connected(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        events = table.events(table.write(*reconnect_facts(terra_user(B, owner=BOB), terra_user(A), at(2))))
        owners = {(e.type, e.reference_id) for e in events}
        assert owners == {(ChangeType.DISCONNECTED, ADA), (ChangeType.CONNECTED, BOB)}
        assert len(events) == 2

    @pytest.mark.parametrize("order", [(A, B), (B, A)])
    @pytest.mark.parametrize("is_late", [False, True])
    def test_an_erasure_of_both_ids_emits_one_erased(
        self, table: Table, order: tuple[UserId, UserId], *, is_late: bool
    ) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(*reconnect_facts(terra_user(B), terra_user(A), at(2)))
        changes: list[Change] = []
        events: list[ChangeEvent] = []
        for user_id in order:
            changes += table.erase(user_id)
            events += [] if is_late else table.events(changes[-1:])
        events += table.events(changes) if is_late else []
        assert [(e.type, e.connection.user_id) for e in events if e.type is ChangeType.ERASED] == [
            (ChangeType.ERASED, B)
        ]

    @pytest.mark.parametrize("order", [(A, B), (B, A)])
    def test_after_an_erasure_in_either_order_the_last_list_is_empty(
        self, table: Table, order: tuple[UserId, UserId]
    ) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(*reconnect_facts(terra_user(B), terra_user(A), at(2)))
        lists = []
        for user_id in order:
            (change,) = table.erase(user_id)
            lists += [current_connections(event, change, [], table.facts) for event in table.events([change])]
        assert lists[-1] == []


class TestIds:
    def test_replayed_records_give_the_same_events_and_ids(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        changes = table.write(*reconnect_facts(terra_user(B), terra_user(A), at(2)))
        first = table.events(changes)
        assert table.events(changes) == first
        assert table.events([*changes, *changes]) == [*first, *first]

    def test_ids_do_not_change_after_later_writes(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        (then,) = table.events(table.stream)
        table.write(*reconnect_facts(terra_user(B), terra_user(A), at(2)))
        table.write(error_facts(terra_user(B), at(3)))
        (now,) = table.events(table.stream[:1])
        assert now.event_id == then.event_id

    def test_each_change_has_its_own_event_id(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        table.write(error_facts(terra_user(A), at(2)))
        table.write(confirmed_facts(terra_user(A, owner=BOB), at(3)))
        table.write(error_facts(terra_user(A, owner=BOB), at(4)))
        table.erase(A)
        ids = [event.event_id for event in table.events(table.stream)]
        assert len(set(ids)) == len(ids) == 6


class TestTheList:
    def test_an_item_that_the_index_does_not_contain_yet_is_added_to_the_list(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(C), at(0)))
        before = table.facts
        (change,) = table.write(confirmed_facts(terra_user(A), at(1)))
        (event,) = table.events([change])
        assert current_connections(event, change, before, [table.items[A][0]]) == table.listed()

    def test_an_erased_item_that_the_index_still_contains_is_left_out(self, table: Table) -> None:
        table.write(confirmed_facts(terra_user(A), at(1)))
        before = table.facts
        (change,) = table.erase(A)
        (event,) = table.events([change])
        assert current_connections(event, change, before, []) == []


# --- random scenarios ------------------------------------------------------------------------------------------------

EXAMPLES = 300
OWNERS = st.sampled_from([ADA, BOB, None])
IDS = st.sampled_from([A, B, C])
POSITIONS = st.integers(0, 9).map(at)
WRITES = st.one_of(
    st.builds(lambda u, o, p: [confirmed_facts(terra_user(u, owner=o), p)], IDS, OWNERS, POSITIONS),
    st.builds(lambda u, p: [revocation_facts(terra_user(u, owner=None), p, by="deauth")], IDS, POSITIONS),
    st.builds(lambda u, p: [error_facts(terra_user(u, owner=None), p)], IDS, POSITIONS),
    st.builds(lambda u, p: [scope_change_facts(TerraUser(u), p, added=["BODY"], removed=["SLEEP"])], IDS, POSITIONS),
    st.builds(
        lambda n, o, w, p: reconnect_facts(terra_user(n, owner=w), terra_user(o, owner=None), p),
        IDS,
        IDS,
        OWNERS,
        POSITIONS,
    ),
)


STEPS: st.SearchStrategy[list[Facts]] = st.one_of(WRITES, WRITES, WRITES, st.just([]))  # an empty one erases every user


def without_updated_at(connections: Iterable[Connection]) -> list[Connection]:
    """Return a list's connections without `updated_at`, which every fact changes."""
    return [replace(connection, updated_at=Position(0)) for connection in connections]


def has_no_forks_or_cycles(scenario: list[list[Facts]]) -> bool:
    """Return whether links have neither forks nor cycles, with which an id would get more than one event."""
    links = {
        (facts.user_id, facts.newest["replaced_by"].value)
        for step in scenario
        for facts in step
        if "replaced_by" in facts.newest
    }
    return len({old for old, _ in links}) == len(links) and all(old < str(new) for old, new in links)


def apply(table: Table, step: list[Facts]) -> list[Change]:
    """Write a step. An empty one erases everything; an erasure stores owners that are only derived first."""
    if step:
        return table.write(*step)
    lineage = Lineage(table.facts)
    views = [view for user_id in table.items if (view := lineage.view(user_id)) is not None]
    derived = [view for view in views if table.items[view.user_id][0].owner is None and view.reference_id is not None]
    announced = [announcement_facts(view.user_id, view.reference_id, at(20)) for view in derived if view.reference_id]
    return [*table.write(*announced), *(change for user_id in list(table.items) for change in table.erase(user_id))]


@dataclass
class Consumer:
    """A consumer that uses only the connection in each event."""

    lists: dict[ReferenceId, dict[UserId, Connection]] = field(default_factory=lambda: {ADA: {}, BOB: {}})

    def receive(self, event: ChangeEvent) -> None:
        connections = self.lists[event.reference_id]
        if event.previous:
            connections.pop(event.previous.user_id, None)
        connections.pop(event.connection.user_id, None)
        if event.type not in (ChangeType.DISCONNECTED, ChangeType.ERASED):
            connections[event.connection.user_id] = event.connection


@dataclass
class ConsumerById(Consumer):
    """A consumer that keeps connections by `connection_id`, and uses no other `connections` than its own."""

    by_id: dict[str, Connection] = field(default_factory=dict)

    def receive(self, event: ChangeEvent) -> None:
        former = {event.previous.connection_id} if event.previous else set()
        former |= {connection.connection_id for connection in event.replaces}
        if event.type is ChangeType.ERASED:
            former |= {id_ for id_, known in self.by_id.items() if known.user_id == event.connection.user_id}
        for connection_id in (*former, event.connection.connection_id):
            known = self.by_id.get(connection_id)
            if known is not None and known.reference_id == event.reference_id:
                del self.by_id[connection_id]
        if event.type not in (ChangeType.DISCONNECTED, ChangeType.ERASED):
            self.by_id[event.connection.connection_id] = event.connection


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(STEPS, max_size=8).filter(has_no_forks_or_cycles))
def test_no_connection_id_stays_behind(scenario: list[list[Facts]]) -> None:
    table, consumer = Table(), ConsumerById()
    note("\n".join(map(repr, scenario)))
    for step in scenario:
        for event in table.events(apply(table, step)):
            consumer.receive(event)
        listed = [*table.listed(ADA), *table.listed(BOB)]
        assert sorted(map(repr, without_updated_at(consumer.by_id.values()))) == sorted(
            map(repr, without_updated_at(listed))
        )


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(STEPS, max_size=8).filter(has_no_forks_or_cycles))
def test_a_user_gets_events_exactly_if_their_list_changes(scenario: list[list[Facts]]) -> None:
    table, consumer = Table(), Consumer()
    note("\n".join(map(repr, scenario)))
    for step in scenario:
        before = {reference_id: without_updated_at(table.listed(reference_id)) for reference_id in (ADA, BOB)}
        events = table.events(apply(table, step))
        for event in events:
            consumer.receive(event)
        for reference_id, previous in before.items():
            now = without_updated_at(table.listed(reference_id))
            if step:
                assert (previous != now) == bool([e for e in events if e.reference_id == reference_id])
            assert sorted(map(repr, without_updated_at(consumer.lists[reference_id].values()))) == sorted(
                map(repr, now)
            )


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(WRITES, max_size=8), st.permutations([A, B, C]))
def test_late_records_emit_an_event_for_every_connection(scenario: list[list[Facts]], shards: list[UserId]) -> None:
    table = Table()
    for step in scenario:
        table.write(*step)
    # Only records of one item keep their order.
    events = table.events(sorted(table.stream, key=lambda change: shards.index(change.user_id)))
    for reference_id in (ADA, BOB):
        emitted = {e.connection.user_id for e in events if e.reference_id == reference_id}
        assert {connection.user_id for connection in table.listed(reference_id)} <= emitted
    assert len({e.event_id for e in events}) == len(events)
