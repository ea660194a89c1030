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
from terra_connections.connections.facts import (
    Facts,
    Kind,
    Position,
    TerraUser,
    confirmed_facts,
    only_revocations,
    scopes_from,
)
from terra_connections.connections.lineage import listed_connections
from terra_connections.connections.store import ConnectionStore
from terra_connections.ids import ReferenceId, SessionId, UserId, reference_id_from
from terra_connections.sessions.outcome import resolve_session
from terra_connections.sessions.session import Flow, Session, hash_secret, reason_from
from terra_connections.sessions.store import SessionStore
from terra_connections.sessions.widget_reports import WidgetReportStore
from terra_connections.users.pseudonym import SHORTEST_KEY, Pseudonyms
from terra_connections.users.store import UserStore
from terra_connections.webhooks import payload as event
from terra_connections.webhooks.delivery import delivery, event_position
from terra_connections.webhooks.delivery_store import DeliveryStore
from terra_connections.webhooks.signature import Tolerance, VerifiedSignature
from tests.support.oracle import Asked, Attempt, Heard, Returned, Seen, Told, World
from tests.support.scenarios import Teller, captured, retried

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
PEOPLE = ["alice", "bob"]
USERS = ["a", "b", "c", "issued"]

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
            client.meta.events.register(f"{moment}.dynamodb.{call}", self._pass)
        self._crash_at: Step | None = None
        self._together = threading.Barrier(1)
        self._on_their_way: set[int] = set()
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

    def _pass(self, event_name: str, **_more: object) -> None:
        moment, _, call = event_name.split(".")
        if (moment, call) == BEFORE_THE_WRITE and threading.get_ident() in self._on_their_way:
            self._on_their_way.remove(threading.get_ident())
            self._together.wait()
        if self._crash_at == (moment, call):
            raise CrashedError

    def dies(self, at: Step | None, work: Callable[[], object]) -> bool:
        """Run `work` and crash at a step of it. Return whether it reached that step."""
        self._crash_at = at
        try:
            work()
        except CrashedError:
            return True
        finally:
            self._crash_at = None
        return False

    def take(self, told: Told) -> bool:
        """Store a delivery like the webhook's handler. Return whether it was new."""
        body, proof = told.body.encode(), VerifiedSignature("secret", str(told.t))
        said = event.parse(body, event_position(proof, told.ordering))
        taken = delivery(trace_id=told.trace, proof=proof, body=body, type_=said.type, now=NOW, tolerance=TOLERANCE)
        known = self.connections.record(
            said.facts,
            together_with=self.deliveries.writes(taken),
            login=said.report.widget_session_id if said.report else None,
            of_login=self.reports.writes(said.report, now=NOW),
        )
        if known is None:
            self.connections.record(only_revocations(said.facts))
        return known is not None

    def take_at_once(self, several: list[Told]) -> list[bool]:
        """Store deliveries from threads that all read before the first of them writes."""
        self._together = threading.Barrier(len(several))

        def take(told: Told) -> bool:
            self._on_their_way.add(threading.get_ident())
            return self.take(told)

        with ThreadPoolExecutor(len(several)) as pool:
            return list(pool.map(take, several))

    def keep(self, asked: Asked) -> None:
        """Store Terra's response like a redirect, a sync or a sweep."""
        together = (
            [self.sessions.confirmation(SessionId(asked.confirms), UserId(asked.user_id))] if asked.confirms else []
        )
        assert self.connections.record([facts_of(asked)], together_with=together) is not None

    def create(self, session: Session) -> None:
        """Store a new session as after Terra's response."""
        together = [self.sessions.creation(session)]
        assert self.connections.record(session.announcement, together_with=together, are_new=True) is not None


def facts_of(asked: Asked) -> Facts:
    about, at = TerraUser(UserId(asked.user_id)), Position(asked.at)
    if asked.answer != "authenticated":
        return about.facts(at, Kind.ABSENT if asked.answer == "unknown" else Kind.PRESENT)
    owner, granted = reference_id_from(asked.reference_id), scopes_from(asked.scopes)
    return confirmed_facts(replace(about, owner=owner, provider=asked.provider, scopes=granted), at)


def session_of(attempt: Attempt) -> Session:
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
        ttl=int((NOW + timedelta(days=1)).timestamp()),
    )


moments = st.integers(0, 8)
users = st.sampled_from(USERS)
owners = st.sampled_from(["alice", "alice", "bob", None, ""])
scopes = st.sampled_from([None, "", "A", "A,B", "B, C"])
steps = st.sampled_from(STEPS)
ordering: st.SearchStrategy[object] = st.sampled_from(["as emitted", "as emitted", "as emitted", None, "0", "9" * 15])
contents = st.sampled_from(["auth", "deauth", "access_revoked", "error"])
crashes = st.none() | steps
numbers = count()


class Stories(RuleBasedStateMachine):
    """One scenario: the emitted events, the durable inputs, and the users' view."""

    emitted: Bundle[Told] = Bundle("emitted")

    stores: Stores

    def __init__(self) -> None:
        super().__init__()
        self.teller = Teller(begins=BEGINS, tag=f"{uuid4()}-")
        self.durable: set[Heard] = set()
        self.ids: dict[str, str] = {}
        self.was_tried = True
        self.attempts = [
            self.teller.attempt("issued", created=3),
            self.teller.attempt("never", created=5, owner="bob"),
            self.teller.on_terras_page(created=4),
        ]
        for attempt in self.attempts:
            self.stores.create(session_of(attempt))
        self.durable |= {self.teller.announced(attempt) for attempt in self.attempts if attempt.user_id}

    # -- Terra emits -------------------------------------------------------------------------------------------------

    @rule(target=emitted, user=users, at=moments, owner=owners)
    def connect_on_terras_page(self, user: str, at: int, owner: str | None) -> Told:
        return self.teller.auth(user, at, owner, widget="widget")

    @rule(target=emitted, at=moments)
    def cancel_on_terras_page(self, at: int) -> Told:
        return self.teller.cancelled(at, widget="widget")

    @rule(target=emitted, user=users, at=moments, owner=owners, scopes=scopes, ordering=ordering, is_old=st.booleans())
    def connect(
        self, user: str, at: int, owner: str | None, scopes: str | None, ordering: object, *, is_old: bool
    ) -> Told:
        if is_old:
            return self.teller.old_auth(user, at, owner, scopes=scopes)
        return self.teller.auth(user, at, owner, scopes=scopes, ordering=ordering)

    @rule(target=emitted, old=st.none() | st.sampled_from([*USERS, "unknown"]), new=users, at=moments, owner=owners)
    def reconnect(self, old: str | None, new: str, at: int, owner: str | None) -> Told:
        return self.teller.reauth(old, new, at, owner)

    @rule(target=emitted, old=users, new=users, at=moments, owner=owners, old_owner=owners)
    def reconnect_between(self, old: str, new: str, at: int, owner: str | None, old_owner: str | None) -> Told:
        return self.teller.reauth(old, new, at, owner, old_owner=old_owner)

    @rule(
        target=emitted,
        what=st.sampled_from(["deauth", "access_revoked", "error", "activity", "old_failure"]),
        user=users,
        at=moments,
        owner=owners,
    )
    def happen(self, what: str, user: str, at: int, owner: str | None) -> Told:
        if what == "old_failure":
            return self.teller.old_failure(user, at, "access_denied", owner)
        told: Told = getattr(self.teller, what)(user, at, owner)
        return told

    @rule(target=emitted, user=users, at=moments, scopes=scopes, added=scopes, removed=scopes)
    def change_permissions(
        self, user: str, at: int, scopes: str | None, added: str | None, removed: str | None
    ) -> Told:
        return self.teller.permissions(user, at, scopes=scopes, added=added, removed=removed)

    @rule(target=emitted, told=emitted, later=st.integers(0, 60), ordering=ordering, is_retry=st.booleans())
    def repeat(self, told: Told, later: int, ordering: str | None, *, is_retry: bool) -> Told:
        return retried(told, later) if is_retry else captured(told, str(next(numbers)), ordering=ordering)

    # -- the stack receives ------------------------------------------------------------------------------------------

    def is_known(self, told: Told) -> bool:
        return any(told.keys & one.keys for one in self.durable if isinstance(one, Told))

    @rule(told=emitted, crash=crashes)
    def deliver(self, told: Told, crash: Step | None) -> None:
        self.was_tried, was_known = True, self.is_known(told)
        has_died = self.stores.dies(crash, lambda: self.stores.take(told))
        if not was_known and (not has_died or crash == AFTER_THE_WRITE):
            self.durable.add(told)
        # A duplicate's first write is rejected: it crashes before it has stored anything.
        if was_known and not has_died:
            self.durable.update(told.disconnect)

    @rule(told=emitted)
    def deliver_twice(self, told: Told) -> None:
        self.was_tried, was_known = True, self.is_known(told)
        assert [self.stores.take(told), self.stores.take(told)] == [not was_known, False]
        self.durable.update(told.disconnect if was_known else [told])

    @rule(user=users, about=st.lists(st.tuples(contents, moments), min_size=2, max_size=4))
    def happen_at_once(self, user: str, about: list[tuple[str, int]]) -> None:
        self.deliver_at_once([getattr(self.teller, what)(user, at) for what, at in about])

    @rule(several=st.lists(emitted, min_size=2, max_size=4))
    def deliver_at_once(self, several: list[Told]) -> None:
        self.was_tried, are_new = True, self.stores.take_at_once(several)
        new = [told for told, is_new in zip(several, are_new, strict=True) if is_new]
        assert not any(self.is_known(told) for told in new)
        assert all(one.keys.isdisjoint(other.keys) for place, one in enumerate(new) for other in new[:place])
        self.durable |= {*new, *(one for told in several if told not in new for one in told.disconnect)}
        assert all(map(self.is_known, several))

    @rule(
        user=users,
        at=moments,
        answer=st.sampled_from(["authenticated", "unknown", "listed"]),
        owner=owners,
        confirms=st.none() | st.integers(0, 2),
        crash=crashes,
    )
    def ask(self, user: str, at: int, answer: str, owner: str | None, confirms: int | None, crash: Step | None) -> None:
        self.was_tried, asked = True, self.teller.asked(user, at, answer)
        if answer == "authenticated":
            asked = self.teller.found(user, at, owner)
            if confirms is not None:
                asked = replace(asked, confirms=self.attempts[confirms].session_id)
        has_died = self.stores.dies(crash, lambda: self.stores.keep(asked))
        if not has_died or crash == AFTER_THE_WRITE:
            self.durable.add(asked)

    @rule(number=st.integers(0, 2), reason=st.sampled_from(["access_denied", "missing_scopes", "unknown"]))
    def fail(self, number: int, reason: str) -> None:
        self.was_tried, returned = True, Returned(self.attempts[number].session_id, reason)
        self.stores.sessions.add_failure(SessionId(returned.session_id), reason_from(reason))
        self.durable.add(returned)

    @rule()
    def find_nothing(self) -> None:
        self.was_tried, returned = True, Returned(self.attempts[2].session_id, None)
        self.stores.sessions.add_needs_app(SessionId(returned.session_id))
        self.durable.add(returned)

    # -- users read --------------------------------------------------------------------------------------------------

    @invariant()
    def people_see_what_is_durable(self) -> None:
        if not self.was_tried:
            return  # Terra has emitted an event that is not delivered yet
        self.was_tried = False
        world, connections = World(self.durable), self.stores.connections
        for name in USERS:
            user_id = UserId(str(self.teller.name(name)))
            self.compare(connections.family_of([user_id]).view(user_id), world.connection(user_id))
        for name in PEOPLE:
            whose = ReferenceId(str(self.teller.name(name)))
            theirs = listed_connections(whose, connections.of_user(whose), include_revoked=True)
            for shown, seen in zip(theirs, world.listing(whose, include_revoked=True), strict=True):
                self.compare(shown, seen)
        for attempt in self.attempts:
            session = self.stores.sessions.find(SessionId(attempt.session_id), now=NOW)
            assert session is not None
            view = resolve_session(session, reports=self.stores.reports, connections=connections, now=NOW)
            outcome = world.outcome(attempt)
            assert view.status == outcome.status
            assert view.reason in outcome.reasons or not outcome.reasons
            assert view.user_id in outcome.user_ids or not outcome.user_ids

    def compare(self, shown: Any, seen: Seen | None) -> None:  # noqa: ANN401
        if seen is None:
            assert shown is None
            return
        # An id may move to another root when more is known, but a root never has two ids.
        assert self.ids.setdefault(seen.root, shown.connection_id) == shown.connection_id
        assert len(set(self.ids.values())) == len(self.ids)
        assert seen == Seen(
            root=seen.root,
            user_id=shown.user_id,
            reference_id=shown.reference_id,
            provider=shown.provider,
            status=shown.status.value,
            scopes=shown.scopes,
            connected_at=shown.connected_at,
        )


def test_generated_scenarios_give_the_view_of_the_oracle(stack: Stack) -> None:
    class Here(Stories):
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
