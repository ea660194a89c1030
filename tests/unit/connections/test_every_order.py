"""The same facts in every order, with repeats and with Terra's responses in between, give the oracle's view.

Every permutation of every scenario runs through the domain in memory. After each step, and not only at the end, the
view must equal the oracle's view of the inputs so far.
"""

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, reduce
from typing import Any

import pytest

from terra_connections.connections.connection import Connection
from terra_connections.connections.facts import (
    Facts,
    Kind,
    Position,
    Status,
    TerraUser,
    announcement_facts,
    confirmed_facts,
    scopes_from,
)
from terra_connections.connections.lineage import Lineage, listed_connections
from terra_connections.connections.store import ConnectionStore
from terra_connections.ids import ReferenceId, SessionId, UserId, reference_id_from
from terra_connections.sessions.outcome import resolve_session
from terra_connections.sessions.session import Flow, Session, hash_secret, reason_from
from terra_connections.sessions.widget_reports import WidgetReportStore
from terra_connections.webhooks import payload as event
from terra_connections.webhooks.delivery import delivery, event_position
from terra_connections.webhooks.signature import Tolerance, VerifiedSignature
from tests.support.oracle import Announced, Asked, Attempt, Heard, Outcome, Returned, Seen, Told, World, taken
from tests.support.scenarios import Story, Teller, captured, everything

TELLER = Teller(begins=1_700_000_000)
STORIES = everything(TELLER)
NOW = datetime.fromtimestamp(1_700_001_000, UTC)

Known = Mapping[UserId, Facts]


class InMemory(ConnectionStore):
    """A connection store without a database."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def _read(
        self, user_ids: Iterable[UserId], *_: object, **__: object
    ) -> tuple[dict[UserId, Any], dict[str, bool], dict[ReferenceId, int]]:
        return {name: (self._known[name], 1) for name in dict.fromkeys(user_ids) if name in self._known}, {}, {}

    def _query(self, reference_id: ReferenceId) -> list[Facts]:
        known = [facts for facts in self._known.values() if not facts.is_only_announced]
        return [facts for facts in known if facts.owner == reference_id]


class Reports(WidgetReportStore):
    """Reports of widget sessions, without a database."""

    def __init__(self, heard: Iterable[Heard]) -> None:
        events = [event_of(one) for one in heard if isinstance(one, Told)]
        self._reports = [event.report for event in events if event.report is not None]

    def with_report(self, session: Session) -> Session:
        mine = [report for report in self._reports if report.widget_session_id == session.widget_session_id]
        return reduce(Session.with_widget_report, mine, session)


def event_of(told: Told) -> event.WebhookEvent:
    return event.parse(told.body.encode(), event_position(proof_of(told), told.ordering))


def facts_of(heard: Heard) -> tuple[Facts, ...]:
    """Return the facts that the code derives from one input."""
    match heard:
        case Told():
            return event_of(heard).facts
        case Returned():
            return ()
        case Announced():
            return (announcement_facts(UserId(heard.user_id), ReferenceId(heard.reference_id), Position(heard.at)),)
    about, at = TerraUser(UserId(heard.user_id)), Position(heard.at)
    if heard.answer != "authenticated":
        kind = Kind.ABSENT if heard.answer == "unknown" else Kind.PRESENT
        return (about.facts(at, kind),)
    owner, granted = reference_id_from(heard.reference_id), scopes_from(heard.scopes)
    return (confirmed_facts(replace(about, owner=owner, provider=heard.provider, scopes=granted), at),)


def proof_of(told: Told) -> VerifiedSignature:
    return VerifiedSignature("secret", str(told.t))


def keys_of(told: Told) -> tuple[str, ...]:
    tolerance = Tolerance(timedelta(days=1), timedelta(minutes=5))
    body = told.body.encode()
    return delivery(trace_id=told.trace, proof=proof_of(told), body=body, type_="any", now=NOW, tolerance=tolerance).ids


def merged(known: Known, more: Iterable[Facts]) -> Known:
    together = dict(known)
    for facts in more:
        together[facts.user_id] = together.get(facts.user_id, Facts(facts.user_id)).merged(facts)
    return together


def session_of(attempt: Attempt, heard: Iterable[Heard]) -> Session:
    mine = list(heard)
    returns = [one for one in mine if isinstance(one, Returned) and one.session_id == attempt.session_id]
    return Session(
        session_id=SessionId(attempt.session_id),
        reference_id=ReferenceId(attempt.reference_id),
        flow=Flow.WIDGET if attempt.widget else Flow.PROVIDER,
        resource=attempt.resource,
        user_id=None if attempt.user_id is None else UserId(attempt.user_id),
        widget_session_id=None if attempt.widget is None else SessionId(attempt.widget),
        success_hash=hash_secret("success"),
        failure_hash=hash_secret("failure"),
        return_to=None,
        language=None,
        created_at=attempt.created_at,
        expires_at=attempt.created_at + 3_600_000,
        ttl=attempt.created_at // 1000 + 604_800,
        confirmed_user_ids=frozenset(
            UserId(one.user_id) for one in mine if isinstance(one, Asked) and one.confirms == attempt.session_id
        ),
        failed_reasons=frozenset(reason_from(one.reason) for one in returns if one.reason is not None),
        needs_app=any(one.reason is None for one in returns),
    )


class Identities:
    """Checks that each root keeps one connection_id, and no two roots share one."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._roots: dict[str, str] = {}

    def seen(self, shown: Connection | None, expected: Seen | None) -> Seen | None:
        """Convert the code's view to the oracle's type."""
        if shown is None or expected is None:
            assert shown is None, f"{shown} should not be seen"
            return None
        assert self._ids.setdefault(expected.root, shown.connection_id) == shown.connection_id
        assert self._roots.setdefault(shown.connection_id, expected.root) == expected.root
        return Seen(
            root=self._roots[shown.connection_id],
            user_id=shown.user_id,
            reference_id=shown.reference_id,
            provider=shown.provider,
            status=shown.status.value,
            scopes=shown.scopes,
            connected_at=shown.connected_at,
        )


IDENTITIES = Identities()
PEOPLE = ("alice", "bob")


ORDERS = {
    "lives": 36_316,
    "troubles": 16_800,
    "reconnects": 48_780,
    "owners": 3_940,
    "scopes": 16_108,
    "askings": 32_946,
    "attempts": 21_536,
    "widgets": 3_450,
    "signatures": 23_892,
}
"""The number of orders, including each scenario with each of its inputs repeated once."""

Expected = tuple[list[tuple[str, Seen | None]], list[list[Seen]], list[Outcome]]
LISTS = tuple(itertools.product(PEOPLE, (True, False)))


@cache
def expected(heard: frozenset[Heard], attempts: tuple[Attempt, ...]) -> Expected:
    """Return the oracle's view."""
    world = World(heard)
    return (
        [(user_id, world.connection(user_id)) for user_id in sorted(world.user_ids)],
        [world.listing(reference_id, include_revoked=include_revoked) for reference_id, include_revoked in LISTS],
        [world.outcome(attempt) for attempt in attempts],
    )


def shown(known: Known, heard: frozenset[Heard], attempts: Iterable[Attempt], right: Expected) -> tuple[Any, ...]:
    """Return the code's view, after comparing it with the oracle's."""
    store = InMemory(known)
    connections, lists, outcomes = right
    pictures: list[Any] = []
    for user_id, seen in connections:
        connection = store.family_of([UserId(user_id)]).view(UserId(user_id))
        assert IDENTITIES.seen(connection, seen) == seen
        pictures.append(connection)
    for (reference_id, include_revoked), listed in zip(LISTS, lists, strict=True):
        whose = ReferenceId(reference_id)
        theirs = listed_connections(whose, store.of_user(whose), include_revoked=include_revoked)
        assert [connection.user_id for connection in theirs] == [seen.user_id for seen in listed]
        assert [IDENTITIES.seen(*pair) for pair in zip(theirs, listed, strict=True)] == listed
        pictures.append(theirs)
    for attempt, outcome in zip(attempts, outcomes, strict=True):
        view = resolve_session(session_of(attempt, heard), reports=Reports(heard), connections=store, now=NOW)
        assert view.status == outcome.status
        assert view.reason in outcome.reasons or not outcome.reasons
        assert view.user_id in outcome.user_ids or not outcome.user_ids
        pictures.append((view.status, view.reason, view.user_id))
    return tuple(pictures)


@dataclass(frozen=True)
class State:
    """The known facts after some order, together with that order."""

    known: Known
    kept: frozenset[Heard]
    order: tuple[Heard, ...]
    after: dict[Heard, "State"] = field(default_factory=dict)

    @property
    def layout(self) -> Hashable:
        """The order of the dictionaries' items, which must make no difference either."""
        return tuple((user_id, tuple(facts.newest)) for user_id, facts in self.known.items())


class Orders:
    """Runs through every order of a scenario and counts them.

    If two orders reach the same state - equal facts, in dictionaries of equal order - it is computed only once.
    """

    def __init__(self, story: Story, *, remembers_deliveries: bool) -> None:
        self.count = 0
        self._attempts = story.attempts
        self._remembers = remembers_deliveries
        self._parts = list(Counter(story.heard))
        self._facts = {heard: facts_of(heard) for heard in self._parts}
        self._keys = {heard: keys_of(heard) if isinstance(heard, Told) else () for heard in self._parts}
        self._firsts: dict[frozenset[Heard], tuple[Known, tuple[Any, ...]]] = {}
        self._states: dict[Hashable, State] = {}
        beginning = self._reached(State({}, frozenset(), ()))
        left = Counter(story.heard)
        self._walk(beginning, [left[part] for part in self._parts])

    def _walk(self, state: State, left: list[int]) -> None:
        is_over = True
        for place, part in enumerate(self._parts):
            if left[place]:
                is_over = False
                left[place] -= 1
                following = state.after.get(part)
                if following is None:
                    following = state.after[part] = self._reached(self._then(state, part))
                self._walk(following, left)
                left[place] += 1
        self.count += is_over

    def _then(self, state: State, heard: Heard) -> State:
        order = (*state.order, heard)
        if self._remembers:
            before = {key for one in state.order for key in self._keys[one]}
            is_duplicate = not before.isdisjoint(self._keys[heard])
            if is_duplicate:
                assert isinstance(heard, Told)
                disconnect = heard.disconnect
                assert taken(order) == state.kept | set(disconnect)
                facts = [fact for one in disconnect for fact in facts_of(one)]
                return replace(state, known=merged(state.known, facts), kept=state.kept | set(disconnect), order=order)
            assert taken(order) == state.kept | {heard}
        return State(merged(state.known, self._facts[heard]), state.kept | {heard}, order)

    def _reached(self, state: State) -> State:
        """Return the state after comparing it with the oracle and with every other order of the same facts."""
        key = (state.kept, state.layout)
        if key not in self._states:
            seen = shown(state.known, state.kept, self._attempts, expected(state.kept, self._attempts))
            assert (state.known, seen) == self._firsts.setdefault(state.kept, (state.known, seen))
            self._states[key] = state
        known = self._states[key]
        assert state.known == known.known
        return known


def run(stories: Iterable[Story], *, remembers_deliveries: bool) -> int:
    return sum(Orders(story, remembers_deliveries=remembers_deliveries).count for story in stories)


@pytest.mark.parametrize(("name", "orders"), ORDERS.items())
def test_every_order_with_repeats_and_askings_shows_what_the_oracle_says(
    capsys: pytest.CaptureFixture[str], name: str, orders: int
) -> None:
    varied = [one for story in STORIES[name] for one in story.with_repeats]
    count = run(varied, remembers_deliveries=False)
    with capsys.disabled():
        print(f"\n{name}: {count} orders of {len(STORIES[name])} stories", end=" ")  # noqa: T201 - reports the size
    assert count == orders


def test_every_list_of_stories_is_tried() -> None:
    assert list(ORDERS) == list(STORIES)
    assert max(len(story.heard) for stories in STORIES.values() for story in stories) == 6


def test_every_order_shows_what_the_oracle_says_of_the_deliveries_that_were_taken() -> None:
    varied = [one for story in STORIES["signatures"] for one in story.with_repeats]
    assert run(varied, remembers_deliveries=True) == ORDERS["signatures"]


@pytest.mark.parametrize("remembers_deliveries", [False, True])
@pytest.mark.parametrize("ordering", [None, "0", "1700000010000", "999999999999999", "-1", "soon", "1e99"])
def test_a_captured_disconnect_ends_nothing_that_was_connected_after_it_was_signed(
    ordering: str | None, *, remembers_deliveries: bool
) -> None:
    connect, end, again = TELLER.auth("a", 1), TELLER.deauth("a", 5), TELLER.auth("a", 10)
    forged = (captured(end, "x", ordering=ordering), captured(end, "y", ordering=ordering))
    for order in itertools.permutations((connect, end, again, *forged)):
        known: Known = {}
        keys: set[str] = set()
        for heard in order:
            is_duplicate = remembers_deliveries and keys.intersection(keys_of(heard))
            for one in heard.disconnect if is_duplicate else [heard]:
                known = merged(known, facts_of(one))
            keys.update(keys_of(heard))
        view = Lineage(known.values()).view(UserId("a"))
        assert view is not None
        assert view.status is Status.CONNECTED


@pytest.mark.parametrize("ordering", [None, "0", "999999999999999"])
def test_a_captured_disconnect_that_comes_first_does_not_swallow_the_disconnect(ordering: str | None) -> None:
    connect, end = TELLER.auth("a", 1), TELLER.deauth("a", 5)
    for order in itertools.permutations((connect, end, captured(end, "x", ordering=ordering))):
        known: Known = {}
        for heard in order:
            known = merged(known, facts_of(heard))
        view = Lineage(known.values()).view(UserId("a"))
        assert view is not None
        assert view.status is Status.REVOKED


@pytest.mark.parametrize("ordering", ["999999999999999", "1700000900000"])
def test_a_captured_connect_revives_nothing_that_was_ended_after_it_was_signed(ordering: str) -> None:
    connect, end = TELLER.auth("a", 1), TELLER.deauth("a", 5)
    for order in itertools.permutations((connect, end, captured(connect, "x", ordering=ordering))):
        known: Known = {}
        for heard in order:
            known = merged(known, facts_of(heard))
        view = Lineage(known.values()).view(UserId("a"))
        assert view is not None
        assert view.status is Status.REVOKED
