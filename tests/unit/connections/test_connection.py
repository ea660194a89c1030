import json
import random
from collections.abc import Iterable
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terra_connections.connections.connection import Connection, format_timestamp
from terra_connections.connections.facts import (
    Fact,
    Facts,
    Kind,
    Position,
    Status,
    TerraUser,
    announcement_facts,
    confirmed_facts,
    error_facts,
    login_facts,
    login_failure_facts,
    reconnect_facts,
    rename_facts,
    revocation_facts,
    scope_change_facts,
)
from terra_connections.connections.lineage import Lineage, listed_connections
from terra_connections.ids import ReferenceId, UserId

USER = UserId("u1")
ALICE, BOB = ReferenceId("alice"), ReferenceId("bob")


def merged(*several: Facts) -> Facts:
    result = Facts(USER)
    for facts in several:
        result = result.merged(facts)
    return result


def terra_user(owner: ReferenceId | None = ALICE, scopes: list[str] | None = None, user_id: str = "u1") -> TerraUser:
    return TerraUser(UserId(user_id), owner=owner, provider="FITBIT", scopes=scopes)


def auth(at: int, owner: ReferenceId | None = ALICE, scopes: list[str] | None = None) -> Facts:
    return confirmed_facts(terra_user(owner, scopes), Position(at))


def deauth(at: int) -> Facts:
    return revocation_facts(terra_user(), Position(at), by="deauth")


def error(at: int) -> Facts:
    return error_facts(terra_user(), Position(at))


def verification(at: int, kind: Kind) -> Facts:
    return Facts(USER, {kind.value: Fact(Position(at))})


def connection(*several: Facts) -> Connection:
    view = Lineage([merged(*several)]).view(USER)
    assert view is not None
    return view


def lineage(*events: Iterable[Facts]) -> Lineage:
    members: dict[UserId, Facts] = {}
    for facts in (facts for event in events for facts in event):
        members[facts.user_id] = members.get(facts.user_id, Facts(facts.user_id)).merged(facts)
    return Lineage(members.values())


def login(user_id: str, at: int, owner: ReferenceId | None = ALICE) -> list[Facts]:
    return [confirmed_facts(terra_user(owner, user_id=user_id), Position(at))]


def reauth(old: str | None, new: str, at: int, owner: ReferenceId | None = ALICE) -> list[Facts]:
    before = TerraUser(UserId(old)) if old else None
    return reconnect_facts(terra_user(owner, user_id=new), before, Position(at))


positions = st.integers(0, 5).map(Position)
users = st.builds(
    TerraUser,
    st.just(USER),
    owner=st.sampled_from([ALICE, BOB, None]),
    provider=st.sampled_from(["FITBIT", None]),
    scopes=st.sampled_from([None, [], ["B", "A"], ["A"]]),
)
scope_lists = st.lists(st.sampled_from(["A", "B", "C"]), max_size=2)
kinds_of_facts = st.one_of(
    st.builds(confirmed_facts, users, positions),
    st.builds(login_facts, users, positions, widget_session_id=st.sampled_from([None, "w1", "w2"])),
    st.builds(revocation_facts, users, positions, by=st.sampled_from(["deauth", "access_revoked"])),
    st.builds(error_facts, users, positions),
    st.builds(login_failure_facts, users, positions, reason=st.sampled_from(["unknown", "access_denied"])),
    st.builds(scope_change_facts, users, positions, added=scope_lists, removed=scope_lists),
    st.builds(verification, positions, st.sampled_from([Kind.ABSENT, Kind.PRESENT])),
    st.builds(rename_facts, st.just(USER), st.sampled_from([ALICE, BOB]), st.sampled_from([ALICE, BOB]), positions),
)


@given(kinds_of_facts, kinds_of_facts, kinds_of_facts)
def test_merging_facts_is_a_semilattice(a: Facts, b: Facts, c: Facts) -> None:
    assert a.merged(b) == b.merged(a)
    assert a.merged(b).merged(c) == a.merged(b.merged(c))
    assert a.merged(a) == a
    assert a.merged(b).merged(b) == a.merged(b)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_reconnect_that_names_no_owner_stays_its_owner_s_until_an_event_names_another(order: tuple[int, ...]) -> None:
    events = [login("u1", 10), reauth("u1", "u2", 20, owner=None), login("u2", 21, owner=None)]
    known = lineage(*(events[n] for n in order))
    [connection] = known.views()
    assert (connection.user_id, connection.reference_id, connection.connected_at) == (UserId("u2"), ALICE, 10)
    moved = lineage(*events, login("u2", 30, owner=BOB)).views()
    assert {(c.user_id, c.reference_id, c.status) for c in moved} == {
        (UserId("u1"), ALICE, Status.REVOKED),
        (UserId("u2"), BOB, Status.CONNECTED),
    }


def test_a_reconnect_of_two_users_connections_that_names_no_owner_is_listed_under_neither() -> None:
    known = lineage(
        login("u1", 10, ALICE),
        login("u2", 11, BOB),
        reauth("u1", "u3", 20, owner=None),
        reauth("u2", "u3", 21, owner=None),
    )
    connection = known.view(UserId("u3"))
    assert connection is not None
    assert connection.reference_id is None


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 260), st.integers(0, 3), st.booleans()), max_size=600), st.randoms())
def test_the_bounds_on_scopes_and_links_do_not_depend_on_the_order(
    changes: list[tuple[int, int, bool]], dice: random.Random
) -> None:
    everything = [
        *(
            scope_change_facts(terra_user(), Position(at), added=[f"S{n}"] * added, removed=[f"S{n}"] * (not added))
            for n, at, added in changes
        ),
        *(reconnect_facts(terra_user(), terra_user(user_id=f"u{n}x"), Position(at))[0] for n, at, _ in changes),
    ]
    shuffled = [*everything, *everything[:50]]
    dice.shuffle(shuffled)
    first, other = merged(*everything), merged(*shuffled)
    assert first == other
    newest: dict[str, int] = {}
    for n, at, _ in changes:
        newest[f"scope:S{n}"] = max(at, newest.get(f"scope:S{n}", 0))
    kept = {kind for kind in first.newest if kind.startswith("scope:")}
    assert kept == set(sorted(newest, key=lambda kind: (newest[kind], kind))[-200:])
    assert len(first.replaces) <= 100


def test_a_revocation_is_kept_among_thousands_of_other_facts() -> None:
    many = [scope_change_facts(terra_user(), Position(n), added=[f"{n}{'x' * 100}"], removed=[]) for n in range(5000)]
    facts = merged(auth(1), *many[:2500], deauth(3), *many[2500:])
    assert facts.status is Status.REVOKED
    assert len(json.dumps([*facts.newest])) < 100_000
    assert len(facts.scopes) == 200


@given(st.lists(kinds_of_facts, min_size=1, max_size=4))
def test_every_order_gives_the_same_view(facts: list[Facts]) -> None:
    views = {Lineage([merged(*order)]).view(USER) for order in permutations(facts)}
    assert len(views) == 1


@given(st.lists(kinds_of_facts, max_size=6), kinds_of_facts)
def test_a_visible_connection_stays_visible(facts: list[Facts], more: Facts) -> None:
    if Lineage([merged(*facts)]).view(USER) is not None:
        assert Lineage([merged(*facts, more)]).view(USER) is not None


def test_a_disconnect_that_arrives_before_its_connect_is_kept() -> None:
    assert connection(deauth(20), auth(10)).status is Status.REVOKED


def test_a_newer_connect_keeps_the_connection_id_and_connected_at() -> None:
    first, again = connection(auth(10)), connection(auth(10), deauth(20), auth(30))
    assert again.status is Status.CONNECTED
    assert (again.connection_id, again.connected_at) == (first.connection_id, 10)
    assert again.updated_at == 30


def test_at_equal_positions_revoking_wins() -> None:
    assert connection(auth(10), deauth(10)).status is Status.REVOKED


def test_a_user_id_that_was_never_connected_is_not_listed() -> None:
    for facts in (deauth(10), error(10), login_failure_facts(terra_user(), Position(10), reason="unknown")):
        assert Lineage([merged(facts)]).view(USER) is None


def test_the_owner_is_the_newest_one_that_terra_named() -> None:
    assert connection(auth(10, owner=None)).reference_id is None
    assert connection(auth(10), auth(20, owner=None)).reference_id == ALICE
    assert connection(auth(20, owner=BOB), auth(10)).reference_id == BOB


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_renamed_owner_stays_renamed_whenever_terra_names_the_old_one(order: tuple[int, ...]) -> None:
    facts = [auth(10), rename_facts(USER, ALICE, BOB, Position(20)), auth(30)]
    assert connection(*(facts[index] for index in order)).reference_id == BOB


def test_a_rename_applies_to_the_one_name_and_can_be_corrected() -> None:
    renamed = rename_facts(USER, ALICE, BOB, Position(20))
    carol = ReferenceId("carol")
    assert connection(auth(10), renamed, auth(30, owner=carol)).reference_id == carol
    assert connection(auth(10), renamed, auth(30, owner=BOB)).reference_id == BOB
    assert connection(auth(10), renamed, rename_facts(USER, ALICE, ALICE, Position(21))).reference_id == ALICE
    announced = announcement_facts(USER, ALICE, Position(10))
    assert connection(auth(10, owner=None), announced, renamed).reference_id == BOB


def test_an_event_without_scopes_keeps_the_known_scopes() -> None:
    assert connection(auth(10, scopes=["SLEEP", "ACTIVITY", "SLEEP"]), auth(20)).scopes == ("ACTIVITY", "SLEEP")
    assert connection(auth(10, scopes=["SLEEP"]), auth(20, scopes=[])).scopes == ()


def test_a_connection_without_a_provider_has_the_provider_unknown() -> None:
    without_provider = confirmed_facts(TerraUser(USER, owner=ALICE), Position(1))
    assert connection(without_provider).provider == "UNKNOWN"


def test_a_list_is_newest_first_and_contains_revoked_connections_only_on_request() -> None:
    revoked = revocation_facts(terra_user(user_id="revoked"), Position(3), by="deauth").merged(login("revoked", 2)[0])
    everything = [*login("old", 1), revoked, *login("new", 4), *login("also-new", 4)]
    assert [c.user_id for c in listed_connections(ALICE, everything, include_revoked=False)] == [
        "also-new",
        "new",
        "old",
    ]
    assert [c.user_id for c in listed_connections(ALICE, everything, include_revoked=True)] == [
        "also-new",
        "new",
        "revoked",
        "old",
    ]


def test_an_error_needs_reauth_until_a_newer_login() -> None:
    assert connection(auth(10), error(20)).status is Status.NEEDS_REAUTH
    assert connection(auth(10), error(20), auth(30)).status is Status.CONNECTED
    assert connection(auth(10), error(20), deauth(15)).status is Status.REVOKED
    assert connection(error(20), auth(20)).status is Status.NEEDS_REAUTH


def test_presence_reverts_only_absence() -> None:
    absent, present = verification(20, Kind.ABSENT), verification(30, Kind.PRESENT)
    assert connection(auth(10), absent).status is Status.REVOKED
    assert connection(auth(10), absent, present).status is Status.CONNECTED
    assert connection(auth(10), deauth(20), present).status is Status.REVOKED
    assert connection(auth(10), error(20), present).status is Status.NEEDS_REAUTH
    assert Lineage([merged(present)]).view(USER) is None
    assert connection(absent, auth(30)).status is Status.CONNECTED


def test_changes_of_scopes_apply_if_they_are_newer_than_the_list() -> None:
    changed = scope_change_facts(terra_user(), Position(20), added=["C"], removed=["A"])
    assert connection(auth(10, scopes=["A", "B"]), changed).scopes == ("B", "C")
    assert connection(auth(30, scopes=["A", "B"]), changed).scopes == ("A", "B")
    full = scope_change_facts(terra_user(scopes=["D"]), Position(20), added=["C"], removed=["A"])
    assert connection(auth(10, scopes=["A", "B"]), full).scopes == ("D",)


def test_a_reconnect_keeps_the_connection_id_and_connected_at() -> None:
    [before] = lineage(login("a", 1)).views()
    for events in permutations([login("a", 1), login("b", 5), reauth("a", "b", 5)]):
        [after] = lineage(*events).views()
        assert (after.user_id, after.connection_id, after.connected_at) == ("b", before.connection_id, 1)
        assert lineage(*events).view(UserId("a")) == after


def test_chains_and_several_old_ids_become_one_connection() -> None:
    chain = lineage(login("a", 1), reauth("a", "b", 5), reauth("b", "c", 9))
    joined = lineage(login("a", 2), login("b", 1), reauth("a", "c", 5), reauth("b", "c", 9))
    assert [(c.user_id, c.connected_at) for c in chain.views()] == [("c", 1)]
    assert [(c.user_id, c.connected_at) for c in joined.views()] == [("c", 1)]
    assert chain.view(UserId("a")) == chain.view(UserId("b")) == chain.views()[0]


@pytest.mark.parametrize("old", [None, "a", "unknown"])
def test_a_reconnect_without_a_known_old_id_is_a_login(old: str | None) -> None:
    [connection] = lineage(reauth(old, "a", 5)).views()
    assert (connection.user_id, connection.status, connection.connected_at) == ("a", Status.CONNECTED, 5)


def test_a_reconnect_by_another_user_revokes_the_old_connection_and_starts_a_new_one() -> None:
    both = lineage(login("a", 1), reauth("a", "b", 5, owner=BOB))
    old, new = both.view(UserId("a")), both.view(UserId("b"))
    assert old
    assert new
    assert (old.user_id, old.status, old.reference_id) == ("a", Status.REVOKED, ALICE)
    assert (new.status, new.reference_id, new.connected_at) == (Status.CONNECTED, BOB, 5)
    assert old.connection_id != new.connection_id


def test_a_replaced_user_id_that_logs_in_again_is_a_connection_of_its_own() -> None:
    reconnected = lineage(login("a", 1), reauth("a", "b", 5), login("a", 9))
    assert {(c.user_id, c.connected_at) for c in reconnected.views()} == {("a", 1), ("b", 5)}
    assert len({c.connection_id for c in reconnected.views()}) == 2


@pytest.mark.parametrize("second", [3, 5, 9])
def test_a_cycle_of_reconnects_is_one_connection(second: int) -> None:
    cycle = lineage(login("a", 1), reauth("a", "b", 5), reauth("b", "a", second))
    assert len(cycle.views()) == 1
    assert cycle.views()[0].connected_at == 1


@pytest.mark.parametrize(
    ("position", "text"), [(0, "1970-01-01T00:00:00.000Z"), (1700000000123, "2023-11-14T22:13:20.123Z")]
)
def test_times_are_utc_with_milliseconds(position: int, text: str) -> None:
    assert format_timestamp(position) == text


def test_of_two_facts_at_equal_positions_the_greater_value_is_kept() -> None:
    assert Fact(Position(1), "b").rank > Fact(Position(1), "a").rank
    assert merged(auth(1, owner=BOB), auth(1)).text(Kind.OWNER) == merged(auth(1), auth(1, owner=BOB)).text(Kind.OWNER)
