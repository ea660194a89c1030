"""Every change of a user's connections is published to the bus: once, in the documented shape, and nothing else is."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from boto3.dynamodb.types import TypeSerializer
from jsonschema import Draft202012Validator, FormatChecker

from local.testing import Stack
from tests.support.api import connections_of
from tests.support.bus import subscribed_queue
from tests.support.documents import closed, event_schema
from tests.support.handlers import Handlers, Run, aws_error, fake_response
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

Event = dict[str, Any]
Record = dict[str, Any]

LONG_AGO = 1_700_000_000_000
PUT = "eventbridge.PutEvents"
DATA_EVENTS = {"data_received", "data_claimed"}

_write = TypeSerializer().serialize


class Listener:
    """A consumer with a rule on the bus and a queue as its target."""

    def __init__(self, client: "SQSClient", queue_url: str) -> None:
        self._client = client
        self._queue_url = queue_url
        self._received: list[Event] = []
        self._validator = Draft202012Validator(closed(event_schema()), format_checker=FormatChecker())

    def of(self, reference_id: str) -> list[Event]:
        """Return the details of all events about this user so far, after validating each against the schema."""
        while True:
            response = self._client.receive_message(QueueUrl=self._queue_url, MaxNumberOfMessages=10)
            found = response.get("Messages", [])
            for message in found:
                self._client.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])
                event = json.loads(message["Body"])
                assert event["source"] == "terra-connections"
                if event["detail-type"] in DATA_EVENTS:
                    continue  # of other tests on the running stack
                assert event["detail-type"] == event["detail"]["type"]
                self._validator.validate(event["detail"])
                self._received.append(event["detail"])
            if not found:
                return [event for event in self._received if event["reference_id"] == reference_id]

    def expect(self, reference_id: str, *types: str) -> list[Event]:
        """Wait until exactly these events, in this order, were published about this user."""
        eventually(lambda: len(self.of(reference_id)) >= len(types))
        assert [event["type"] for event in self.of(reference_id)] == list(types)
        return self.of(reference_id)


@pytest.fixture(scope="module")
def listener(stack: Stack) -> Iterator[Listener]:
    with subscribed_queue(stack, {"source": ["terra-connections"]}) as (client, url):
        yield Listener(client, url)


def deliver(terra: Terra, body: dict[str, Any]) -> None:
    # Equal bytes that are signed in the same second count as one delivery.
    [response] = terra.deliver({**body, "version": new_user_id()})
    assert response["status"] == httpx.codes.OK, response


def of_user(type_: str, user_id: str, reference_id: str | None, **more: object) -> dict[str, Any]:
    return {**deauth_event(user_id, reference_id), "type": type_, **more}


def reauth_event(new: str, old: str, reference_id: str, *, new_reference_id: str | None = None) -> dict[str, Any]:
    user = {"provider": "FITBIT", "scopes": "ACTIVITY,SLEEP", "active": True}
    return {
        "type": "user_reauth",
        "status": "warning",
        "old_user": {**user, "user_id": old, "reference_id": reference_id},
        "new_user": {**user, "user_id": new, "reference_id": new_reference_id or reference_id},
    }


class TestOnTheRunningStack:
    """A webhook causes an event on the bus."""

    def test_every_change_of_a_connection_is_published(
        self, api: httpx.Client, terra: Terra, listener: Listener, reference_id: str
    ) -> None:
        first, second = new_user_id(), new_user_id()
        types: list[str] = []

        def expect_next(type_: str, *bodies: dict[str, Any]) -> Event:
            time.sleep(0.01)  # advances Terra's clock
            for body in bodies:
                deliver(terra, body)
            types.append(type_)
            event = listener.expect(reference_id, *types)[-1]
            assert event["connections"] == connections_of(api, reference_id)
            return event

        connected = expect_next("connected", auth_event(first, reference_id))
        assert connected["connection"] == connections_of(api, reference_id)[0]
        failing = expect_next("needs_reauth", of_user("connection_error", first, reference_id))
        assert failing["connection"]["status"] == "needs_reauth"
        repair = failing["repair"]
        session = api.request(repair["method"], repair["path"], json=repair["body"]).raise_for_status().json()
        assert (session["repairs"], session["reference_id"]) == (first, reference_id)
        expect_next("recovered", auth_event(first, reference_id))
        scopes = of_user("permission_change", first, reference_id, scopes_added="BODY", scopes_removed="SLEEP")
        assert expect_next("scopes_changed", scopes)["connection"]["scopes"] == ["ACTIVITY", "BODY"]
        again = expect_next("reconnected", reauth_event(second, first, reference_id))
        assert again["previous"] == {"connection_id": connected["connection"]["connection_id"], "user_id": first}
        assert again["connection"]["user_id"] == second
        assert again["connection"]["connection_id"] == connected["connection"]["connection_id"]
        ended = expect_next("disconnected", deauth_event(second, reference_id))
        assert (ended["connection"]["status"], ended["connections"]) == ("revoked", [])
        expect_next("connected", auth_event(second, reference_id))
        response = api.post("/erasures", json={"reference_id": reference_id})
        assert response.status_code == httpx.codes.NO_CONTENT, response.text
        erased = expect_next("erased")
        assert erased["connection"]["user_id"] == second
        published = listener.of(reference_id)
        assert len({event["event_id"] for event in published}) == len(published)
        positions = [event["position"] for event in published]
        assert positions == sorted(set(positions))

    def test_a_reconnect_after_its_own_auth_is_published_once(
        self, terra: Terra, listener: Listener, reference_id: str
    ) -> None:
        old, new = new_user_id(), new_user_id()
        for body in (
            auth_event(old, reference_id),
            auth_event(new, reference_id),
            reauth_event(new, old, reference_id),
        ):
            deliver(terra, body)
        _, begun, reconnected = listener.expect(reference_id, "connected", "connected", "reconnected")
        thrown_away = {"connection_id": begun["connection"]["connection_id"], "user_id": new}
        assert reconnected["replaces"] == [thrown_away]
        deliver(terra, of_user("connection_error", new, reference_id))
        published = listener.expect(reference_id, "connected", "connected", "reconnected", "needs_reauth")
        assert published[-1]["connection"]["connection_id"] == reconnected["connection"]["connection_id"]
        assert [c["user_id"] for c in published[-1]["connections"]] == [new]

    def test_the_erasure_of_a_successor_without_a_reference_id_is_published_for_its_user(
        self, api: httpx.Client, terra: Terra, listener: Listener, reference_id: str
    ) -> None:
        old, new = new_user_id(), new_user_id()
        deliver(terra, auth_event(old, reference_id))
        reauth = reauth_event(new, old, reference_id)
        del reauth["new_user"]["reference_id"]
        deliver(terra, reauth)
        listener.expect(reference_id, "connected", "reconnected")
        assert api.post("/erasures", json={"reference_id": reference_id}).status_code == httpx.codes.NO_CONTENT
        assert listener.expect(reference_id, "connected", "reconnected", "erased")[-1]["connection"]["user_id"] == new

    def test_a_move_of_a_connection_is_published_for_both_users(
        self, terra: Terra, listener: Listener, reference_id: str
    ) -> None:
        user_id, other = new_user_id(), f"{reference_id}-other"
        deliver(terra, auth_event(user_id, reference_id))
        listener.expect(reference_id, "connected")
        deliver(terra, auth_event(user_id, other))
        [_, ended] = listener.expect(reference_id, "connected", "disconnected")
        [connected] = listener.expect(other, "connected")
        assert (ended["connections"], ended["connection"]["status"]) == ([], "revoked")
        assert [c["user_id"] for c in connected["connections"]] == [user_id]

    def test_facts_that_change_no_visible_value_are_not_published(
        self, terra: Terra, listener: Listener, reference_id: str
    ) -> None:
        user_id = new_user_id()
        failed = {"type": "auth", "status": "error", "reason": "auth_cancelled", "user": {"user_id": user_id}}
        deliver(terra, deauth_event(user_id, reference_id))
        deliver(terra, auth_event(user_id, None))
        deliver(terra, auth_event(user_id, reference_id))
        deliver(terra, of_user("activity", user_id, reference_id, data=[]))
        deliver(terra, failed)
        deliver(terra, of_user("connection_error", user_id, reference_id))
        listener.expect(reference_id, "connected", "needs_reauth")

    def test_a_disconnect_is_published(
        self, api: httpx.Client, terra: Terra, listener: Listener, reference_id: str
    ) -> None:
        user_id = terra.connect(reference_id)["user_id"]
        listener.expect(reference_id, "connected")
        assert api.delete(f"/connections/{user_id}").is_success
        listener.expect(reference_id, "connected", "disconnected")

    def test_the_local_stack_prints_the_published_events(self, stack: Stack, terra: Terra, reference_id: str) -> None:
        deliver(terra, auth_event(new_user_id(), reference_id))
        eventually(lambda: "[event on the bus] connected FITBIT" in stack.output.read_text())


# --- the handler alone -----------------------------------------------------------------------------------------------


def image(user_id: str, reference_id: str, *, version: int = 1, **facts: dict[str, Any]) -> Record:
    """Build an item as a stream contains it."""
    item = {
        "user_id": user_id,
        "version": version,
        "first_connected": LONG_AGO,
        "reference_id": reference_id,
        "facts": {"connected": {"at": LONG_AGO}, "owner": {"at": LONG_AGO, "value": reference_id}, **facts},
    }
    return {name: _write(value) for name, value in item.items()}


def record(number: int, *, old: Record | None = None, new: Record | None = None) -> Record:
    images = {name: value for name, value in (("OldImage", old), ("NewImage", new)) if value is not None}
    keys = {"user_id": (new or old or {})["user_id"]}
    return {
        "eventID": str(number),
        "eventName": "MODIFY" if old and new else "INSERT" if new else "REMOVE",
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_763_800_000 + number,
            "Keys": keys,
            "SequenceNumber": f"{number:021}",
            "StreamViewType": "NEW_AND_OLD_IMAGES",
            **images,
        },
    }


def stream(*records: Record) -> dict[str, Any]:
    return {"Records": list(records)}


def failed(run: Run) -> list[str]:
    assert run.result is not None, run.error
    return [failure["itemIdentifier"].lstrip("0") for failure in run.result["batchItemFailures"]]


@pytest.fixture
def reference_ids(reference_id: str) -> list[str]:
    return [f"{reference_id}-{number}" for number in range(3)]


@pytest.fixture
def three_connections(reference_ids: Sequence[str]) -> dict[str, Any]:
    """The first connections of three users, in one batch."""
    return stream(
        *(record(n, new=image(new_user_id(), reference_id)) for n, reference_id in enumerate(reference_ids, 1))
    )


def test_an_event_rejected_by_eventbridge_is_retried_and_the_others_are_published(
    handlers: Handlers, listener: Listener, reference_ids: list[str], three_connections: dict[str, Any]
) -> None:
    entry = {"ErrorCode": "InternalFailure", "ErrorMessage": "ordered by a test"}
    refusal = fake_response(f"{PUT}#2:before", {"FailedEntryCount": 1, "Entries": [entry]})
    run = handlers.run("publish_events", three_connections, refusal)
    assert failed(run) == ["2"]
    assert '"causes":["NotPublished"]' in run.log
    for reference_id, types in zip(reference_ids, (["connected"], [], ["connected"]), strict=True):
        listener.expect(reference_id, *types)
    first = [event for reference_id in reference_ids for event in listener.of(reference_id)]
    again = handlers.run("publish_events", stream(*three_connections["Records"][1:]))
    assert failed(again) == []
    listener.expect(reference_ids[1], "connected")
    [once, twice] = listener.expect(reference_ids[2], "connected", "connected")
    assert once["event_id"] == twice["event_id"] in [event["event_id"] for event in first]


def test_an_error_of_eventbridge_is_a_failure_of_that_record(
    handlers: Handlers, three_connections: dict[str, Any]
) -> None:
    run = handlers.run("publish_events", three_connections, aws_error(f"{PUT}*:before", "AccessDeniedException"))
    assert failed(run) == ["1", "2", "3"]


def test_a_record_that_cannot_be_read_fails_alone(
    handlers: Handlers, listener: Listener, reference_ids: list[str], three_connections: dict[str, Any]
) -> None:
    del three_connections["Records"][1]["dynamodb"]["NewImage"]["version"]
    assert failed(handlers.run("publish_events", three_connections)) == ["2"]
    listener.expect(reference_ids[0], "connected")
    listener.expect(reference_ids[2], "connected")


def test_a_replay_has_the_same_ids(
    handlers: Handlers, listener: Listener, reference_ids: list[str], three_connections: dict[str, Any]
) -> None:
    for _ in range(2):
        assert failed(handlers.run("publish_events", three_connections)) == []
    for reference_id in reference_ids:
        [once, twice] = listener.expect(reference_id, "connected", "connected")
        assert once["event_id"] == twice["event_id"]
        assert once["position"] < twice["position"]
        assert once == {**twice, "position": once["position"]}


def test_a_reconnect_whose_records_come_in_two_batches_is_published_once(
    handlers: Handlers, terra: Terra, listener: Listener, reference_id: str, dynamodb: "DynamoDBClient", stack: Stack
) -> None:
    """The running stack wrote the items. The test recognizes the stack's own events by their ids."""
    old, new = new_user_id(), new_user_id()
    deliver(terra, auth_event(old, reference_id))
    before = item(dynamodb, stack, old)
    deliver(terra, reauth_event(new, old, reference_id))
    [_, published] = listener.expect(reference_id, "connected", "reconnected")
    records = [record(1, old=before, new=item(dynamodb, stack, old)), record(2, new=item(dynamodb, stack, new))]
    for order in (records, records[::-1]):
        types = []
        for one in order:
            run = handlers.run("publish_events", stream(one))
            assert failed(run) == []
            types += [t for line in run.log.splitlines() for t in json.loads(line).get("types", [])]
        assert types == ["reconnected"]
    assert {event["event_id"] for event in listener.of(reference_id)[1:]} == {published["event_id"]}


def item(dynamodb: "DynamoDBClient", stack: Stack, user_id: str) -> Record:
    key = {"user_id": {"S": user_id}}
    found = dynamodb.get_item(TableName=stack.tables.connections, Key=key, ConsistentRead=True)
    stored: Record = dict(found["Item"])
    return stored


@pytest.mark.parametrize("change", ["put", "removed by DynamoDB"])
def test_a_tombstone_causes_no_event(handlers: Handlers, change: str) -> None:
    tombstone = {"user_id": {"S": "erased:" + "0" * 64}, "ttl": {"N": "1"}}
    change_record = record(1, new=tombstone) if change == "put" else record(1, old=tombstone)
    change_record["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    run = handlers.run("publish_events", stream(change_record))
    assert failed(run) == []
    assert PUT not in run.trips


def test_an_unpublished_change_costs_one_read_and_a_published_one_two_reads_and_an_event(
    handlers: Handlers, reference_id: str
) -> None:
    user_id = new_user_id()
    before = image(user_id, reference_id)
    later = image(user_id, reference_id, version=2, widget_session_id={"at": LONG_AGO + 1, "value": "w"})
    silent = handlers.run("publish_events", stream(record(1, old=before, new=later)))
    assert silent.trips == ["dynamodb.BatchGetItem"]
    published = handlers.run("publish_events", stream(record(1, new=before)))
    # The message announces payloads that arrived before the owner was known.
    assert published.trips == ["dynamodb.BatchGetItem", "dynamodb.Query", PUT, "sqs.SendMessageBatch"]


def test_the_log_contains_the_types_of_the_events_and_no_reference_id(handlers: Handlers, reference_id: str) -> None:
    run = handlers.run("publish_events", stream(record(1, new=image(new_user_id(), reference_id))))
    lines = [json.loads(line) for line in run.log.splitlines()]
    assert [line["types"] for line in lines if line["message"] == "publish"] == [["connected"]]
    assert reference_id not in run.log
