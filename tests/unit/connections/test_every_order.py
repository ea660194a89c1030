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
    Position,
    Status,
    announcement_facts,
)
from terra_connections.connections.lineage import Lineage, listed_connections
from terra_connections.connections.store import ConnectionStore
from terra_connections.ids import ReferenceId, UserId
from terra_connections.sessions.outcome import resolve_session
from terra_connections.sessions.session import Session, reason_from
from terra_connections.sessions.widget_reports import WidgetReportStore
from terra_connections.webhooks import payload
from terra_connections.webhooks.delivery import delivery, event_position
from terra_connections.webhooks.signature import Tolerance, VerifiedSignature
from tests.support.oracle import (
    AnnouncementInput,
    ConnectionView,
    Input,
    Oracle,
    Outcome,
    RedirectInput,
    SessionAttempt,
    VerificationInput,
    WebhookInput,
    stored_inputs,
)
from tests.support.scenario_inputs import new_session, verification_facts
from tests.support.scenarios import Scenario, ScenarioBuilder, captured, everything

BUILDER = ScenarioBuilder(begins=1_700_000_000)
SCENARIOS = everything(BUILDER)
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

    def __init__(self, inputs: Iterable[Input]) -> None:
        events = [event_of(input_) for input_ in inputs if isinstance(input_, WebhookInput)]
        self._reports = [event.report for event in events if event.report is not None]

    def with_report(self, session: Session) -> Session:
        reports = [report for report in self._reports if report.widget_session_id == session.widget_session_id]
        return reduce(Session.with_widget_report, reports, session)


@cache
def event_of(delivered: WebhookInput) -> payload.WebhookEvent:
    return payload.parse(delivered.body.encode(), event_position(signature_of(delivered), delivered.ordering))


def facts_of(input_: Input) -> tuple[Facts, ...]:
    """Return the facts that the code derives from one input."""
    match input_:
        case WebhookInput():
            return event_of(input_).facts
        case RedirectInput():
            return ()
        case AnnouncementInput():
            return (announcement_facts(UserId(input_.user_id), ReferenceId(input_.reference_id), Position(input_.at)),)
    return (verification_facts(input_),)


def signature_of(delivered: WebhookInput) -> VerifiedSignature:
    return VerifiedSignature("secret", str(delivered.t))


def keys_of(delivered: WebhookInput) -> tuple[str, ...]:
    tolerance = Tolerance(timedelta(days=1), timedelta(minutes=5))
    signature, body = signature_of(delivered), delivered.body.encode()
    return delivery(trace_id=delivered.trace, proof=signature, body=body, type_="any", now=NOW, tolerance=tolerance).ids


def merged(known: Known, more: Iterable[Facts]) -> Known:
    together = dict(known)
    for facts in more:
        together[facts.user_id] = together.get(facts.user_id, Facts(facts.user_id)).merged(facts)
    return together


def session_of(attempt: SessionAttempt, inputs: Iterable[Input]) -> Session:
    known = list(inputs)
    redirects = [each for each in known if isinstance(each, RedirectInput) and each.session_id == attempt.session_id]
    return replace(
        new_session(attempt, ttl=attempt.created_at // 1000 + 604_800),
        confirmed_user_ids=frozenset(
            UserId(each.user_id)
            for each in known
            if isinstance(each, VerificationInput) and each.confirms == attempt.session_id
        ),
        failed_reasons=frozenset(reason_from(each.reason) for each in redirects if each.reason is not None),
        needs_app=any(each.reason is None for each in redirects),
    )


class Identities:
    """Checks that each root keeps one connection_id, and no two roots share one."""

    def __init__(self) -> None:
        self._ids: dict[str, str] = {}
        self._roots: dict[str, str] = {}

    def converted(self, shown: Connection | None, expected: ConnectionView | None) -> ConnectionView | None:
        """Convert the code's view to the oracle's type."""
        if shown is None or expected is None:
            assert shown is None, f"{shown} should not be visible"
            return None
        assert self._ids.setdefault(expected.root, shown.connection_id) == shown.connection_id
        assert self._roots.setdefault(shown.connection_id, expected.root) == expected.root
        return ConnectionView(
            root=self._roots[shown.connection_id],
            user_id=shown.user_id,
            reference_id=shown.reference_id,
            provider=shown.provider,
            status=shown.status.value,
            scopes=shown.scopes,
            connected_at=shown.connected_at,
        )


IDENTITIES = Identities()
REFERENCE_IDS = ("alice", "bob")

ORDERS = {
    "lifecycles": 36_316,
    "errors": 16_800,
    "reconnects": 48_780,
    "owners": 3_940,
    "scopes": 16_108,
    "verifications": 32_946,
    "sessions": 21_536,
    "repairs": 13_230,
    "widgets": 3_450,
    "signatures": 23_892,
}
"""The number of orders, including each scenario with each of its inputs repeated once."""

Expected = tuple[list[tuple[str, ConnectionView | None]], list[list[ConnectionView]], list[Outcome]]
LISTS = tuple(itertools.product(REFERENCE_IDS, (True, False)))


@cache
def expected_view(inputs: frozenset[Input], attempts: tuple[SessionAttempt, ...]) -> Expected:
    """Return the oracle's view."""
    oracle = Oracle(inputs)
    return (
        [(user_id, oracle.connection(user_id)) for user_id in sorted(oracle.user_ids)],
        [oracle.listing(reference_id, include_revoked=include_revoked) for reference_id, include_revoked in LISTS],
        [oracle.outcome(attempt) for attempt in attempts],
    )


def compared_view(
    known: Known, inputs: frozenset[Input], attempts: Iterable[SessionAttempt], expected: Expected
) -> tuple[Any, ...]:
    """Return the code's view, after comparing it with the oracle's."""
    store = InMemory(known)
    connections, lists, outcomes = expected
    views: list[Any] = []
    for user_id, expected_connection in connections:
        connection = store.family_of([UserId(user_id)]).view(UserId(user_id))
        assert IDENTITIES.converted(connection, expected_connection) == expected_connection
        views.append(connection)
    for (name, include_revoked), expected_list in zip(LISTS, lists, strict=True):
        reference_id = ReferenceId(name)
        listed = listed_connections(reference_id, store.of_user(reference_id), include_revoked=include_revoked)
        assert [connection.user_id for connection in listed] == [view.user_id for view in expected_list]
        assert [IDENTITIES.converted(*pair) for pair in zip(listed, expected_list, strict=True)] == expected_list
        views.append(listed)
    for attempt, outcome in zip(attempts, outcomes, strict=True):
        view = resolve_session(session_of(attempt, inputs), reports=Reports(inputs), connections=store, now=NOW)
        assert view.status == outcome.status
        assert view.reason in outcome.reasons or not outcome.reasons
        assert view.user_id in outcome.user_ids or not outcome.user_ids
        views.append((view.status, view.reason, view.user_id))
    return tuple(views)


@dataclass(frozen=True)
class State:
    """The known facts after some order, together with that order."""

    known: Known
    stored: frozenset[Input]
    order: tuple[Input, ...]
    next_states: dict[Input, "State"] = field(default_factory=dict)

    @property
    def layout(self) -> Hashable:
        """The order of the dictionaries' items, which must not affect the view."""
        return tuple((user_id, tuple(facts.newest)) for user_id, facts in self.known.items())


@dataclass
class ComparedViews:
    """The views of a scenario's states, each compared with the oracle once.

    Equal facts in dictionaries of equal order have the same view, also in another order of the scenario and with
    repeats.
    """

    attempts: tuple[SessionAttempt, ...]
    _views: dict[Hashable, tuple[Known, tuple[Any, ...]]] = field(default_factory=dict)
    _first_views: dict[frozenset[Input], tuple[Known, tuple[Any, ...]]] = field(default_factory=dict)

    def compare(self, state: State) -> None:
        """Compare a state with the oracle and with every other order of the same facts."""
        key = (state.stored, state.layout)
        if key not in self._views:
            expected = expected_view(state.stored, self.attempts)
            view = (state.known, compared_view(state.known, state.stored, self.attempts, expected))
            assert view == self._first_views.setdefault(state.stored, view)
            self._views[key] = view
        assert state.known == self._views[key][0]


class Orders:
    """Runs through every order of a scenario and counts them.

    If two orders reach the same state - equal facts, in dictionaries of equal order - the orders continue from it
    together.
    """

    def __init__(self, scenario: Scenario, views: ComparedViews, *, deduplicates: bool) -> None:
        self.count = 0
        self._deduplicates = deduplicates
        self._views = views
        self._inputs = list(Counter(scenario.inputs))
        self._facts = {input_: facts_of(input_) for input_ in self._inputs}
        self._keys = {input_: keys_of(input_) if isinstance(input_, WebhookInput) else () for input_ in self._inputs}
        self._states: dict[Hashable, State] = {}
        start = self._reached(State({}, frozenset(), ()))
        remaining = Counter(scenario.inputs)
        self._walk(start, [remaining[input_] for input_ in self._inputs])

    def _walk(self, state: State, remaining: list[int]) -> None:
        is_complete = True
        for index, input_ in enumerate(self._inputs):
            if remaining[index]:
                is_complete = False
                remaining[index] -= 1
                next_state = state.next_states.get(input_)
                if next_state is None:
                    next_state = state.next_states[input_] = self._reached(self._next(state, input_))
                self._walk(next_state, remaining)
                remaining[index] += 1
        self.count += is_complete

    def _next(self, state: State, input_: Input) -> State:
        order = (*state.order, input_)
        if self._deduplicates:
            before = {key for earlier in state.order for key in self._keys[earlier]}
            is_duplicate = not before.isdisjoint(self._keys[input_])
            if is_duplicate:
                assert isinstance(input_, WebhookInput)
                stored = state.stored | set(input_.disconnect)
                assert stored_inputs(order) == stored
                facts = [fact for part in input_.disconnect for fact in facts_of(part)]
                return State(merged(state.known, facts), stored, order)
            assert stored_inputs(order) == state.stored | {input_}
        return State(merged(state.known, self._facts[input_]), state.stored | {input_}, order)

    def _reached(self, state: State) -> State:
        """Return the state, or the equal one that an earlier order reached."""
        self._views.compare(state)
        return self._states.setdefault((state.stored, state.layout), state)


def count_orders(scenarios: Iterable[Scenario], *, deduplicates: bool) -> int:
    """Run through every order of the scenarios, as they are and with each of their inputs repeated."""
    count = 0
    for scenario in scenarios:
        views = ComparedViews(scenario.attempts)
        count += sum(Orders(each, views, deduplicates=deduplicates).count for each in scenario.with_repeats)
    return count


@pytest.mark.parametrize(("name", "orders"), ORDERS.items())
def test_every_order_with_repeats_and_verifications_gives_the_view_of_the_oracle(
    capsys: pytest.CaptureFixture[str], name: str, orders: int
) -> None:
    count = count_orders(SCENARIOS[name], deduplicates=False)
    with capsys.disabled():
        print(f"\n{name}: {count} orders of {len(SCENARIOS[name])} scenarios", end=" ")  # noqa: T201 - reports the size
    assert count == orders


def test_every_list_of_scenarios_is_run() -> None:
    assert list(ORDERS) == list(SCENARIOS)
    assert max(len(scenario.inputs) for scenarios in SCENARIOS.values() for scenario in scenarios) == 6


def test_every_order_of_deduplicated_deliveries_gives_the_view_of_the_oracle() -> None:
    assert count_orders(SCENARIOS["signatures"], deduplicates=True) == ORDERS["signatures"]


def statuses(*inputs: WebhookInput, deduplicates: bool = False) -> set[Status | None]:
    """Return the statuses of the connection `a` at the end of every order of deliveries."""
    found: set[Status | None] = set()
    for order in itertools.permutations(inputs):
        known: Known = {}
        keys: set[str] = set()
        for input_ in order:
            is_duplicate = deduplicates and keys.intersection(keys_of(input_))
            for part in input_.disconnect if is_duplicate else [input_]:
                known = merged(known, facts_of(part))
            keys.update(keys_of(input_))
        view = Lineage(known.values()).view(UserId("a"))
        found.add(view.status if view else None)
    return found


@pytest.mark.parametrize("deduplicates", [False, True])
@pytest.mark.parametrize("ordering", [None, "0", "1700000010000", "999999999999999", "-1", "soon", "1e99"])
def test_a_captured_disconnect_does_not_revoke_a_connection_that_was_made_after_it_was_signed(
    ordering: str | None, *, deduplicates: bool
) -> None:
    connect, disconnect, reconnect = BUILDER.auth("a", 1), BUILDER.deauth("a", 5), BUILDER.auth("a", 10)
    forged = (captured(disconnect, "x", ordering=ordering), captured(disconnect, "y", ordering=ordering))
    inputs = (connect, disconnect, reconnect, *forged)
    assert statuses(*inputs, deduplicates=deduplicates) == {Status.CONNECTED}


@pytest.mark.parametrize("ordering", [None, "0", "999999999999999"])
def test_a_captured_disconnect_that_arrives_first_does_not_suppress_the_real_one(ordering: str | None) -> None:
    connect, disconnect = BUILDER.auth("a", 1), BUILDER.deauth("a", 5)
    assert statuses(connect, disconnect, captured(disconnect, "x", ordering=ordering)) == {Status.REVOKED}


@pytest.mark.parametrize("ordering", ["999999999999999", "1700000900000"])
def test_a_captured_connect_does_not_restore_a_connection_that_was_revoked_after_it_was_signed(ordering: str) -> None:
    connect, disconnect = BUILDER.auth("a", 1), BUILDER.deauth("a", 5)
    assert statuses(connect, disconnect, captured(connect, "x", ordering=ordering)) == {Status.REVOKED}
