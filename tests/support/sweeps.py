"""Sweeps driven by the test itself, on separate tables and a separate queue, so that no other test is affected."""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from local import messages
from local.testing import Stack
from tests.support.handlers import Handlers, Rule, Run
from tests.support.tables import own_tables
from tests.support.terra import Terra

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

Item = dict[str, Any]
Message = Mapping[str, Any]

LONG_AGO = 1_700_000_000_000

_read = TypeDeserializer().deserialize
_write = TypeSerializer().serialize


def connection_item(user_id: str, facts: Item | None = None) -> Item:
    """Build a connection's item as the functions write it."""
    kinds = {
        "connected": {"at": LONG_AGO},
        "provider": {"at": LONG_AGO, "value": "FITBIT"},
        "owner": {"at": LONG_AGO, "value": "alice"},
        **(facts or {}),
    }
    return {
        "user_id": user_id,
        "reference_id": "alice",
        "version": 1,
        "first_connected": LONG_AGO,
        "facts": kinds,
    }


def event_of(message: Message) -> dict[str, Any]:
    """Build the event that Lambda passes to the function."""
    return {"Records": [{"messageId": message["MessageId"], "body": message["Body"], "eventSource": "aws:sqs"}]}


def metric_sums(runs: Iterable[Run], name: str) -> dict[str, float]:
    """Sum a metric's values by its only dimension besides `service`."""
    found: dict[str, float] = {}
    for run in runs:
        for line in run.log.splitlines():
            record = json.loads(line)
            for directive in record.get("_aws", {}).get("CloudWatchMetrics", []):
                if [metric["Name"] for metric in directive["Metrics"]] == [name]:
                    [dimension] = set(directive["Dimensions"][0]) - {"service"}
                    found[record[dimension]] = found.get(record[dimension], 0) + sum(record[name])
    return found


def log_record(run: Run) -> dict[str, Any]:
    """Return the one line of a run's log that describes its work."""
    [line] = [record for line in run.log.splitlines() if "message_id" in (record := json.loads(line))]
    return dict(line)


def outcomes(runs: Iterable[Run]) -> list[str]:
    return [log_record(run).get("outcome", "failed") for run in runs]


@dataclass(frozen=True)
class Sweeping:
    """Starts sweeps and processes their messages."""

    handlers: Handlers
    dynamodb: "DynamoDBClient"
    sqs: "SQSClient"
    queue_url: str
    connections_table: str
    sessions_table: str
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CONNECTIONS_TABLE": self.connections_table,
            "SESSIONS_TABLE": self.sessions_table,
            "SWEEP_QUEUE_URL": self.queue_url,
            **self.settings,
        }

    # -- state ---------------------------------------------------------------------------------------------------------

    def load(self, items: Sequence[Item]) -> None:
        for start in range(0, len(items), 25):
            rest: Any = {
                self.connections_table: [
                    {"PutRequest": {"Item": {name: _write(value) for name, value in item.items()}}}
                    for item in items[start : start + 25]
                ]
            }
            while rest:
                rest = self.dynamodb.batch_write_item(RequestItems=rest)["UnprocessedItems"]

    def put_tombstones(self, user_id: str) -> None:
        key = f"erased:{hashlib.sha256(user_id.encode()).hexdigest()}"
        self.load([{"user_id": key, "ttl": int(time.time()) + 1000}])

    def connection(self, user_id: str) -> Item | None:
        return self._get(self.connections_table, "user_id", user_id)

    def facts(self, user_id: str) -> Item:
        """Return a connection's facts by kind; empty if the connection is unknown."""
        item = self.connection(user_id)
        return item["facts"] if item else {}

    def revoked(self) -> set[str]:
        """Return the user_ids with a recorded absence."""
        return {item["user_id"] for item in self._all(self.connections_table) if "absent" in item.get("facts", {})}

    def state(self) -> Item:
        state = self._get(self.sessions_table, "session_id", "sweep:current")
        assert state is not None
        return state

    def sweep_items(self) -> list[Item]:
        """Return all items of sweeps. The table also holds each user's list of operations, under a pseudonym."""
        return [item for item in self._all(self.sessions_table) if not item["session_id"].startswith("user:")]

    def change(self, session_id: str, **changes: object) -> None:
        item = self._get(self.sessions_table, "session_id", session_id)
        assert item is not None
        changed = {name: _write(value) for name, value in (item | changes).items()}
        self.dynamodb.put_item(TableName=self.sessions_table, Item=changed)

    def _get(self, table: str, key: str, value: str) -> Item | None:
        response = self.dynamodb.get_item(TableName=table, Key={key: {"S": value}}, ConsistentRead=True)
        return {name: _read(stored) for name, stored in response["Item"].items()} if "Item" in response else None

    def _all(self, table: str) -> list[Item]:
        pages = self.dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
        return [{name: _read(value) for name, value in item.items()} for page in pages for item in page["Items"]]

    # -- actions -------------------------------------------------------------------------------------------------------

    def start(self, sweep_id: str | None = None, *rules: Rule) -> Run:
        """Invoke the function as the schedule does."""
        event = {"id": sweep_id or str(uuid4()), "detail-type": "Scheduled Event"}
        return self.handlers.run("reconcile", event, *rules, environment=self.environment)

    def has_started(self, sweep_id: str | None = None) -> bool:
        run = self.start(sweep_id)
        assert run.result is not None, run.error
        has_started: bool = run.result["has_started"]
        return has_started

    def receive(self, *, wait_s: int = 1) -> Message | None:
        """Receive a message and delete it from the queue."""
        found = self.sqs.receive_message(QueueUrl=self.queue_url, WaitTimeSeconds=wait_s).get("Messages", [])
        for message in found:
            self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
            return dict(message)
        return None

    def next_of(self, task: str) -> Message:
        """Return the next message of this task, after processing the messages before it."""
        while (message := self.receive()) is not None:
            if json.loads(message["Body"])["task"] == task:
                return message
            self.process(message)
        raise AssertionError(task)

    def receive_all(self) -> list[Message]:
        received = []
        while (message := self.receive(wait_s=0)) is not None:
            received.append(message)
        return received

    def process(self, message: Message, *rules: Rule, limit: str = "2") -> Run:
        """Pass a message to the function."""
        variables = {**self.environment, "SWEEP_REVOKES_BELOW_PERCENT": limit}
        return self.handlers.run("sweep_page", event_of(message), *rules, environment=variables)

    def process_all(self, *, copies: int = 1, wait_s: int = 0, limit: str = "2") -> list[Run]:
        """Process every message in the queue and those that follow. Retry failed messages at once; fail at 500 runs."""
        runs: list[Run] = []
        again: list[Message] = []
        while (message := again.pop() if again else self.receive(wait_s=wait_s)) is not None:
            for _ in range(copies):
                run = self.process(message, limit=limit)
                assert run.result is not None, run.error
                runs.append(run)
                if run.result["batchItemFailures"]:
                    assert run.result["batchItemFailures"] == [{"itemIdentifier": message["MessageId"]}]
                    again.append(message)
            assert len(runs) < 500, outcomes(runs[-20:])
        return runs

    def sweep(self, *, limit: str = "2") -> list[Run]:
        """Run a whole sweep."""
        assert self.has_started()
        return self.process_all(limit=limit)


@contextmanager
def own_sweeping(handlers: Handlers, dynamodb: "DynamoDBClient", stack: Stack) -> Iterator[Sweeping]:
    """Create tables and a queue, and delete them afterwards."""
    sqs = messages.services(stack.dynamodb_url, stack.aws_url).queues()
    name = f"SweepQueue-{uuid4()}"
    with own_tables(dynamodb, "Connections", "Sessions") as (connections, sessions):
        sqs.create_queue(QueueName=name)
        queue_url = f"{stack.aws_url}/000000000000/{name}"
        try:
            yield Sweeping(handlers, dynamodb, sqs, queue_url, connections, sessions)
        finally:
            sqs.delete_queue(QueueUrl=queue_url)


def connect_at_terra(terra: Terra, count: int, **details: object) -> list[str]:
    """Connect users at Terra."""

    def connect(number: int) -> str:
        user = terra.connect(f"reference-{number}", account=f"account-{number}", silent=True, **details)
        return str(user["user_id"])

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(connect, range(count)))
