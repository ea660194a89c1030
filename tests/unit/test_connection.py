from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terra_connections.connection import (
    Connection,
    Fact,
    Facts,
    Kind,
    Position,
    Status,
    connected,
    failed,
    iso,
    listing,
    revoked,
    view,
)
from terra_connections.ids import ReferenceId, UserId

USER = UserId("u1")
ALICE, BOB = ReferenceId("alice"), ReferenceId("bob")


def told(*everything: Facts) -> Facts:
    facts = Facts(USER)
    for more in everything:
        facts = facts.merged(more)
    return facts


def auth(at: int, owner: ReferenceId | None = ALICE, scopes: list[str] | None = None) -> Facts:
    return connected(USER, Position(at), owner=owner, provider="FITBIT", scopes=scopes)


def deauth(at: int, owner: ReferenceId | None = ALICE) -> Facts:
    return revoked(USER, Position(at), owner=owner, provider="FITBIT", by="deauth")


def seen(*everything: Facts) -> Connection:
    connection = view(told(*everything))
    assert connection is not None
    return connection


positions = st.integers(0, 5).map(Position)
kinds_of_facts = st.one_of(
    st.builds(
        connected,
        st.just(USER),
        positions,
        owner=st.sampled_from([ALICE, BOB, None]),
        provider=st.sampled_from(["FITBIT", None]),
        scopes=st.sampled_from([None, [], ["B", "A"], ["A"]]),
        widget_session_id=st.sampled_from([None, "w1", "w2"]),
    ),
    st.builds(
        revoked,
        st.just(USER),
        positions,
        owner=st.sampled_from([ALICE, BOB, None]),
        provider=st.none(),
        by=st.just("deauth"),
    ),
    st.builds(
        failed,
        st.just(USER),
        positions,
        owner=st.none(),
        provider=st.none(),
        reason=st.sampled_from(["unknown", "access_denied"]),
    ),
)


@given(kinds_of_facts, kinds_of_facts, kinds_of_facts)
def test_merging_facts_is_a_semilattice(a: Facts, b: Facts, c: Facts) -> None:
    assert a.merged(b) == b.merged(a)
    assert a.merged(b).merged(c) == a.merged(b.merged(c))
    assert a.merged(a) == a
    assert a.merged(b).merged(b) == a.merged(b)


@given(st.lists(kinds_of_facts, min_size=1, max_size=4))
def test_every_order_gives_the_same_view(facts: list[Facts]) -> None:
    views = {view(told(*order)) for order in permutations(facts)}
    assert len(views) == 1


@given(st.lists(kinds_of_facts, max_size=6), kinds_of_facts)
def test_once_seen_a_connection_does_not_vanish(facts: list[Facts], more: Facts) -> None:
    if view(told(*facts)) is not None:
        assert view(told(*facts, more)) is not None


def test_a_disconnect_that_overtakes_its_connect_is_not_undone() -> None:
    assert seen(deauth(20), auth(10)).status is Status.REVOKED


def test_a_newer_connect_connects_again_and_keeps_identity_and_birthday() -> None:
    first, again = seen(auth(10)), seen(auth(10), deauth(20), auth(30))
    assert again.status is Status.CONNECTED
    assert (again.connection_id, again.connected_at) == (first.connection_id, 10)
    assert again.updated_at == 30


def test_at_equal_positions_revoking_wins() -> None:
    assert seen(auth(10), deauth(10)).status is Status.REVOKED


def test_what_was_never_connected_is_not_shown() -> None:
    assert view(told(deauth(10))) is None
    assert view(told(failed(USER, Position(10), owner=ALICE, provider="FITBIT", reason="unknown"))) is None


def test_the_owner_is_the_newest_that_terra_named() -> None:
    assert seen(auth(10, owner=None)).reference_id is None
    assert seen(auth(10), auth(20, owner=None)).reference_id == ALICE
    assert seen(auth(20, owner=BOB), auth(10)).reference_id == BOB


def test_silence_about_scopes_is_not_an_empty_list() -> None:
    assert seen(auth(10, scopes=["SLEEP", "ACTIVITY", "SLEEP"]), auth(20)).scopes == ("ACTIVITY", "SLEEP")
    assert seen(auth(10, scopes=["SLEEP"]), auth(20, scopes=[])).scopes == ()


def test_a_provider_that_was_never_named_loses_nothing() -> None:
    nameless = connected(USER, Position(1), owner=ALICE, provider=None)
    assert seen(nameless).provider == "UNKNOWN"


def test_a_list_is_newest_first_and_hides_what_is_revoked() -> None:
    def one(name: str, at: int) -> Facts:
        return connected(UserId(name), Position(at), owner=ALICE, provider="FITBIT")

    gone = one("gone", 2).merged(revoked(UserId("gone"), Position(3), owner=ALICE, provider=None, by="deauth"))
    everything = [one("old", 1), gone, one("new", 4), one("also-new", 4)]
    assert [c.user_id for c in listing(everything, include_revoked=False)] == ["also-new", "new", "old"]
    assert [c.user_id for c in listing(everything, include_revoked=True)] == ["also-new", "new", "gone", "old"]


@pytest.mark.parametrize(
    ("position", "text"), [(0, "1970-01-01T00:00:00.000Z"), (1700000000123, "2023-11-14T22:13:20.123Z")]
)
def test_times_are_utc_with_milliseconds(position: int, text: str) -> None:
    assert iso(position) == text


def test_equal_positions_are_settled_by_what_is_said() -> None:
    assert Fact(Position(1), "b").rank > Fact(Position(1), "a").rank
    assert told(auth(1, owner=BOB), auth(1)).text(Kind.OWNER) == told(auth(1), auth(1, owner=BOB)).text(Kind.OWNER)
