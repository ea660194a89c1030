"""The consumer of docs/data.md, with a real table and bucket: repeated, late and interrupted deliveries."""

from __future__ import annotations

import asyncio
import functools
import importlib
import io
import itertools
import json
import random
import re
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from aws_lambda_powertools import Logger
from cfnlint.api import lint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samtranslator.yaml_helper import yaml_parse

from daily_summaries.consumer import Consumer
from daily_summaries.payloads import DamagedPayload, Payloads
from daily_summaries.record_types import TYPES, Record, records_of
from daily_summaries.summaries import connections_of, days
from daily_summaries.table import ERASED, USER, Table
from local import data_consumer, database
from tests.support.data_events import (
    DAY,
    Bucket,
    body,
    changed,
    claimed,
    client,
    daily,
    day_metadata,
    envelope,
    erased,
    observation,
    session,
    sleep,
)
from tests.support.documents import blocks, section
from tests.support.processes import kill_with_descendants
from tests.support.waiting import eventually
from tools.environment import ROOT, everything

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

    from local.testing import Stack

Event = dict[str, Any]
Days = dict[str, dict[str, Decimal]]
DOCUMENT = "docs/data.md"
TEMPLATE = data_consumer.EXAMPLE / "template.yaml"


class Killed(BaseException):
    """The process ends here: nothing catches it."""


class Example:
    """The consumer, with its table and a bucket of payloads."""

    def __init__(self, stack: Stack, name: str) -> None:
        self.bucket = Bucket(client(stack, "s3"), f"payloads-{uuid4().hex[:8]}")
        self.bucket.s3.create_bucket(Bucket=self.bucket.name)
        self.resource: Any = session(stack).resource("dynamodb", endpoint_url=stack.dynamodb_url)
        self.name = name
        self.table = Table(self.resource.Table(name))
        self.log = io.StringIO()
        self.consumer = Consumer(
            Payloads(self.bucket.s3), self.table, Logger(service="daily-summaries", stream=self.log)
        )
        self.calls: set[str] = set()
        self._left: int | None = None
        for each in (self.bucket.s3, self.resource.meta.client):
            each.meta.events.register("before-call", self._before_call)

    def _before_call(self, model: Any, **_: object) -> None:  # noqa: ANN401 - botocore's type
        if self._left is not None:
            if self._left == 0:
                raise Killed
            self._left -= 1
        service, operation = model.service_model.service_name, model.name
        self.calls.add(f"{service}:{operation}")

    def receive(self, *events: Event) -> None:
        for event in events:
            self.consumer.receive(event)

    def is_killed_after(self, calls: int, *events: Event) -> bool:
        """Whether processing ends at a call to AWS, because it needs more calls than these."""
        self._left = calls
        try:
            self.receive(*events)
        except Killed:
            return True
        finally:
            self._left = None
        return False

    def records(self, user_id: str) -> dict[str, Any]:
        return {item["record"]: item for item in self.table.items(user_id) if item["record"] != USER}

    def versions(self, user_id: str) -> dict[str, str]:
        return {name: item["version"] for name, item in self.records(user_id).items()}

    def days(self, user_id: str) -> Days:
        return days(self.records(user_id).values())

    def outcomes(self) -> list[str]:
        lines = map(json.loads, self.log.getvalue().splitlines())
        return [line["outcome"] for line in lines if line["message"] == "delivery"]


@pytest.fixture(scope="module")
def example(stack: Stack) -> Iterator[Example]:
    name = f"Summaries{uuid4().hex[:8]}"
    asyncio.run(database.make_tables(stack.dynamodb_url, {name: data_consumer.tables()["Summaries"]}))
    made = Example(stack, name)
    yield made
    made.resource.meta.client.delete_table(TableName=name)


@pytest.fixture(autouse=True)
def _empty_log(example: Example) -> None:
    example.log.seek(0)
    example.log.truncate()


def of(user_id: str, events: Sequence[Event]) -> list[Event]:
    """Return the same events for another user: the payloads are stored once."""
    return [changed(event, user_id=user_id) for event in events]


def summary(**measures: object) -> Days:
    return {DAY: {name: Decimal(str(value)) for name, value in measures.items()}}


# --- any order --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corrections(example: Example) -> list[Event]:
    """100, 120 and 100 steps: the third delivery has the same body as the first, and must count."""
    return [example.bucket.store("daily", daily(steps), position) for position, steps in ((1, 100), (2, 120), (3, 100))]


@pytest.fixture(scope="module")
def observations(example: Example) -> list[Event]:
    statuses = ((1, 1), (2, 2), (3, 3))
    return [example.bucket.store("health_observation", observation("o", status), at) for at, status in statuses]


@pytest.mark.parametrize("last", [1, 2, 3])
def test_the_newest_correction_counts_in_every_order(example: Example, corrections: list[Event], last: int) -> None:
    for order in itertools.permutations(corrections[:last]):
        user_id = str(uuid4())
        example.receive(*of(user_id, order))
        assert example.days(user_id) == summary(steps=[100, 120, 100][last - 1])
        assert int(example.records(user_id)[f"daily {DAY}"]["version"].split()[0]) == last


def test_an_observation_that_was_deleted_at_its_source_is_not_restored(
    example: Example, observations: list[Event]
) -> None:
    for order in itertools.permutations([*observations, observations[0]]):
        user_id = str(uuid4())
        example.receive(*of(user_id, order))
        assert example.days(user_id) == {}
        [marker] = example.records(user_id).values()
        assert marker["is_deleted"]
        assert "measures" not in marker
    user_id = str(uuid4())
    example.receive(*of(user_id, observations[:2]))
    assert example.days(user_id) == summary(observations=1)


@pytest.fixture(scope="module")
def many(example: Example) -> list[Event]:
    store = example.bucket.store
    return [
        store("daily", daily(9_000, calories_data={"total_burned_calories": 2_100.26}), 10),
        store("daily", daily(11_894, heart_rate_data={"summary": {"resting_hr_bpm": 55}}), 20),
        store("sleep", sleep(25_200, summary_id="night"), 10),
        store("sleep", sleep(3_600, summary_id="night"), 5),
        store("sleep", sleep(1_800), 7),
        store("body", body(("07:55:02", 72.4), ("06:00:00", 71.0)), 30),
        store("health_observation", observation("a", 1), 10),
        store("health_observation", observation("a", 3), 20),
        store("health_observation", observation("b", 1), 10),
        # A backfill: several days in one payload, of which one is older than what is stored.
        store("daily", {"data": [*daily(1)["data"], *daily(7_000, day="2026-06-30")["data"]]}, 15),
        # A sleep whose end was corrected moves to another day.
        store("sleep", sleep(600, ends="2026-07-02T01:00:00+01:00", summary_id="nap"), 1),
        store("sleep", sleep(600, ends=f"{DAY}T23:50:00+01:00", summary_id="nap"), 2),
        store("hormone", {"data": [{"timestamp": f"{DAY}T08:00:00+01:00", "lh_mIU_per_ml": 5}]}, 1),
        store("athlete", {"athlete": {"first_name": "Ada"}}, 1),
    ]


EXPECTED = {
    "2026-06-30": {"steps": Decimal(7_000)},
    **summary(
        steps=11_894,
        resting_heart_rate=52,
        sleep_minutes=460,
        weight_kg="72.4",
        observations=1,
        hormone_tests=1,
    ),
}


@pytest.fixture(scope="module")
def in_order(example: Example, many: list[Event]) -> str:
    """A `user_id` that received each delivery once, in order."""
    user_id = str(uuid4())
    example.receive(*of(user_id, sorted(many, key=lambda event: event["detail"]["position"])))
    return user_id


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_order_with_any_repetitions_gives_the_same_table(
    example: Example, many: list[Event], in_order: str, data: st.DataObject
) -> None:
    repeated = data.draw(st.lists(st.sampled_from(range(len(many))), max_size=6))
    order = data.draw(st.permutations([*range(len(many)), *repeated]))
    user_id = str(uuid4())
    example.receive(*of(user_id, [many[place] for place in order]))
    assert example.days(user_id) == EXPECTED
    assert example.versions(user_id) == example.versions(in_order)


def test_equal_positions_have_a_winner_that_does_not_depend_on_the_order(example: Example) -> None:
    same = [example.bucket.store("daily", daily(steps), 5) for steps in (1, 2)]
    winners = []
    for order in (same, same[::-1]):
        user_id = str(uuid4())
        example.receive(*of(user_id, order))
        winners.append(example.days(user_id))
    assert winners[0] == winners[1]


# --- interruptions ----------------------------------------------------------------------------------------------------


def test_a_delivery_that_is_interrupted_at_any_call_is_completed_when_it_arrives_again(
    example: Example, many: list[Event], corrections: list[Event]
) -> None:
    reference_id, interruptions = f"reference-{uuid4()}", 0
    for event in (many[9], corrections[1]):
        for calls in itertools.count():
            user_id = str(uuid4())
            [delivery] = of(user_id, [claimed(event, reference_id)])
            was_killed = example.is_killed_after(calls, delivery)
            example.receive(delivery)
            assert example.days(user_id)[DAY]["steps"] == (1 if event is many[9] else 120)
            assert user_id in [each for each, _, _ in example.table.users_of(reference_id)]
            if not was_killed:
                break
            interruptions += 1
    assert interruptions >= 14


def test_an_erasure_that_is_interrupted_at_any_call_is_completed_when_it_arrives_again(
    example: Example, many: list[Event]
) -> None:
    for calls in itertools.count():
        user_id, replaced, reference_id = str(uuid4()), str(uuid4()), f"reference-{uuid4()}"
        for each in (user_id, replaced):
            example.receive(*of(each, [claimed(event, reference_id) for event in many[:3]]))
        event = erased(user_id, reference_id, 100)
        was_killed = example.is_killed_after(calls, event)
        example.receive(event)
        assert left(example, reference_id, user_id, replaced) == []
        if not was_killed:
            break
    assert calls >= 10


def test_a_consumer_that_is_killed_again_and_again_processes_every_event(
    stack: Stack, example: Example, many: list[Event]
) -> None:
    sqs = client(stack, "sqs")
    # The messages of a killed consumer are received again after a second.
    url = sqs.create_queue(QueueName=f"Data{uuid4().hex[:8]}", Attributes={"VisibilityTimeout": "1"})["QueueUrl"]
    users = [str(uuid4()) for _ in range(3)]
    events = [event for user_id in users for event in of(user_id, many)]
    random.Random(1).shuffle(events)  # noqa: S311 - the same order in every run
    for event in events:
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(event))
    for enough in (3, 12, None):
        process = subprocess.Popen(
            [sys.executable, "-m", "local.data_consumer", url],
            cwd=ROOT,
            env={**everything(), **variables(stack, example)},
        )
        try:
            if enough is None:
                eventually(lambda: [example.days(user_id) for user_id in users] == [EXPECTED] * 3, within=300)
            else:
                stored = functools.partial(has_records, example, users, enough)
                eventually(stored, within=300)
        finally:
            kill_with_descendants(process)
    sqs.delete_queue(QueueUrl=url)


def has_records(example: Example, users: list[str], enough: int) -> bool:
    return sum(len(example.records(user_id)) for user_id in users) >= enough


def variables(stack: Stack, example: Example) -> dict[str, str]:
    endpoints = {"S3": stack.aws_url, "SQS": stack.aws_url, "DYNAMODB": stack.dynamodb_url}
    return {
        **{f"AWS_ENDPOINT_URL_{name}": url for name, url in endpoints.items()},
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": stack.region,
        "TABLE": example.name,
        "PYTHONPATH": str(data_consumer.SOURCE),
    }


@pytest.fixture
def handler(stack: Stack, example: Example, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    for name, value in variables(stack, example).items():
        if name != "PYTHONPATH":
            monkeypatch.setenv(name, value)
    yield importlib.import_module("daily_summaries.handler")
    sys.modules.pop("daily_summaries.handler")


def batch(*bodies: str) -> Event:
    attributes = {"ApproximateReceiveCount": "1"}
    message = {"receiptHandle": "r", "attributes": attributes, "messageAttributes": {}, "eventSource": "aws:sqs"}
    return {"Records": [{**message, "messageId": str(number), "body": text} for number, text in enumerate(bodies)]}


def test_of_a_batch_only_the_failed_messages_are_received_again(
    handler: ModuleType, example: Example, many: list[Event]
) -> None:
    user_id, log = str(uuid4()), io.StringIO()
    handler.logger.logger_handler.setStream(log)
    events = of(user_id, many[:8])
    damaged = changed(events[1], sha256="0" * 64)
    texts = [json.dumps(event) for event in (events[0], damaged, *events[2:])]
    messages = [*texts, "no JSON", json.dumps(envelope("connected", {}))]
    assert len(messages) == 10
    answer = handler.lambda_handler(batch(*messages), None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}, {"itemIdentifier": "8"}]}
    assert example.days(user_id)[DAY]["steps"] == 9_000
    assert handler.lambda_handler(batch(json.dumps(events[1])), None) == {"batchItemFailures": []}
    assert example.days(user_id)[DAY]["steps"] == 11_894
    output = log.getvalue()
    assert "event_failed" in output
    assert "DamagedPayload" in output
    for private in ("11894", "25200", "72.4", "headache", "distance_data"):
        assert private not in output
    everything_fails = handler.lambda_handler(batch("no JSON"), None)
    assert everything_fails == {"batchItemFailures": [{"itemIdentifier": "0"}]}


def test_a_payload_takes_less_than_eight_times_its_size(example: Example) -> None:
    samples = [{"timestamp": f"{DAY}T00:00:00.{number:06}+01:00", "bpm": 60 + number % 50} for number in range(20_000)]
    event = example.bucket.store("daily", daily(1, heart_rate_data={"detailed": {"hr_samples": samples}}), 1)
    tracemalloc.start()
    try:
        example.receive(event)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert event["detail"]["bytes"] > 1_000_000
    assert peak < 8 * event["detail"]["bytes"]


# --- what is ignored --------------------------------------------------------------------------------------------------


def test_a_payload_that_no_longer_exists_is_skipped_and_its_owner_counts(example: Example) -> None:
    reference_id = f"reference-{uuid4()}"
    event = claimed(example.bucket.store("daily", daily(5), 1), reference_id)
    example.bucket.s3.delete_object(Bucket=example.bucket.name, Key=event["detail"]["key"])
    example.receive(event)
    assert example.outcomes() == ["missing"]
    assert example.days(event["detail"]["user_id"]) == {}
    assert [each for each, _, _ in example.table.users_of(reference_id)] == [event["detail"]["user_id"]]


def test_a_payload_with_another_body_than_announced_fails(example: Example) -> None:
    event = example.bucket.store("daily", daily(5), 1)
    for changes in ({"sha256": "0" * 64}, {"bytes": 5}, {"bytes": 5_000}):
        with pytest.raises(DamagedPayload):
            example.receive(changed(event, **changes))
    assert example.days(event["detail"]["user_id"]) == {}


def test_unknown_types_and_bodies_that_are_not_json_are_ignored_and_counted_in_the_log(example: Example) -> None:
    store = example.bucket.store
    example.receive(
        store("route", {"data": [{}]}, 1),
        store("unknown", b"\x0e\x10FIT", 1, user_id=None),
        store("daily", b"\x0e\x10\xff", 1),
        store("daily", b"[" * 100_000, 1),
        store("lab_report.completed", {"event_id": "evt_1"}, 1, user_id=None),
        store("daily", daily(1), 1),
        envelope("connected", {}),
    )
    expected = ["unknown_type", "unknown_type", "not_json", "not_json", "unknown_user", "applied"]
    assert example.outcomes() == expected


@pytest.mark.parametrize(
    "content",
    [
        [],
        None,
        {"data": None},
        {"data": "text"},
        {"data": ["text", None]},
        {"data": [{"metadata": None}]},
        {"data": [{"metadata": {"start_time": 5}}]},
        {"data": [{"metadata": {"start_time": ""}}]},
    ],
)
def test_records_without_a_natural_key_are_ignored(content: object) -> None:
    assert [record for record in records_of("daily", content) if record] == []
    assert [record for record in records_of("sleep", content) if record] == []


@pytest.mark.parametrize("key", ["", "x" * 901, "\ud800", "\x00"])
def test_an_id_that_cannot_be_a_key_is_no_natural_key(key: str) -> None:
    assert list(records_of("activity", {"data": [{"metadata": {"summary_id": key}}]})) == [None]


@pytest.mark.parametrize(
    "value",
    [True, "5", None, [], {}, float("nan"), float("inf"), -float("inf"), 10**9, pytest.param(10**400, id="huge")],
)
def test_values_that_are_no_measurements_are_ignored(value: object) -> None:
    content = daily(value, active_durations_data={"activity_seconds": value}, heart_rate_data=[value])
    assert list(records_of("daily", content)) == [Record(f"daily {DAY}", DAY, {})]
    [record] = records_of("body", body(("07:00:00", value)))
    assert record
    assert record.measures == {"resting_heart_rate": Decimal(52)}


# --- users ------------------------------------------------------------------------------------------------------------


def test_data_counts_for_a_user_once_the_owner_is_known_in_any_order(
    example: Example, corrections: list[Event]
) -> None:
    for order in itertools.permutations(range(3)):
        reference_id, user_id = f"reference-{uuid4()}", str(uuid4())
        unowned = of(user_id, corrections[:2])
        events = [*unowned, claimed(unowned[0], reference_id)]
        example.receive(*(events[place] for place in order))
        [connection] = connections_of(example.table, reference_id)
        assert (connection.provider, connection.user_ids, connection.days) == ("FITBIT", [user_id], summary(steps=120))


def test_a_reconnected_wearable_has_one_history_and_two_wearables_have_two(
    example: Example, corrections: list[Event]
) -> None:
    reference_id = f"reference-{uuid4()}"
    old, new, other = (str(uuid4()) for _ in range(3))
    june = example.bucket.store("daily", daily(7_000, day="2026-06-30"), 1)
    example.receive(
        *(claimed(event, reference_id) for event in of(old, [june, corrections[0]])),
        *(claimed(event, reference_id) for event in of(new, [corrections[1]])),
        *(claimed(event, reference_id, "con_2") for event in of(other, [corrections[2]])),
    )
    first, second = connections_of(example.table, reference_id)
    assert sorted(first.user_ids) == sorted([old, new])
    assert first.days == {"2026-06-30": {"steps": Decimal(7_000)}, **summary(steps=120)}
    assert (second.user_ids, second.days) == ([other], summary(steps=100))


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_connection_that_moves_to_another_user_is_in_one_list_only(
    example: Example, corrections: list[Event], *, is_reversed: bool
) -> None:
    user_id, first, second = str(uuid4()), f"reference-{uuid4()}", f"reference-{uuid4()}"
    [event] = of(user_id, corrections[:1])
    events = [
        {**claimed(event, reference_id), "time": at}
        for reference_id, at in ((first, "2026-07-01T12:00:00Z"), (second, "2026-07-02T12:00:00Z"))
    ]
    example.receive(*(events[::-1] if is_reversed else events))
    assert connections_of(example.table, first) == []
    assert [each.user_ids for each in connections_of(example.table, second)] == [[user_id]]
    # The erasure of the first user does not concern the connection any more.
    example.receive(erased(str(uuid4()), first, 100), *of(user_id, [corrections[1]]))
    assert example.days(user_id) == summary(steps=120)


# --- erasure ----------------------------------------------------------------------------------------------------------


def left(example: Example, reference_id: str, *user_ids: str) -> list[str]:
    """Return what the table still has of a user, except the markers."""
    items = [item for partition in (f"reference:{reference_id}", *user_ids) for item in example.table.items(partition)]
    kept = [item for item in items if item["record"] != ERASED and not item.get("is_erased")]
    return [f"{item['id']} {item['record']}" for item in kept]


def test_an_erasure_removes_all_data_of_the_user_in_any_order(example: Example, corrections: list[Event]) -> None:
    for order in itertools.permutations(range(4)):
        reference_id, replaced, current, returned = f"reference-{uuid4()}", *(str(uuid4()) for _ in range(3))
        lab = {"type": "lab_report.completed", "event_id": "evt_1", "data": {"report_date": DAY}}
        report = example.bucket.store("lab_report.completed", lab, 2, user_id=None, reference_id=reference_id)
        later = changed(claimed(example.bucket.store("daily", daily(1), 200), reference_id), user_id=returned)
        events = [
            *(claimed(event, reference_id) for event in of(replaced, corrections[:1])),
            *(claimed(event, reference_id) for event in of(current, corrections[1:2])),
            report,
            erased(current, reference_id, 100),
        ]
        example.receive(*(events[place] for place in order))
        assert left(example, reference_id, replaced, current) == []
        example.receive(later)
        # The user has connected a wearable again since.
        assert [each.user_ids for each in connections_of(example.table, reference_id)] == [[returned]]
        example.receive(events[order[0]], events[3])
        assert left(example, reference_id, replaced, current) == [f"reference:{reference_id} user {returned}"]
        assert example.days(returned) == summary(steps=1)


def test_an_erased_connection_does_not_erase_the_others(example: Example, corrections: list[Event]) -> None:
    reference_id, one, other = f"reference-{uuid4()}", str(uuid4()), str(uuid4())
    for user_id, connection_id in ((one, "con_1"), (other, "con_2")):
        example.receive(*(claimed(event, reference_id, connection_id) for event in of(user_id, corrections)))
    example.receive(erased(one, reference_id, 100, other))
    assert [each.user_ids for each in connections_of(example.table, reference_id)] == [[other]]
    assert example.days(one) == {}


def test_data_that_is_written_while_its_user_is_erased_is_erased_too(
    example: Example, corrections: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference_id, user_id = f"reference-{uuid4()}", str(uuid4())
    [event] = (claimed(each, reference_id) for each in of(user_id, corrections[:1]))
    keep = example.table.keep

    def erase_first(*arguments: Any) -> None:  # noqa: ANN401 - those of keep
        example.receive(erased(user_id, reference_id, 100))
        keep(*arguments)

    monkeypatch.setattr(example.table, "keep", erase_first)
    example.receive(event)
    assert example.outcomes() == ["erased"]
    assert left(example, reference_id, user_id) == []


# --- the document and the template ------------------------------------------------------------------------------------


def test_the_document_has_the_fields_of_an_event_and_every_outcome(example: Example) -> None:
    [sample] = blocks(section(DOCUMENT, "The event"), "json")
    assert json.loads(sample).keys() == example.bucket.store("daily", daily(1), 1)["detail"].keys()
    code = (data_consumer.SOURCE / "daily_summaries" / "consumer.py").read_text()
    outcomes = re.search(r"\(`outcome`\): (.*?)\. None", section(DOCUMENT, "The example"))
    assert outcomes
    assert set(re.findall(r"`(\w+)`", outcomes[1])) == set(re.findall(r'(?:return|else) "(\w+)"', code))


def test_the_document_has_the_natural_key_of_each_type() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section(DOCUMENT, "Natural keys"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([\w.]+)`", row)} == set(TYPES)


def test_the_values_come_from_the_documented_fields() -> None:
    content: Callable[..., dict[str, Any]] = daily
    of_day = content(
        11_894,
        calories_data={"total_burned_calories": 2_450.84},
        active_durations_data={"activity_seconds": 5_340},
        heart_rate_data={"summary": {"resting_hr_bpm": 55}},
    )
    of_day["data"][0]["distance_data"]["distance_meters"] = 9_412.7
    [record] = records_of("daily", of_day)
    assert record
    assert record.measures == {
        "steps": Decimal(11_894),
        "distance_meters": Decimal("9412.7"),
        "calories_burned": Decimal("2450.8"),
        "active_minutes": Decimal(89),
        "resting_heart_rate": Decimal(55),
    }
    averaged = {"metadata": day_metadata(), "measurements_data": {"day_avg_weight_kg": 70}}
    meals = {"metadata": day_metadata(), "summary": {"macros": {"calories": 2_105}, "water_ml": 2_300}}
    cycle = {"metadata": day_metadata(), "menstruation_data": {"day_in_cycle": 4}}
    workout = {"metadata": {**day_metadata(), "summary_id": "w"}}
    planned = {"planned_workout_id": "2048", "planned_date": DAY}
    lab = {"event_id": "evt_1", "data": {"report_date": DAY}}
    found = [
        *records_of("body", {"data": [averaged]}),
        *records_of("nutrition", {"data": [meals]}),
        *records_of("menstruation", {"data": [cycle]}),
        *records_of("activity", {"data": [workout]}),
        *records_of("planned_workout", {"data": [planned]}),
        *records_of("lab_report.completed", lab),
        *records_of("athlete", {"athlete": {"age": 30}}),
    ]
    assert found == [
        Record(f"body {DAY}", DAY, {"weight_kg": Decimal(70)}),
        Record(f"nutrition {DAY}", DAY, {"calories_eaten": Decimal(2_105), "water_ml": Decimal(2_300)}),
        Record(f"menstruation {DAY}", DAY, {"day_in_cycle": Decimal(4)}),
        Record("activity w", DAY, {"workouts": Decimal(1)}),
        Record("planned_workout 2048", DAY, {"planned_workouts": Decimal(1)}),
        Record("lab_report.completed evt_1", DAY, {"lab_reports": Decimal(1)}),
        Record("athlete athlete", None, {}),
    ]


def test_the_template_is_valid_and_selects_the_events_that_the_consumer_processes() -> None:
    text = TEMPLATE.read_text()
    assert lint(text, regions=["us-east-1"]) == []
    pattern = yaml_parse(text)["Resources"]["Rule"]["Properties"]["EventPattern"]
    assert pattern == {"source": ["terra-connections"], "detail-type": ["data_received", "data_claimed", "erased"]}


def test_the_template_grants_exactly_the_calls_that_the_consumer_makes(
    example: Example, corrections: list[Event]
) -> None:
    reference_id = f"reference-{uuid4()}"
    user_id = str(uuid4())
    example.calls.clear()
    example.receive(*(claimed(event, reference_id) for event in of(user_id, corrections)))
    example.receive(erased(user_id, reference_id, 100))
    [policy] = yaml_parse(TEMPLATE.read_text())["Resources"]["Summarize"]["Properties"]["Policies"]
    actions = [statement["Action"] for statement in policy["Statement"] if "Action" in statement]
    granted = {name for each in actions for name in (each if isinstance(each, list) else [each])}
    # S3 returns 404 for a missing object only to callers that may list the bucket.
    assert granted == example.calls | {"s3:ListBucket"}


def test_the_package_has_the_version_of_powertools_that_the_tests_use() -> None:
    example_lock, layer_lock = (
        (ROOT / path / "requirements.txt").read_text() for path in ("examples/data_consumer/src", "layers/dependencies")
    )
    versions = re.findall(r"^\S+==\S+", example_lock, re.MULTILINE)
    assert any(version.startswith("aws-lambda-powertools==") for version in versions)
    assert all(f"{version} " in layer_lock for version in versions)
