"""The project's functions, warm, on tables of their own with any number of connections."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

import httpx

from benchmarks.tables import make_tables
from local import database, messages
from tests.support.handlers import environments
from tests.support.terra_events import auth_event
from tests.support.webhooks import Webhook, as_bytes
from tools import setup
from tools.environment import ROOT, everything
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from local.testing import Stack

KEPT: Final = "Kept"
"""In the names of the tables of functions that keep data."""
_AT_ONCE: Final = 25  # the limit of BatchWriteItem
_SHOWN_EVERY: Final = 100_000  # connections
_HEADERS: Final = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.BatchWriteItem",
    # DynamoDB Local requires a signature but does not check it; computing one takes longer than the request.
    "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=none",
}


class Call(NamedTuple):
    """A DynamoDB call: see worker.py."""

    operation: str
    units: Mapping[str, float]
    unreported: float
    writes: Sequence[tuple[str, int, bool]]

    @property
    def read_units(self) -> float:
        """The read request units that DynamoDB bills."""
        return 0 if self._is_write else sum(self.units.values()) + self.unreported

    @property
    def write_units(self) -> float:
        """The write request units that DynamoDB bills.

        Each item that a transaction writes or checks costs two units for a kilobyte
        (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html). A change of an
        index is counted like that of the table, to be on the safe side.
        """
        if self.writes:
            return sum(2 * kilobytes * (1 + is_indexed) for _, kilobytes, is_indexed in self.writes)
        return sum(self.units.values()) if self._is_write else 0

    @property
    def _is_write(self) -> bool:
        return self.operation in {"TransactWriteItems", "PutItem", "UpdateItem", "DeleteItem"}


class Invocation(NamedTuple):
    """One invocation of a function: its DynamoDB calls, the numbers of other calls and of those of Terra, its log."""

    function: str
    ms: float
    cpu_ms: float
    calls: list[Call]
    others: Mapping[str, int]
    terra_calls: int
    log: str


IGNORES_DATA: Final = {"PAYLOADS_BUCKET": "", "ANNOUNCEMENTS_QUEUE_URL": ""}
"""DataDeliveries=ignore: the local stack keeps data, a deployed one does not by default."""


class Functions:
    """Invokes the functions in a process of their own; see worker.py.

    Attributes:
        queue_url: the queue of sweeps that they use; nothing else reads it.
        invocations: the invocations so far, by the caller's name of their kind.
        log: the lines that the functions logged.
    """

    def __init__(self, process: subprocess.Popen[str], stack: Stack, queue_url: str) -> None:
        self._process = process
        self._signing_secret = stack.signing_secret
        self.queue_url = queue_url
        self.invocations: dict[str, list[Invocation]] = {}
        self.log: list[dict[str, Any]] = []

    def invoke(
        self, kind: str, function: str, event: Mapping[str, Any], *, status: int | None = None
    ) -> dict[str, Any]:
        """Invoke a function and return its result.

        Raises:
            RuntimeError: the process has died, or the response is not the expected one.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError
        self._process.stdin.write(json.dumps({"function": function, "event": event}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {}
        result: dict[str, Any] = answer.get("result") or {}
        if not line or result.get("statusCode") != status or result.get("batchItemFailures"):
            message = f"{kind}: {function} returned {result or 'nothing'}"
            raise RuntimeError(message)
        log = [json.loads(line) for line in answer["log"].splitlines() if line.startswith("{")]
        self.log += log
        calls = [Call(*call) for call in answer["calls"]]
        terra_calls = sum("TerraCalls" in line for line in log)
        invocation = Invocation(
            function, answer["ms"], answer["cpu_ms"], calls, answer["others"], terra_calls, answer["log"]
        )
        self.invocations.setdefault(kind, []).append(invocation)
        return result

    def webhook(self, kind: str, body: Mapping[str, Any]) -> None:
        """Deliver a webhook of Terra's."""
        event = Webhook(as_bytes(body), self._signing_secret).event()
        self.invoke(kind, "terra_webhook", event, status=httpx.codes.OK)


@contextmanager
def running_functions(stack: Stack, size: int, *, keeps_data: bool = False, **variables: str) -> Iterator[Functions]:
    """Run the functions under their own interpreter on new tables with this many connections.

    Args:
        stack: the running stack, whose database, queues, secrets and Terra they use.
        size: the number of connections; also the end of the tables' names.
        keeps_data: whether DataDeliveries is keep; the tables have other names then.
        variables: changes to the functions' environment.
    """
    python, _, _ = setup.functions_python()
    suffix = f"{KEPT if keeps_data else ''}{size}"
    tables = {f"{name.upper()}_TABLE": table for name, table in make_tables(stack, suffix).items()}
    # The stack itself would empty its own queue.
    queue = messages.services("", stack.aws_url).queues().create_queue(QueueName=f"Sweep{suffix}")["QueueUrl"]
    # One process runs every function: it has the variables of all of them.
    declared = {name: value for of in environments(stack).values() for name, value in of.items()}
    declared |= {} if keeps_data else IGNORES_DATA
    process = subprocess.Popen(  # noqa: S603  # our own program
        [python, ROOT / "benchmarks" / "worker.py", ROOT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**declared, "PATH": everything()["PATH"], **tables, "SWEEP_QUEUE_URL": queue, **variables},
        text=True,
    )
    try:
        functions = Functions(process, stack, queue)
        functions.webhook("the first connection", auth_event(user_id_of(0), reference_id_of(0)))
        fill(stack, tables["CONNECTIONS_TABLE"], size)
        functions.invocations.clear()
        yield functions
    finally:
        process.kill()
        process.communicate()


def user_id_of(number: int) -> str:
    """Return the `user_id` of a connection, the same in tables of every size."""
    return _uuid(f"connection {number}")


def reference_id_of(number: int) -> str:
    """Return the `reference_id` of its owner, who has no other connection."""
    return _uuid(f"user {number}")


def _uuid(name: str) -> str:
    return str(UUID(bytes=blake2b(name.encode(), digest_size=16).digest()))


def fill(stack: Stack, table: str, count: int) -> None:
    """Write copies of the table's first connection, each with its own `user_id`, until there are `count`."""
    key = {"user_id": {"S": user_id_of(0)}}
    first = json.dumps(database.connect(stack.dynamodb_url).get_item(TableName=table, Key=key)["Item"])
    with httpx.Client(base_url=stack.dynamodb_url, headers=_HEADERS, timeout=60, trust_env=False) as client:
        for start in range(0, count, _AT_ONCE):
            copies = (
                first.replace(user_id_of(0), user_id_of(number)).replace(reference_id_of(0), reference_id_of(number))
                for number in range(start, min(start + _AT_ONCE, count))
            )
            puts = ",".join(f'{{"PutRequest":{{"Item":{copy}}}}}' for copy in copies)
            answer = client.post("/", content=f'{{"RequestItems":{{"{table}":[{puts}]}}}}').raise_for_status()
            if answer.json()["UnprocessedItems"]:
                message = f"{stack.dynamodb_url} did not write every item."
                raise RuntimeError(message)
            if start and start % _SHOWN_EVERY == 0:
                say(f"  {start:,} of {count:,} connections")
