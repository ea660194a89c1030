"""A connected wearable without data is an event, once for each period without data."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest

from local.testing import Stack
from terra_connections.change_events.event_bus import EventBus
from terra_connections.connections.facts import (
    Position,
    TerraUser,
    confirmed_facts,
    error_facts,
    reconnect_facts,
    revocation_facts,
)
from terra_connections.connections.store import ConnectionStore
from terra_connections.data.delivery import DataDelivery
from terra_connections.data.quiet import KEPT_FOR, LastDataStore, QuietWatch, went_quiet
from terra_connections.ids import ReferenceId, UserId
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.users.store import UserStore
from tests.support.data import LOADED_WITHIN, listening
from tests.support.documents import closed, event_schema
from tests.support.handlers import Handlers, Run
from tests.support.sweeps import Sweeping, connect_at_terra, connection_item, own_sweeping
from tests.support.tables import own_tables
from tests.support.terra import Terra
from tests.support.waiting import eventually
from tools.environment import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from terra_connections.change_events.change_event import ChangeEvent

AFTER = 7
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
OLD = Position(int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000))
ADA = ReferenceId("ada")


def test_the_first_sweep_of_a_day_publishes_each_quiet_connection_once(
    stack: Stack, handlers: Handlers, dynamodb: "DynamoDBClient", terra: Terra
) -> None:
    terra.settings(send_webhooks=False)
    quiet, active, unseen = connect_at_terra(terra, 3)
    settings = {"QUIET_AFTER_DAYS": str(AFTER), "EVENT_BUS_NAME": stack.event_buses["EventBus"]}
    today = datetime.now(UTC).date()
    with ExitStack() as held:
        listener = held.enter_context(listening(stack, ["went_quiet"]))
        sweeping = replace(held.enter_context(own_sweeping(handlers, dynamodb, stack)), settings=settings)
        sweeping.load([connection_item(user_id) for user_id in (quiet, active, unseen)])
        days = LastDataStore(dynamodb, sweeping.sessions_table)
        days.note(UserId(quiet), today - timedelta(days=AFTER + 1))
        days.note(UserId(active), today - timedelta(days=AFTER))
        assert sweeping.has_started()
        assert any("PutEvents" in point for run in sweeping.process_all() for point in run.points)
        assert days.read([UserId(unseen)])[UserId(unseen)].day == today
        before = days.read([UserId(quiet)])

        assert not publishes(sweeping)  # the second sweep of the day
        sweeping.change("sweep:current", day=(today - timedelta(days=1)).isoformat())
        assert not publishes(sweeping)  # the first one of the next day
        assert days.read([UserId(quiet)]) == before
        [event] = eventually(listener.all, within=LOADED_WITHIN)
    detail = event["detail"]
    assert (detail["connection"]["user_id"], detail["reference_id"]) == (quiet, "alice")
    assert detail["quiet_since"] == (today - timedelta(days=AFTER + 1)).isoformat()
    assert {each["user_id"] for each in detail["connections"]} == {quiet, active, unseen}
    assert closed(event_schema())["properties"].keys() >= detail.keys()


def publishes(sweeping: Sweeping) -> bool:
    """Run a sweep, and return whether it published an event."""
    return any("PutEvents" in point for run in sweeping.sweep() for point in run.points)


# --- the days of data ------------------------------------------------------------------------------------------------


def record(user_id: str, position: int) -> dict[str, Any]:
    event = json.loads((ROOT / "events" / "publish_data.json").read_text())
    image = event["Records"][0]["dynamodb"]["NewImage"]
    image |= {"user_id": {"S": user_id}, "position": {"N": str(position)}}
    return dict(event)


def test_publish_data_writes_once_for_each_user_and_day(
    handlers: Handlers, dynamodb: "DynamoDBClient", user_id: str
) -> None:
    with own_tables(dynamodb, "Connections", "Sessions") as (connections, sessions):
        changes = {"CONNECTIONS_TABLE": connections, "SESSIONS_TABLE": sessions, "QUIET_AFTER_DAYS": str(AFTER)}

        def publish(day: int) -> Run:
            position = int(datetime(2026, 11, day, 10, tzinfo=UTC).timestamp() * 1000)
            run = handlers.run("publish_data", record(user_id, position), environment=changes)
            assert run.result == {"batchItemFailures": []}, run.error
            return run

        writes = ["dynamodb.UpdateItem" in publish(day).trips for day in (5, 5, 4, 6, 6)]
        assert writes == [True, False, False, True, False]
        days = LastDataStore(dynamodb, sessions)
        assert days.read([UserId(user_id)])[UserId(user_id)].day == date(2026, 11, 6)
        without = {**changes, "QUIET_AFTER_DAYS": "0"}
        run = handlers.run("publish_data", record(user_id, int(NOON.timestamp() * 1000)), environment=without)
        assert run.trips.count("dynamodb.BatchGetItem") == publish(6).trips.count("dynamodb.BatchGetItem") - 1
        assert "dynamodb.UpdateItem" not in run.trips


def test_data_of_an_erased_user_leaves_no_day(
    stack: Stack, handlers: Handlers, dynamodb: "DynamoDBClient", user_id: str
) -> None:
    with own_sweeping(handlers, dynamodb, stack) as own:
        own.put_tombstones(user_id)
        run = handlers.run(
            "publish_data",
            record(user_id, int(NOON.timestamp() * 1000)),
            environment={**own.environment, "QUIET_AFTER_DAYS": str(AFTER)},
        )
        assert json.loads(run.log.splitlines()[-1])["deleted"] == 1
        assert LastDataStore(dynamodb, own.sessions_table).read([UserId(user_id)]) == {}


# --- the check, with a clock of its own ------------------------------------------------------------------------------


class RecordedBus(EventBus):
    """A bus that records events, or refuses them."""

    def __init__(self) -> None:
        self.events: list[ChangeEvent] = []
        self.refuses = False

    def put(self, events: Any, position: Position) -> None:  # noqa: ANN401 - as in EventBus
        """Record an event."""
        if self.refuses:
            raise ConnectionError
        for event, connections in events:
            assert event.connection in connections
            assert position >= event.at
            self.events.append(event)


@dataclass
class Checked:
    """Connections, their days, and the check."""

    connections: ConnectionStore
    days: LastDataStore
    sessions_table: str
    bus: RecordedBus = field(default_factory=RecordedBus)

    def check(self, day: int = 0, *, is_over: bool = False) -> bool:
        """Check every connection, some days after `NOON`."""
        some, _ = self.connections.page(0, of=1, start=None, limit=100)
        watch = QuietWatch(self.connections, self.days, self.bus, AFTER)
        return watch.check(some, now=NOON + timedelta(days=day), is_over=lambda: is_over)

    def data(self, user_id: UserId, day: int) -> None:
        self.days.note(user_id, NOON.date() + timedelta(days=day))

    @property
    def published(self) -> list[tuple[str, int]]:
        """The user_id of each event, and the day since which it was quiet."""
        found = [(event.connection.user_id, event.quiet_since) for event in self.bus.events]
        return [(user_id, (since - NOON.date()).days) for user_id, since in found if since is not None]


@pytest.fixture
def checked(dynamodb: "DynamoDBClient") -> Iterator[Checked]:
    with own_tables(dynamodb, "Connections", "Sessions") as (table, sessions):
        users = UserStore(dynamodb, connections_table=table, sessions_table=sessions, pseudonyms=Pseudonyms("1" * 64))
        yield Checked(ConnectionStore(dynamodb, table, users=users), LastDataStore(dynamodb, sessions), sessions)


def user(name: str, owner: ReferenceId | None = ADA) -> TerraUser:
    return TerraUser(UserId(name), owner=owner, provider="FITBIT", scopes=("SLEEP",))


A = UserId("a")


def test_a_connection_is_quiet_after_whole_days_without_data_and_again_after_new_data(checked: Checked) -> None:
    checked.connections.record([confirmed_facts(user("a"), OLD)])
    checked.check()  # from now on
    for day in range(1, AFTER + 1):
        checked.check(day)
    assert checked.published == []
    for day in (AFTER + 1, AFTER + 2, AFTER + 60):
        checked.check(day)
    assert checked.published == [("a", 0)]
    checked.data(A, AFTER + 61)
    for day in (AFTER + 62, 2 * AFTER + 61, 2 * AFTER + 62, 2 * AFTER + 63):
        checked.check(day)
    assert checked.published == [("a", 0), ("a", AFTER + 61)]
    assert len({event.event_id for event in checked.bus.events}) == 2


def test_an_event_that_was_not_recorded_as_published_has_the_same_id(checked: Checked) -> None:
    checked.connections.record([confirmed_facts(user("a"), OLD)])
    checked.data(A, -9)
    checked.bus.refuses = True
    with pytest.raises(ConnectionError):
        checked.check()
    checked.bus.refuses = False
    assert not checked.check(is_over=True)
    assert checked.check()
    [event] = checked.bus.events
    again = went_quiet(event.connection, ADA, NOON.date() - timedelta(days=9), now=NOON + timedelta(days=1))
    assert again.event_id == event.event_id


def test_a_new_login_begins_a_new_period(checked: Checked) -> None:
    checked.connections.record([confirmed_facts(user("a"), OLD)])
    checked.data(A, -20)
    checked.connections.record([error_facts(user("a"), Position(OLD + 1))])
    checked.check()
    assert checked.published == []  # needs_reauth has an event of its own
    login = Position(int(NOON.timestamp() * 1000))
    checked.connections.record([confirmed_facts(user("a"), login)])
    checked.check(AFTER)
    assert checked.published == []
    checked.check(AFTER + 1)
    assert checked.published == [("a", 0)]


def test_only_current_connections_of_known_users_are_checked(checked: Checked) -> None:
    unknown, gone, old, new = (user(name, owner) for name, owner in zip("ugon", (None, ADA, ADA, ADA), strict=True))
    for each in (unknown, gone, old, new):
        checked.connections.record([confirmed_facts(each, OLD)])
        checked.data(each.user_id, -20)
    checked.connections.record([revocation_facts(gone, Position(OLD + 1), by="deauth")])
    checked.connections.record(list(reconnect_facts(new, old, Position(OLD + 1))))
    checked.check()
    assert checked.published == [("n", -20)]
    checked.connections.record([confirmed_facts(user("u"), Position(OLD + 1))])
    checked.check()
    assert checked.published == [("n", -20), ("u", -20)]


def test_an_erasure_that_begins_after_the_page_was_read_is_respected(checked: Checked) -> None:
    checked.connections.record([confirmed_facts(user("a"), OLD)])
    checked.data(A, -20)
    some, _ = checked.connections.page(0, of=1, start=None, limit=100)
    checked.connections.put_tombstones([A])
    watch = QuietWatch(checked.connections, checked.days, checked.bus, AFTER)
    assert watch.check(some, now=NOON, is_over=lambda: False)
    assert checked.published == []


def test_days_are_the_same_in_any_order_and_any_number(checked: Checked) -> None:
    deliveries = [delivery(day) for day in (1, 2, 2, 3)]
    found = []
    for number, order in enumerate(permutations(deliveries)):
        user_id = UserId(f"user-{number}")
        for each in order:
            checked.days.note_deliveries([replace(each, user_id=user_id)])
        checked.days.note_deliveries([replace(each, user_id=user_id) for each in order])
        found.append(checked.days.read([user_id])[user_id])
    assert set(found) == {found[0]}
    assert found[0].day == date(2026, 11, 3)


def delivery(day: int) -> DataDelivery:
    position = Position(int(datetime(2026, 11, day, 23, 59, tzinfo=UTC).timestamp() * 1000))
    return DataDelivery("e", "k", "daily", position, records=1, bytes=1, sha256="", user_id=A)


def test_the_day_of_a_silent_connection_is_kept_and_that_of_an_erased_one_expires(checked: Checked) -> None:
    checked.connections.record([confirmed_facts(user("a"), OLD)])
    checked.check()
    expiries = []
    for day in range(0, 100, 10):
        checked.check(day)
        expiries.append(datetime.fromtimestamp(checked.days.read([A])[A].expires, UTC).date())
        assert expiries[-1] > NOON.date() + timedelta(days=day + 10)
    assert expiries[-1] <= NOON.date() + timedelta(days=90) + KEPT_FOR
    assert checked.published == [("a", 0)]


def test_no_id_is_in_the_table(checked: Checked, dynamodb: "DynamoDBClient") -> None:
    user_id = UserId("0b5e7f3a-4a4c-4c3e-9f57-2d5a1d6b6c01")
    checked.data(user_id, 0)
    [item] = dynamodb.scan(TableName=checked.sessions_table)["Items"]
    assert item["session_id"]["S"] == f"data:{hashlib.sha256(user_id.encode()).hexdigest()}"
    assert user_id not in json.dumps(item)
