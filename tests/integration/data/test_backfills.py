"""Backfills: requests to the simulated Terra, real tables, and the state that is computed from what arrives."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local import messages
from local.testing import Stack
from terra_connections.connections.facts import Position
from terra_connections.data.backfill import Accepted, Backfill, Period, Progress, State, Target, as_json, type_view
from terra_connections.data.backfill_step import Step
from terra_connections.data.backfill_store import BackfillStore
from terra_connections.data.backfill_worker import BackfillWorker, Outcome
from terra_connections.data.delivery import DataDelivery
from terra_connections.data.receipts import ReceiptStore
from terra_connections.dynamodb import transact
from terra_connections.ids import ReferenceId, UserId
from terra_connections.step_queue import Step as QueuedStep
from terra_connections.step_queue import StepQueue
from terra_connections.terra import transport
from terra_connections.terra.client import TerraClient
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.users.store import UserStore
from tests.support.api import connections_of
from tests.support.data import LOADED_WITHIN, Bucket
from tests.support.handlers import Handlers, http_event, kill
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.waiting import eventually
from tests.support.webhooks import Webhook

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Queue(StepQueue):
    """Keeps the messages, with their delays."""

    sent: list[tuple[QueuedStep, timedelta]] = field(default_factory=list)

    def send(self, step: QueuedStep, *, delay: timedelta = timedelta(0)) -> None:
        self.sent.append((step, delay))


@dataclass
class Bench:
    """A worker on real tables and the simulator, with a clock of its own."""

    stack: Stack
    dynamodb: "DynamoDBClient"
    now: float = field(default_factory=time.time)
    elapsed: float = 0.0

    def __post_init__(self) -> None:
        tables = self.stack.tables
        users = UserStore(
            self.dynamodb,
            connections_table=tables.connections,
            sessions_table=tables.sessions,
            pseudonyms=Pseudonyms("1" * 64),
        )
        self.backfills = BackfillStore(self.dynamodb, tables.sessions, users)
        self.receipts = ReceiptStore(self.dynamodb, tables.sessions)
        self.queue = Queue()
        self.http = transport.client()
        terra = TerraClient(
            self.http,
            api_url=f"{self.stack.terra_url}/api/v2",
            widget_url=f"{self.stack.terra_url}/api/widget/session",
            dev_id=self.stack.terra_dev_id,
            api_key=lambda: self.stack.terra_api_key,
        )
        self.worker = BackfillWorker(
            terra, self.backfills, self.queue, clock=lambda: self.now, monotonic=lambda: self.elapsed
        )

    def start(self, user_id: str, days: int, *types: str, window_days: int = 7) -> Backfill:
        last = datetime.fromtimestamp(self.now, UTC).date()
        backfill = Backfill(
            str(uuid4()),
            ReferenceId(f"reference-{uuid4()}"),
            (Target(UserId(user_id), "FITBIT"),),
            types,
            Period(last - timedelta(days=days - 1), last),
            window_days,
            int(self.now * 1000),
        )
        self.backfills.create(backfill)
        return backfill

    def run(self, backfill: Backfill, *, steps: int = 50) -> list[Outcome]:
        """Process steps until no further one follows, and let the time pass for which each waits."""
        outcomes, step = [], Step(backfill.backfill_id, 0)
        for _ in range(steps):
            outcomes.append(self.worker.work(step).outcome)
            if not self.queue.sent:
                return outcomes
            sent, delay = self.queue.sent.pop()
            step = Step.parse(sent.as_text())
            self.now += delay.total_seconds()
        raise AssertionError(outcomes)

    def view(self, backfill: Backfill) -> list[dict[str, Any]]:
        progress = self.backfills.progress(backfill)
        received = self.receipts.read(one.reference for each in progress for one in each.accepted)
        found = as_json(backfill, progress, received, now=datetime.fromtimestamp(self.now, UTC))
        types: list[dict[str, Any]] = found["connections"][0]["types"]
        return types


@pytest.fixture
def bench(stack: Stack, dynamodb: "DynamoDBClient") -> Iterator[Bench]:
    bench = Bench(stack, dynamodb)
    yield bench
    bench.http.close()


@pytest.fixture
def quiet_terra(terra: Terra) -> Terra:
    """The simulator, which sends nothing by itself."""
    terra.settings(send_webhooks=False)
    return terra


def requested(terra: Terra, path: str = "/daily") -> list[dict[str, str]]:
    return [call["query"] for call in terra.calls(path)]


# --- deliveries in any order ------------------------------------------------------------------------------------------


def delivery(reference: str, *, chunk: int | None, number: int = 0, numbered: bool = False) -> DataDelivery:
    trace = None if chunk is None else f"{reference}:chunk:{chunk}"
    return DataDelivery(
        event_id=str(number),
        key="p/u/daily/1.json.gz",
        type="daily",
        position=Position(1),
        records=1,
        bytes=1,
        sha256="0",
        trace_id=trace,
        terra_reference=trace if numbered else reference,
    )


ARRIVALS = [*(f"chunk:{number}" for number in range(6)), "processing", "sending"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(ARRIVALS),
    again=st.lists(st.sampled_from(ARRIVALS), max_size=6),
    numbered=st.booleans(),
    data=st.data(),
)
def test_six_chunks_are_complete_with_the_last_of_them_in_every_order(
    bench: Bench, *, order: list[str], again: list[str], numbered: bool, data: st.DataObject
) -> None:
    reference, arrivals = str(uuid4()), list(order)
    for name in again:
        arrivals.insert(data.draw(st.integers(0, len(arrivals))), name)
    progress = Progress(0, "daily", (Accepted(reference, int(NOW.timestamp()), is_large=True),))
    period = [Period(NOW.date() - timedelta(days=180), NOW.date())]
    seen: set[str] = set()
    for number, name in enumerate(arrivals):
        if name.startswith("chunk:"):
            chunk = int(name.partition(":")[2])
            bench.receipts.add([delivery(reference, chunk=chunk, number=number, numbered=numbered)], now=NOW)
        elif name == "sending":
            announced = {"type": "large_request_sending", "reference": reference, "expected_payloads": 6}
            assert transact(bench.dynamodb, bench.receipts.expects(announced, now=NOW)) == ()
        seen.add(name)
        view = type_view(progress, period, bench.receipts.read([reference]), now=NOW)
        assert view.received == sum(each.startswith("chunk:") for each in seen)
        assert (view.state is State.COMPLETE) == (view.received == 6 and "sending" in seen)
    assert view.expected == 6


def test_a_reference_that_is_used_for_everything_does_not_stop_the_publisher(bench: Bench) -> None:
    reference = str(uuid4())
    for start in range(0, 1200, 400):
        many = [delivery(reference, chunk=None, number=start + number) for number in range(400)]
        bench.receipts.add(many, now=NOW)
    assert len(bench.receipts.read([reference])[reference].parts) < 1201
    bench.receipts.add([delivery(reference, chunk=None, number=5000)], now=NOW)
    assert "5000" not in bench.receipts.read([reference])[reference].parts


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"reference": "r"},
        {"reference": 5, "expected_payloads": 1},
        {"reference": "a b", "expected_payloads": 1},
        {"reference": "r", "expected_payloads": True},
        {"reference": "r", "expected_payloads": -1},
        {"reference": "r", "expected_payloads": 1e9},
    ],
)
def test_a_malformed_announcement_is_not_recorded(bench: Bench, body: object) -> None:
    assert bench.receipts.expects(body, now=NOW) == []


def test_the_number_of_chunks_that_a_webhook_announces_is_recorded(
    bench: Bench, browser: httpx.Client, webhook: Callable[..., Webhook]
) -> None:
    reference = str(uuid4())
    announced = {"type": "large_request_sending", "reference": reference, "expected_payloads": 6}
    assert webhook(announced).post(browser).status_code == httpx.codes.OK
    assert bench.receipts.read([reference])[reference].expected == 6


# --- requests ---------------------------------------------------------------------------------------------------------


def test_a_period_is_requested_in_windows_that_terra_does_not_divide(
    bench: Bench, quiet_terra: Terra, reference_id: str
) -> None:
    user_id = quiet_terra.connect(reference_id)["user_id"]
    backfill = bench.start(user_id, 30, "athlete", "daily")
    assert bench.run(backfill) == [Outcome.REQUESTED]
    queries = [query for query in requested(quiet_terra) if query["user_id"] == user_id]
    assert len(queries) == 5
    first = backfill.period.first
    assert [query["start_date"] for query in queries] == [f"{first + timedelta(days=7 * n)}" for n in range(5)]
    # The day of end_date may be excluded, and is never in the future.
    assert [query["end_date"] for query in queries[:4]] == [query["start_date"] for query in queries[1:]]
    assert queries[4]["end_date"] == backfill.period.last.isoformat()
    assert {query["to_webhook"] for query in queries} == {"true"}
    assert [each["state"] for each in bench.view(backfill)] == ["requested", "requested"]
    bench.now += 3600
    assert [each["state"] for each in bench.view(backfill)] == ["partial", "partial"]


def test_the_budget_of_an_hour_is_kept_without_a_rejection(bench: Bench, quiet_terra: Terra, reference_id: str) -> None:
    user_id = quiet_terra.connect(reference_id)["user_id"]
    quiet_terra.settings(days_per_hour=100_000)  # its clock does not follow the test's
    backfill = bench.start(user_id, 1825, "activity", "body", "daily", "sleep", window_days=1825)
    began = bench.now
    outcomes = bench.run(backfill)
    assert outcomes[0] is Outcome.WAITING
    assert outcomes[-1] is Outcome.REQUESTED
    assert bench.now - began == pytest.approx(3600, abs=5)
    assert len(requested(quiet_terra, "/sleep")) == 1


def test_429_waits_as_long_as_terra_says_and_repeats_the_request(
    bench: Bench, quiet_terra: Terra, reference_id: str
) -> None:
    user_id = quiet_terra.connect(reference_id)["user_id"]
    backfill = bench.start(user_id, 10, "daily")
    quiet_terra.fault("/daily", "rate_limit", retry_after=120, times=2)
    began = bench.now
    assert bench.run(backfill) == [Outcome.WAITING, Outcome.WAITING, Outcome.REQUESTED]
    assert bench.now - began == pytest.approx(240)
    [daily] = bench.view(backfill)
    assert (daily["state"], daily["expected"]) == ("requested", 2)


def test_a_step_ends_in_time_and_the_next_one_continues(bench: Bench, quiet_terra: Terra, reference_id: str) -> None:
    backfill = bench.start(quiet_terra.connect(reference_id)["user_id"], 20, "daily")
    ticks = iter(range(0, 1000, 15))
    bench.worker = BackfillWorker(
        bench.worker.terra, bench.backfills, bench.queue, clock=lambda: bench.now, monotonic=lambda: next(ticks)
    )
    assert bench.run(backfill) == [Outcome.CONTINUED, Outcome.CONTINUED, Outcome.REQUESTED]
    assert len(bench.backfills.progress(backfill)[0].accepted) == 3


def test_terra_that_does_not_respond_is_tried_again_and_then_fails_the_type(
    bench: Bench, quiet_terra: Terra, reference_id: str
) -> None:
    backfill = bench.start(quiet_terra.connect(reference_id)["user_id"], 7, "daily", "sleep")
    quiet_terra.fault("/daily", "status", status=503, times=100)
    began = bench.now
    assert bench.run(backfill)[-1] is Outcome.REQUESTED
    assert bench.now - began > 3600
    daily, sleep = bench.view(backfill)
    assert (daily["state"], daily["reason"]) == ("failed", "terra_unavailable")
    assert sleep["state"] in {"requested", "partial"}


def test_a_rejection_fails_the_type_with_its_reason(bench: Bench, quiet_terra: Terra, reference_id: str) -> None:
    unknown = bench.start(new_user_id(), 7, "daily")
    assert bench.run(unknown) == [Outcome.REQUESTED]
    assert bench.view(unknown)[0]["reason"] == "not_found"
    refused = bench.start(quiet_terra.connect(reference_id)["user_id"], 7, "daily")
    quiet_terra.settings(account="entitlement_required")
    assert bench.run(refused) == [Outcome.REQUESTED]
    assert bench.view(refused)[0]["reason"] == "terra_entitlement_required"


def test_two_messages_for_one_connection_share_the_work(bench: Bench, quiet_terra: Terra, reference_id: str) -> None:
    backfill = bench.start(quiet_terra.connect(reference_id)["user_id"], 14, "daily")
    assert bench.run(backfill) == [Outcome.REQUESTED]
    stale = Progress(0, "daily", version=0)
    assert bench.backfills.save(backfill, stale) is None
    assert bench.run(backfill) == [Outcome.REQUESTED]
    assert len(bench.backfills.progress(backfill)[0].accepted) == 2


def test_an_erased_backfill_requests_nothing_more_and_is_gone(
    bench: Bench, quiet_terra: Terra, reference_id: str
) -> None:
    user_id = quiet_terra.connect(reference_id)["user_id"]
    backfill = bench.start(user_id, 14, "daily")
    quiet_terra.fault("/daily", "rate_limit", retry_after=60, times=1)
    assert bench.worker.work(Step(backfill.backfill_id, 0)).outcome is Outcome.WAITING
    calls = len(requested(quiet_terra))
    bench.backfills.erase(backfill.backfill_id)
    assert bench.worker.work(Step(backfill.backfill_id, 0)).outcome is Outcome.GONE
    assert len(requested(quiet_terra)) == calls
    # A step that was running cannot restore what an erasure has deleted.
    assert bench.backfills.save(backfill, Progress(0, "daily", version=1)) is None


# --- the API ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_queue(stack: Stack) -> Iterator[tuple["SQSClient", str]]:
    sqs = messages.services(stack.dynamodb_url, stack.aws_url).queues()
    url = sqs.create_queue(QueueName=f"Backfills-{uuid4().hex[:8]}")["QueueUrl"]
    yield sqs, url
    sqs.delete_queue(QueueUrl=url)


def states(api: httpx.Client, backfill_id: str) -> dict[str, str]:
    found = api.get(f"/backfills/{backfill_id}").raise_for_status().json()
    return {each["type"]: each["state"] for one in found["connections"] for each in one["types"]}


def test_a_backfill_is_requested_received_and_complete(
    api: httpx.Client, bucket: Bucket, user_id: str, reference_id: str
) -> None:
    first = f"{datetime.now(UTC).date() - timedelta(days=20)}"
    body = {"reference_id": reference_id, "types": ["daily", "athlete"], "from": first}
    response = api.post("/backfills", json=body)
    assert response.status_code == 202
    backfill_id = response.json()["backfill_id"]
    assert response.headers["location"] == f"/backfills/{backfill_id}"
    done = {"daily": "complete", "athlete": "complete"}
    eventually(lambda: states(api, backfill_id) == done, within=LOADED_WITHIN)
    found = api.get(f"/backfills/{backfill_id}").json()
    assert found["status"] == "finished"
    [connection] = found["connections"]
    assert connection["user_id"] == user_id
    assert [(each["received"], each["expected"]) for each in connection["types"]] == [(3, 3), (1, 1)]
    assert len(bucket.of_user(user_id)) == 4


def test_an_erasure_removes_the_backfills_of_the_user(
    api: httpx.Client, terra: Terra, bucket: Bucket, user_id: str, reference_id: str
) -> None:
    terra.settings(days_per_hour=10)  # so that it still runs
    body = {"reference_id": reference_id, "from": f"{datetime.now(UTC).date() - timedelta(days=60)}"}
    backfill_id = api.post("/backfills", json=body).json()["backfill_id"]
    eventually(lambda: terra.calls("/activity"), within=LOADED_WITHIN)
    assert api.post("/erasures", json={"reference_id": reference_id}).status_code == 204
    missing = api.get(f"/backfills/{uuid4()}")
    erased = api.get(f"/backfills/{backfill_id}")
    assert (erased.status_code, erased.json()) == (missing.status_code, missing.json())
    assert missing.status_code == 404
    eventually(lambda: bucket.of_user(user_id) == [], within=LOADED_WITHIN)


def test_a_step_that_is_killed_is_repeated_and_loses_no_window(
    handlers: Handlers, api: httpx.Client, terra: Terra, user_id: str, own_queue: tuple["SQSClient", str]
) -> None:
    terra.settings(send_webhooks=False)
    sqs, url = own_queue
    environment = {"BACKFILLS_QUEUE_URL": url}
    first = f"{datetime.now(UTC).date() - timedelta(days=20)}"
    event = http_event("POST", "/backfills", body=json.dumps({"user_id": user_id, "types": ["daily"], "from": first}))
    created = handlers.run("create_backfill", event, environment=environment)
    assert created.status == 202
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert user_id not in message["Body"]
    step = {"Records": [{"messageId": "m", "body": message["Body"], "eventSource": "aws:sqs"}]}
    # After Terra has accepted the second request, and before that is stored.
    assert handlers.run("run_backfill", step, kill("dynamodb.PutItem#2:before"), environment=environment).was_killed
    run = handlers.run("run_backfill", step, environment=environment)
    assert run.result == {"batchItemFailures": []}
    assert user_id not in run.log
    starts = [query["start_date"] for query in requested(terra) if query["user_id"] == user_id]
    assert (len(starts), len(set(starts)), starts[1]) == (4, 3, starts[2])
    [daily] = api.get(f"/backfills/{created.json['backfill_id']}").json()["connections"][0]["types"]
    assert (daily["state"], daily["expected"]) == ("requested", 3)


def test_a_new_connection_gets_a_backfill_and_a_reconnect_gets_none(
    handlers: Handlers,
    webhook: Callable[..., Webhook],
    dynamodb: "DynamoDBClient",
    stack: Stack,
    reference_id: str,
    own_queue: tuple["SQSClient", str],
) -> None:
    sqs, url = own_queue
    user_id = new_user_id()
    environment = {"BACKFILL_ON_CONNECT_DAYS": "30", "BACKFILLS_QUEUE_URL": url}

    def publish(old: Any) -> list[str]:  # noqa: ANN401 - an image
        new = dynamodb.get_item(TableName=stack.tables.connections, Key={"user_id": {"S": user_id}})["Item"]
        record = {"ApproximateCreationDateTime": time.time(), "NewImage": new, **({"OldImage": old} if old else {})}
        event = {"Records": [{"eventName": "INSERT", "eventSource": "aws:dynamodb", "dynamodb": record}]}
        run = handlers.run("publish_events", event, environment=environment)
        assert run.result == {"batchItemFailures": []}, run.log
        return [each["Body"] for each in sqs.receive_message(QueueUrl=url).get("Messages", [])]

    handlers.run("terra_webhook", webhook(auth_event(user_id, reference_id)).event())
    [message] = publish(None)
    head = json.loads(message)["backfill_id"]
    key = {"session_id": {"S": f"backfill:{head}"}}
    item = dynamodb.get_item(TableName=stack.tables.sessions, Key=key)["Item"]
    first, last = (datetime.fromisoformat(item[name]["S"]) for name in ("first", "last"))
    assert (last - first).days == 30
    assert item["targets"]["L"][0]["M"]["user_id"]["S"] == user_id
    connected = dynamodb.get_item(TableName=stack.tables.connections, Key={"user_id": {"S": user_id}})["Item"]
    handlers.run("terra_webhook", webhook(auth_event(user_id, reference_id)).event())
    assert publish(connected) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"user_id": "u"}, "body"),
        ({"user_id": "a b", "from": "2026-01-01"}, "user_id"),
        ({"user_id": "u", "reference_id": "ada", "from": "2026-01-01"}, "body"),
        ({"from": "2026-01-01"}, "reference_id"),
        ({"user_id": "u", "from": "yesterday"}, "from"),
        ({"user_id": "u", "from": "2026-01-01T00:00:00Z"}, "from"),
        ({"user_id": "u", "from": "2026-13-01"}, "from"),
        ({"user_id": "u", "from": 7}, "from"),
        ({"user_id": "u", "from": "2026-01-02", "to": "2026-01-01"}, "body"),
        ({"user_id": "u", "from": "2999-01-01"}, "from"),
        ({"user_id": "u", "from": "2016-01-01", "to": "2026-01-01"}, "from"),
        ({"user_id": "u", "from": "2026-01-01", "types": []}, "types"),
        ({"user_id": "u", "from": "2026-01-01", "types": ["dayly"]}, "types"),
        ({"user_id": "u", "from": "2026-01-01", "days": 3}, "days"),
    ],
)
def test_a_mistake_in_a_backfill_is_named(handlers: Handlers, body: dict[str, object], field: str) -> None:
    run = handlers.run("create_backfill", http_event("POST", "/backfills", body=json.dumps(body)))
    assert run.status == 400
    assert [error["field"] for error in run.json["errors"]] == [field]


def test_a_connection_of_another_user_or_a_revoked_one_is_like_a_missing_one(
    handlers: Handlers, api: httpx.Client, user_id: str, reference_id: str
) -> None:
    def post(wanted: str, caller: dict[str, str]) -> tuple[int, dict[str, Any]]:
        event = http_event("POST", "/backfills", body=json.dumps({"user_id": wanted, "from": "2026-01-01"}))
        event["requestContext"]["authorizer"]["lambda"] = caller
        run = handlers.run("create_backfill", event)
        return run.status, run.json

    other = {"caller": "user", "reference_id": f"{reference_id}-other"}
    missing = post(new_user_id(), other)
    assert missing[0] == 404
    assert post(user_id, other) == missing
    assert api.delete(f"/connections/{user_id}").status_code == 204
    assert connections_of(api, reference_id) == []
    assert post(user_id, {"caller": "service"}) == missing
