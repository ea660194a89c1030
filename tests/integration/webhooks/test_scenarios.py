"""Scenarios that hypothesis generates, on DynamoDB Local: any order, repeats, concurrency, crashes at every step.

In every case, users see exactly the oracle's view of the durable facts.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from botocore.config import Config
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from local.testing import Stack
from terra_connections.connections.lineage import listed_connections
from terra_connections.connections.store import ConnectionStore
from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.sessions.outcome import resolve_session
from terra_connections.sessions.session import Session, reason_from
from terra_connections.sessions.store import SessionStore
from terra_connections.sessions.widget_reports import WidgetReportStore
from terra_connections.users.pseudonym import SHORTEST_KEY, Pseudonyms
from terra_connections.users.store import UserStore
from terra_connections.webhooks import payload
from terra_connections.webhooks.delivery import delivery, event_position
from terra_connections.webhooks.delivery_store import DeliveryStore
from terra_connections.webhooks.intake import store_webhook
from terra_connections.webhooks.signature import Tolerance, VerifiedSignature
from tests.support.oracle import (
    ConnectionView,
    Input,
    Oracle,
    RedirectInput,
    VerificationInput,
    WebhookInput,
)
from tests.support.scenario_inputs import new_session, verification_facts
from tests.support.scenarios import ScenarioBuilder, captured, retried

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

STEPS = [
    (moment, call) for call in ("BatchGetItem", "TransactWriteItems") for moment in ("before-send", "response-received")
]
BEFORE_THE_WRITE = ("before-send", "TransactWriteItems")
AFTER_THE_WRITE = ("response-received", "TransactWriteItems")
TOLERANCE = Tolerance(timedelta(days=1), timedelta(minutes=5))
BEGINS = int(time.time()) - 600
NOW = datetime.fromtimestamp(BEGINS + 60, UTC)
REFERENCE_IDS = ["alice", "bob"]
LATER = NOW + timedelta(minutes=5)
"""When users read: a repair no longer waits for the report of a replacement."""
USER_IDS = ["a", "b", "c", "issued", "issued-by-repair"]

Step = tuple[str, str]


class CrashedError(BaseException):
    """Simulates the end of the process: no code may catch it."""


class Stores:
    """The stores, with a client that can crash at a step."""

    def __init__(self, stack: Stack) -> None:
        client: DynamoDBClient = boto3.session.Session().client(
            "dynamodb",
            endpoint_url=stack.dynamodb_url,
            region_name=stack.region,
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=16),
        )
        for moment, call in STEPS:
            client.meta.events.register(f"{moment}.dynamodb.{call}", self._crash_or_wait)
        self._crash_at: Step | None = None
        self._barrier = threading.Barrier(1)
        self._waiting_threads: set[int] = set()
        self.users = UserStore(
            client,
            connections_table=stack.tables.connections,
            sessions_table=stack.tables.sessions,
            pseudonyms=Pseudonyms("k" * SHORTEST_KEY),
        )
        self.connections = ConnectionStore(client, stack.tables.connections, users=self.users)
        self.sessions = SessionStore(client, stack.tables.sessions)
        self.reports = WidgetReportStore(client, stack.tables.sessions)
        self.deliveries = DeliveryStore(stack.tables.deliveries)

    def _crash_or_wait(self, event_name: str, **_more: object) -> None:
        moment, _, call = event_name.split(".")
        if (moment, call) == BEFORE_THE_WRITE and threading.get_ident() in self._waiting_threads:
            self._waiting_threads.remove(threading.get_ident())
            self._barrier.wait()
        if self._crash_at == (moment, call):
            raise CrashedError

    def crashes(self, at: Step | None, work: Callable[[], object]) -> bool:
        """Run `work` and crash at a step of it. Return whether it reached that step."""
        self._crash_at = at
        try:
            work()
        except CrashedError:
            return True
        finally:
            self._crash_at = None
        return False

    def receive(self, delivered: WebhookInput) -> bool:
        """Store a delivery like the webhook's handler. Return whether it was new."""
        body, proof = delivered.body.encode(), VerifiedSignature("secret", str(delivered.t))
        event = payload.parse(body, event_position(proof, delivered.ordering))
        stored_as = delivery(
            trace_id=delivered.trace, proof=proof, body=body, type_=event.type, now=NOW, tolerance=TOLERANCE
        )
        return store_webhook(
            event,
            stored_as,
            deliveries=self.deliveries,
            reports=self.reports,
            connections=self.connections,
            now=NOW,
        )

    def receive_at_once(self, deliveries: list[WebhookInput]) -> list[bool]:
        """Store deliveries from threads that all read before the first of them writes."""
        self._barrier = threading.Barrier(len(deliveries))

        def receive(delivered: WebhookInput) -> bool:
            self._waiting_threads.add(threading.get_ident())
            return self.receive(delivered)

        with ThreadPoolExecutor(len(deliveries)) as pool:
            return list(pool.map(receive, deliveries))

    def verify(self, verified: VerificationInput) -> None:
        """Store Terra's response like a redirect, a sync or a sweep."""
        together = (
            [self.sessions.confirmation(SessionId(verified.confirms), UserId(verified.user_id))]
            if verified.confirms
            else []
        )
        assert self.connections.record([verification_facts(verified)], together_with=together) is not None

    def create(self, session: Session) -> None:
        """Store a new session as after Terra's response."""
        together = [self.sessions.creation(session)]
        assert self.connections.record(session.announcement, together_with=together, are_new=True) is not None


positions = st.integers(0, 8)
user_ids = st.sampled_from(USER_IDS)
owners = st.sampled_from(["alice", "alice", "bob", None, ""])
scopes = st.sampled_from([None, "", "A", "A,B", "B, C"])
steps = st.sampled_from(STEPS)
ordering: st.SearchStrategy[object] = st.sampled_from(["as emitted", "as emitted", "as emitted", None, "0", "9" * 15])
event_types = st.sampled_from(["auth", "deauth", "access_revoked", "error"])
crashes = st.none() | steps
numbers = count()


class Scenarios(RuleBasedStateMachine):
    """One scenario: the emitted events, the durable inputs, and the users' view."""

    emitted: Bundle[WebhookInput] = Bundle("emitted")

    stores: Stores

    def __init__(self) -> None:
        super().__init__()
        self.builder = ScenarioBuilder(begins=BEGINS, tag=f"{uuid4()}-")
        self.durable: set[Input] = set()
        self.ids: dict[str, str] = {}
        self.has_new_input = True
        self.attempts = [
            self.builder.attempt("issued", created=3),
            self.builder.attempt("never", created=5, owner="bob"),
            self.builder.widget_attempt(created=4),
            self.builder.repair("issued-by-repair", of="a", created=4, last_login=2),
        ]
        for attempt in self.attempts:
            self.stores.create(new_session(attempt, ttl=int((NOW + timedelta(days=1)).timestamp())))
        self.durable |= {self.builder.announced(attempt) for attempt in self.attempts if attempt.user_id}

    # -- Terra emits -------------------------------------------------------------------------------------------------

    @rule(target=emitted, user_id=user_ids, at=positions, owner=owners)
    def connect_by_widget(self, user_id: str, at: int, owner: str | None) -> WebhookInput:
        return self.builder.auth(user_id, at, owner, widget="widget")

    @rule(target=emitted, at=positions)
    def cancel_in_widget(self, at: int) -> WebhookInput:
        return self.builder.cancelled(at, widget="widget")

    @rule(
        target=emitted,
        user_id=user_ids,
        at=positions,
        owner=owners,
        scopes=scopes,
        ordering=ordering,
        is_old=st.booleans(),
    )
    def connect(
        self, user_id: str, at: int, owner: str | None, scopes: str | None, ordering: object, *, is_old: bool
    ) -> WebhookInput:
        if is_old:
            return self.builder.old_auth(user_id, at, owner, scopes=scopes)
        return self.builder.auth(user_id, at, owner, scopes=scopes, ordering=ordering)

    @rule(
        target=emitted,
        old=st.none() | st.sampled_from([*USER_IDS, "unknown"]),
        new=user_ids,
        at=positions,
        owner=owners,
    )
    def reconnect(self, old: str | None, new: str, at: int, owner: str | None) -> WebhookInput:
        return self.builder.reauth(old, new, at, owner)

    @rule(target=emitted, old=user_ids, new=user_ids, at=positions, owner=owners, old_owner=owners)
    def reconnect_between(self, old: str, new: str, at: int, owner: str | None, old_owner: str | None) -> WebhookInput:
        return self.builder.reauth(old, new, at, owner, old_owner=old_owner)

    @rule(
        target=emitted,
        type_=st.sampled_from(["deauth", "access_revoked", "error", "activity", "old_failure"]),
        user_id=user_ids,
        at=positions,
        owner=owners,
    )
    def emit(self, type_: str, user_id: str, at: int, owner: str | None) -> WebhookInput:
        if type_ == "old_failure":
            return self.builder.old_failure(user_id, at, "access_denied", owner)
        event: WebhookInput = getattr(self.builder, type_)(user_id, at, owner)
        return event

    @rule(target=emitted, user_id=user_ids, at=positions, scopes=scopes, added=scopes, removed=scopes)
    def change_permissions(
        self, user_id: str, at: int, scopes: str | None, added: str | None, removed: str | None
    ) -> WebhookInput:
        return self.builder.permissions(user_id, at, scopes=scopes, added=added, removed=removed)

    @rule(target=emitted, delivered=emitted, later=st.integers(0, 60), ordering=ordering, is_retry=st.booleans())
    def repeat(self, delivered: WebhookInput, later: int, ordering: str | None, *, is_retry: bool) -> WebhookInput:
        return retried(delivered, later) if is_retry else captured(delivered, str(next(numbers)), ordering=ordering)

    # -- the stack receives ------------------------------------------------------------------------------------------

    def is_known(self, delivered: WebhookInput) -> bool:
        return any(delivered.keys & each.keys for each in self.durable if isinstance(each, WebhookInput))

    @rule(delivered=emitted, crash=crashes)
    def deliver(self, delivered: WebhookInput, crash: Step | None) -> None:
        self.has_new_input, was_known = True, self.is_known(delivered)
        has_crashed = self.stores.crashes(crash, lambda: self.stores.receive(delivered))
        if not was_known and (not has_crashed or crash == AFTER_THE_WRITE):
            self.durable.add(delivered)
        # A duplicate's first write is rejected: it crashes before it has stored anything.
        if was_known and not has_crashed:
            self.durable.update(delivered.disconnect)

    @rule(delivered=emitted)
    def deliver_twice(self, delivered: WebhookInput) -> None:
        self.has_new_input, was_known = True, self.is_known(delivered)
        assert [self.stores.receive(delivered), self.stores.receive(delivered)] == [not was_known, False]
        self.durable.update(delivered.disconnect if was_known else [delivered])

    @rule(user_id=user_ids, events=st.lists(st.tuples(event_types, positions), min_size=2, max_size=4))
    def emit_and_deliver_at_once(self, user_id: str, events: list[tuple[str, int]]) -> None:
        self.deliver_at_once([getattr(self.builder, type_)(user_id, at) for type_, at in events])

    @rule(deliveries=st.lists(emitted, min_size=2, max_size=4))
    def deliver_at_once(self, deliveries: list[WebhookInput]) -> None:
        self.has_new_input, are_new = True, self.stores.receive_at_once(deliveries)
        new = [delivered for delivered, is_new in zip(deliveries, are_new, strict=True) if is_new]
        assert not any(self.is_known(delivered) for delivered in new)
        assert all(one.keys.isdisjoint(other.keys) for index, one in enumerate(new) for other in new[:index])
        self.durable |= {*new, *(part for each in deliveries if each not in new for part in each.disconnect)}
        assert all(map(self.is_known, deliveries))

    @rule(
        user_id=user_ids,
        at=positions,
        result=st.sampled_from(["authenticated", "unknown", "listed"]),
        owner=owners,
        confirms=st.none() | st.integers(0, 3),
        crash=crashes,
    )
    def verify(
        self, user_id: str, at: int, result: str, owner: str | None, confirms: int | None, crash: Step | None
    ) -> None:
        self.has_new_input, verified = True, self.builder.verification(user_id, at, result)
        if result == "authenticated":
            verified = self.builder.found(user_id, at, owner)
            if confirms is not None:
                verified = replace(verified, confirms=self.attempts[confirms].session_id)
        has_crashed = self.stores.crashes(crash, lambda: self.stores.verify(verified))
        if not has_crashed or crash == AFTER_THE_WRITE:
            self.durable.add(verified)

    @rule(number=st.integers(0, 3), reason=st.sampled_from(["access_denied", "missing_scopes", "unknown"]))
    def redirect_with_failure(self, number: int, reason: str) -> None:
        self.has_new_input, redirect = True, RedirectInput(self.attempts[number].session_id, reason)
        self.stores.sessions.add_failure(SessionId(redirect.session_id), reason_from(reason))
        self.durable.add(redirect)

    @rule()
    def redirect_without_user(self) -> None:
        self.has_new_input, redirect = True, RedirectInput(self.attempts[2].session_id, None)
        self.stores.sessions.add_needs_app(SessionId(redirect.session_id))
        self.durable.add(redirect)

    # -- users read --------------------------------------------------------------------------------------------------

    @invariant()
    def users_see_the_durable_inputs(self) -> None:
        if not self.has_new_input:
            return  # Terra has emitted an event that is not delivered yet
        self.has_new_input = False
        oracle, connections = Oracle(self.durable), self.stores.connections
        for name in USER_IDS:
            user_id = UserId(str(self.builder.name(name)))
            self.compare(connections.family_of([user_id]).view(user_id), oracle.connection(user_id))
        for name in REFERENCE_IDS:
            reference_id = ReferenceId(str(self.builder.name(name)))
            listed = listed_connections(reference_id, connections.of_user(reference_id), include_revoked=True)
            for shown, expected in zip(listed, oracle.listing(reference_id, include_revoked=True), strict=True):
                self.compare(shown, expected)
        for attempt in self.attempts:
            session = self.stores.sessions.find(SessionId(attempt.session_id), now=NOW)
            assert session is not None
            view = resolve_session(session, reports=self.stores.reports, connections=connections, now=LATER)
            outcome = oracle.outcome(attempt)
            assert view.status == outcome.status
            assert view.reason in outcome.reasons or not outcome.reasons
            assert view.user_id in outcome.user_ids or not outcome.user_ids

    def compare(self, shown: Any, expected: ConnectionView | None) -> None:  # noqa: ANN401
        if expected is None:
            assert shown is None
            return
        # An id may move to another root when more is known, but a root never has two ids.
        assert self.ids.setdefault(expected.root, shown.connection_id) == shown.connection_id
        assert len(set(self.ids.values())) == len(self.ids)
        assert expected == ConnectionView(
            root=expected.root,
            user_id=shown.user_id,
            reference_id=shown.reference_id,
            provider=shown.provider,
            status=shown.status.value,
            scopes=shown.scopes,
            connected_at=shown.connected_at,
        )


def test_users_see_the_durable_inputs_in_every_generated_scenario(stack: Stack) -> None:
    class Here(Scenarios):
        stores = Stores(stack)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=10,
            stateful_step_count=30,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
