"""The life of a connection, call by call: each kind of API request, on one set of tables."""

import json
import random
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx

from benchmarks.flat_cost.load import OF_A_PERSON, person_of, user_id_of
from local import database, messages
from local.testing import Stack
from tests.integration.handlers import environments, http_event
from tests.integration.webhooks import Webhook, as_bytes
from tests.support import Terra, auth_event, decide, query_of
from tools import setup
from tools.environment import ROOT, everything

PAGE: Final = 300
"""Connections in a step of a sweep."""
PAGES: Final = 3


class Trip(NamedTuple):
    """One call of DynamoDB.

    Attributes:
        units: the consumed units, by table and index.
        missing: the number of missing keys of a BatchGetItem.
        written: kilobytes of a transaction, indexes included.
    """

    call: str
    units: tuple[tuple[str, float], ...]
    missing: int = 0
    written: int = 0


@dataclass(frozen=True)
class Call:
    """One call of a function."""

    ms: float
    cpu_ms: float
    trips: tuple[Trip, ...]
    terra_calls: int
    log_bytes: int


@dataclass
class Measured:
    """All calls on tables of one size, by kind, and the metrics that they wrote."""

    calls: dict[str, list[Call]] = field(default_factory=dict)
    series: set[str] = field(default_factory=set)


class Worker:
    """A process that runs the functions on tables of its own; see worker.py."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.measured = Measured()

    def call(self, what: str, function: str, event: Mapping[str, Any], *, status: int | None = None) -> dict[str, Any]:
        """Call a function and record its consumption under the name `what`.

        Returns:
            The function's result.

        Raises:
            RuntimeError: the process has died, or the response is not the expected one.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError
        self._process.stdin.write(json.dumps({"function": function, "event": event}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        told = json.loads(line) if line else {}
        result: dict[str, Any] = told.get("result") or {}
        if not line or result.get("statusCode") != status or result.get("batchItemFailures"):
            message = f"{what}: {function} answered {result or 'nothing'}"
            raise RuntimeError(message)
        trips = tuple(Trip(**{**trip, "units": tuple(sorted(trip["units"].items()))}) for trip in told["trips"])
        call = Call(told["ms"], told["cpu_ms"], trips, told["terra_calls"], told["log_bytes"])
        self.measured.calls.setdefault(what, []).append(call)
        self.measured.series.update(told["series"])
        return result


@contextmanager
def working(stack: Stack, size: int, more: Mapping[str, str] | None = None) -> Iterator[Worker]:
    """A worker on the tables of this size, under the functions' interpreter; `more` are further variables for it."""
    python, _, _ = setup.functions_python()
    tables = {f"{name.upper()}_TABLE": f"{name}{size}" for name in database.declared_tables(ROOT / "template.yaml")}
    # The stack itself would empty its own queue.
    queue = messages.services("", stack.aws_url).queues().create_queue(QueueName=f"FlatCost{size}")["QueueUrl"]
    given = {"PATH": everything()["PATH"], **tables, "SWEEP_QUEUE_URL": queue, **(more or {})}
    # One process runs every function: it has the variables of all of them.
    declared = {name: value for of in environments(stack).values() for name, value in of.items()}
    environment = {**declared, **given}
    process = subprocess.Popen(  # noqa: S603  # our own program
        [python, ROOT / "benchmarks" / "flat_cost" / "worker.py", ROOT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    try:
        yield Worker(process)
    finally:
        process.kill()
        process.communicate()


class Life:
    """Walks through all kinds of requests."""

    def __init__(self, stack: Stack, terra: Terra, worker: Worker, size: int, terra_knows: set[str]) -> None:
        self._stack = stack
        self._terra = terra
        self._terra_knows = terra_knows
        self._worker = worker
        self._size = size
        self._database = database.connect(stack.dynamodb_url)
        self._random = random.Random(size)  # noqa: S311  # not used for secrets
        # Each user once before any user again: of two events in one second about one connection, one changes nothing.
        people = range(size // OF_A_PERSON)
        self._people = cycle(self._random.sample(people, len(people)))

    def webhook(self, what: str, body: Mapping[str, Any]) -> None:
        """Send a webhook of Terra's."""
        # Equal bodies in one second would count as one delivery.
        event = Webhook(as_bytes({**body, "number": self._random.random()}), self._stack.signing_secret).event()
        self._worker.call(what, "terra_webhook", event, status=httpx.codes.OK)

    def sweep(self) -> None:
        """Start a sweep, and process its first pages; Terra knows all users on them."""
        sweep_id = str(uuid4())
        # The previous sweep never finishes.
        self._database.delete_item(TableName=f"Sessions{self._size}", Key={"session_id": {"S": "sweep:current"}})
        self._worker.call("sweep: begin", "reconcile", {"id": sweep_id})
        start: dict[str, Any] = {}
        for number in range(PAGES):
            after: Any = {"ExclusiveStartKey": start} if start else {}
            page = self._database.scan(TableName=f"Connections{self._size}", Limit=PAGE, **after)
            for item in page["Items"]:
                user_id = item["user_id"]["S"]
                if user_id not in self._terra_knows:
                    self._terra.connect(item["reference_id"]["S"], user_id=user_id, account=user_id, silent=True)
                    self._terra_knows.add(user_id)
            step = {"sweep_id": sweep_id, "task": "ours", "segments": 1, "number": number}
            step |= {"start": start["user_id"]["S"]} if start else {}
            event = {"Records": [{"messageId": str(number), "body": json.dumps(step)}]}
            self._worker.call(f"sweep: a {'' if start else 'first '}page of {PAGE}", "sweep_page", event)
            start = page["LastEvaluatedKey"]

    def walk(self) -> None:
        """Connect a new user, query, and disconnect it again; in between, send requests about existing users."""
        number = next(self._people) * OF_A_PERSON
        known, known_person, person = user_id_of(number), person_of(number), str(uuid4())

        first = str(uuid4())
        # Another user: otherwise the session below would be connected at once.
        self.webhook("webhook: a new connection", auth_event(first, str(uuid4())))
        self._publish(first)
        self.webhook("webhook: a known connection", auth_event(known, known_person))
        user = auth_event(known, known_person)["user"]
        self.webhook("webhook: data", {"type": "daily", "user": user, "version": "2022-03-16", "data": [{}]})

        asked = {"identitySource": [f"Bearer {self._stack.service_key}"]}
        self._worker.call("authorize", "authorize", asked)
        session = self._begin(person)
        self._look("get session: pending", session["session_id"])
        came_back = decide(session["auth_url"], "allow")
        self._come_back("redirect: Terra is asked", came_back)
        self._come_back("redirect: known to be connected", came_back)
        self._look("get session: connected", session["session_id"])
        self._list(known_person)
        self._get(known)

        user_id = query_of(came_back)["user_id"]
        event = http_event("DELETE", f"/connections/{user_id}", path_parameters={"user_id": user_id})
        self._worker.call("disconnect", "disconnect", event, status=httpx.codes.NO_CONTENT)

    def _begin(self, person: str) -> dict[str, Any]:
        body = json.dumps({"reference_id": person, "resource": "FITBIT"})
        event = http_event("POST", "/sessions", body=body)
        answer = self._worker.call("new session", "create_session", event, status=httpx.codes.CREATED)
        session: dict[str, Any] = json.loads(answer["body"])
        return session

    def _look(self, what: str, session_id: str) -> None:
        event = http_event("GET", f"/sessions/{session_id}", path_parameters={"session_id": session_id})
        self._worker.call(what, "get_session", event, status=httpx.codes.OK)

    def _come_back(self, what: str, url: str) -> None:
        event = http_event("GET", "/auth/success", query=urlsplit(url).query)
        self._worker.call(what, "auth_success", event, status=httpx.codes.OK)

    def _list(self, person: str) -> None:
        event = http_event("GET", "/connections", query=f"reference_id={quote(person)}")
        self._worker.call("list", "list_connections", event, status=httpx.codes.OK)

    def _get(self, user_id: str) -> None:
        event = http_event("GET", f"/connections/{user_id}", path_parameters={"user_id": user_id})
        self._worker.call("get connection", "get_connection", event, status=httpx.codes.OK)

    def _publish(self, user_id: str) -> None:
        """Pass the stream record of a new connection to publish_events."""
        item = self._database.get_item(TableName=f"Connections{self._size}", Key={"user_id": {"S": user_id}})["Item"]
        changed = {"ApproximateCreationDateTime": time.time(), "NewImage": item, "SequenceNumber": "1"}
        event = {"Records": [{"eventID": "1", "eventName": "INSERT", "dynamodb": changed}]}
        self._worker.call("publish a change", "publish_events", event)
