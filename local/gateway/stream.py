"""A table's stream that invokes a function: in order, and blocked by failures, as Lambda's event source mapping.

A batch that fails is retried from the first record that the function reported. A batch that is given up is reported to
the on-failure destination's queue, by its position in the stream and without its content. Checkpoints are kept in a
file, so that a restart continues from there. Batching windows are ignored; shards are read one after the other.
"""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from local.gateway import filters
from local.gateway.batches import Invoke, failures, payload
from local.gateway.intrinsics import ACCOUNT_ID
from local.gateway.runtime_api import FunctionError
from local.gateway.services import Services, Threads
from local.gateway.triggers import StreamTrigger
from local.gateway.workers import OnLog

if TYPE_CHECKING:
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_dynamodbstreams.type_defs import ShardTypeDef
    from mypy_boto3_sqs import SQSClient

FIRST_PAUSE: Final = 0.1  # seconds before the first retry; doubled for each further one
LONGEST_PAUSE: Final = 5.0
LOOK_FOR_SHARDS_EVERY: Final = 50  # polls

Record = dict[str, Any]


class Checkpoints:
    """The position up to which each shard was read, in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}

    def of(self, stream: str, shard: str) -> str | None:
        """The sequence number of the last record that succeeded or was given up."""
        return self._read.get(f"{stream} {shard}")

    def knows(self, stream: str) -> bool:
        """Whether the stream was ever read."""
        return any(key.startswith(f"{stream} ") for key in self._read)

    def keep(self, stream: str, shard: str, sequence_number: str) -> None:
        """Store the position, atomically."""
        self._read[f"{stream} {shard}"] = sequence_number
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(self._read))
        new.replace(self._file)


class StreamPoller:
    """Invokes one function from one table's stream."""

    def __init__(
        self, trigger: StreamTrigger, services: Services, invoke: Invoke, on_log: OnLog, checkpoints: Checkpoints
    ) -> None:
        self._trigger = trigger
        self._services = services
        self._invoke = invoke
        self._on_log = on_log
        self._checkpoints = checkpoints
        self._client: DynamoDBStreamsClient | None = None
        self._queues: SQSClient | None = None
        self._stream = ""
        self._starts_at = trigger.starts_at
        self._shards: dict[str, ShardTypeDef] = {}
        self._iterators: dict[str, str | None] = {}  # None: read to its end
        self._has_looked = False
        self._polls_until_look = 0
        self.name = f"{trigger.function} reads the stream of {trigger.table}"

    async def poll(self, thread: Threads) -> bool:
        """Process a batch of every open shard; return whether there was one."""
        if self._client is None:
            self._queues = await thread.run(self._services.queues)
            tables = await thread.run(self._services.tables)
            described = await thread.run(partial(tables.describe_table, TableName=self._trigger.table))
            self._stream = described["Table"]["LatestStreamArn"]
            self._client = await thread.run(self._services.streams)
        if self._polls_until_look == 0:
            await self._look_for_shards(self._client, thread)
            self._polls_until_look = LOOK_FOR_SHARDS_EVERY
        self._polls_until_look -= 1
        found = [await self._read(self._client, thread, shard) for shard in list(self._shards) if self._is_open(shard)]
        return any(found)

    async def end(self) -> None:
        """Do nothing: no work continues after `poll`."""

    def _is_open(self, shard: str) -> bool:
        """Whether to read it now: it was not read to its end, and its parent was."""
        parent = self._shards[shard].get("ParentShardId", "")
        is_parent_done = parent not in self._shards or self._iterators.get(parent, "") is None
        return is_parent_done and self._iterators.get(shard, "") is not None

    async def _look_for_shards(self, client: "DynamoDBStreamsClient", thread: Threads) -> None:
        after: dict[str, str] = {}
        while True:
            call = partial(client.describe_stream, StreamArn=self._stream, **after)  # type: ignore[arg-type]
            description = (await thread.run(call))["StreamDescription"]
            self._shards |= {shard["ShardId"]: shard for shard in description.get("Shards", [])}
            if "LastEvaluatedShardId" not in description:
                break
            after = {"ExclusiveStartShardId": description["LastEvaluatedShardId"]}
        if self._has_looked:
            self._starts_at = "TRIM_HORIZON"  # a shard that appears later is read from its beginning
        self._has_looked = True

    async def _read(self, client: "DynamoDBStreamsClient", thread: Threads, shard: str) -> bool:
        iterator = self._iterators.get(shard) or await self._begin(client, thread, shard)
        call = partial(client.get_records, ShardIterator=iterator, Limit=min(self._trigger.batch_size, 1000))
        try:
            response = await thread.run(call)
        except (client.exceptions.ExpiredIteratorException, client.exceptions.TrimmedDataAccessException):
            self._iterators.pop(shard)
            return True
        records = [_record(dict(record), self._stream) for record in response["Records"]]
        if records:
            wanted = [record for record in records if filters.matches(self._trigger.patterns, record)]
            await self._deliver(shard, wanted, thread)
            self._checkpoints.keep(self._stream, shard, _number(records[-1]))
        self._iterators[shard] = response.get("NextShardIterator")
        if self._iterators[shard] is None:
            self._polls_until_look = 0  # its children are looked for at once
        return bool(records)

    async def _begin(self, client: "DynamoDBStreamsClient", thread: Threads, shard: str) -> str:
        read = self._checkpoints.of(self._stream, shard)
        where: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}
        if read is not None:
            where = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": read}
        elif not self._checkpoints.knows(self._stream):
            where = {"ShardIteratorType": self._starts_at}
        call = partial(client.get_shard_iterator, StreamArn=self._stream, ShardId=shard, **where)  # type: ignore[arg-type]
        return (await thread.run(call))["ShardIterator"]

    # -- delivering a batch --------------------------------------------------------------------------------------------

    async def _deliver(self, shard: str, records: list[Record], thread: Threads) -> None:
        """Invoke the function until the records succeed or are given up."""
        tries = 0
        while records:
            tries += 1
            try:
                response = await self._invoke(payload(records))
            except FunctionError:
                if self._trigger.is_bisected and len(records) > 1:
                    half = len(records) // 2
                    await self._deliver(shard, records[:half], thread)
                    records, tries = records[half:], 0
                    continue
            else:
                numbers = [_number(record) for record in records]
                failed = failures(response, numbers, reports=self._trigger.reports_failures)
                if not failed:
                    return
                first = min(index for index, number in enumerate(numbers) if number in failed)
                self._on_log(f"[{self._trigger.function}] {len(failed)} of {len(records)} records failed")
                if first:
                    # Lambda does not document whether progress restarts the count; here it does.
                    records, tries = records[first:], 1
            if self._trigger.retries is not None and tries > self._trigger.retries:
                await self._give_up(shard, records, tries, thread)
                return
            await asyncio.sleep(min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE))

    async def _give_up(self, shard: str, records: Sequence[Record], tries: int, thread: Threads) -> None:
        self._on_log(
            f"[{self._trigger.function}] {len(records)} records of {self._trigger.table}'s stream were given up"
        )
        if self._trigger.failures_to is None or self._queues is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        arrivals = [datetime.fromtimestamp(r["dynamodb"]["ApproximateCreationDateTime"], UTC) for r in records]
        function = f"arn:aws:lambda:{self._services.region}:{ACCOUNT_ID}:function:{self._trigger.function}"
        report = {
            "requestContext": {
                "requestId": str(uuid4()),
                "functionArn": function,
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": tries,
            },
            "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": None},
            "version": "1.0",
            "timestamp": now,
            "DDBStreamBatchInfo": {
                "shardId": shard,
                "startSequenceNumber": _number(records[0]),
                "endSequenceNumber": _number(records[-1]),
                "approximateArrivalOfFirstRecord": arrivals[0].isoformat().replace("+00:00", "Z"),
                "approximateArrivalOfLastRecord": arrivals[-1].isoformat().replace("+00:00", "Z"),
                "batchSize": len(records),
                "streamArn": self._stream,
            },
        }
        send = partial(self._queues.send_message, QueueUrl=self._trigger.failures_to, MessageBody=json.dumps(report))
        await thread.run(send)


def _number(record: Mapping[str, Any]) -> str:
    number: str = record["dynamodb"]["SequenceNumber"]
    return number


def _record(record: Record, stream: str) -> Record:
    """A record in the form that Lambda passes to a function: as JSON, with its origin."""
    plain: Record = json.loads(json.dumps({**record, "eventSourceARN": stream}, default=_plain))
    if identity := plain.pop("userIdentity", None):
        plain["userIdentity"] = {name[0].lower() + name[1:]: value for name, value in identity.items()}
    return plain


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(value)
