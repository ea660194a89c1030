"""A queue that invokes a function: receives batches, invokes the function, and deletes the messages that succeeded.

A failed message is left in the queue. The queue itself makes it visible again after the visibility timeout, and moves
it to the dead-letter queue by its redrive policy.

A message whose chain of requests has invoked the function 16 times already is not delivered, unless the function's
RecursiveLoop is Allow: it goes to the dead-letter queue at once (see `local.lineage`).
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from local.gateway.batches import failures, payload
from local.gateway.runtime_api import FunctionError
from local.gateway.services import Services, Threads
from local.gateway.triggers import QueueTrigger
from local.gateway.workers import OnLog
from local.lineage import LONGEST_CHAIN, Lineage

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

WAIT_S: Final = 1
MOST: Final = 10  # the maximum that SQS returns at once


class Invoke(Protocol):
    """Runs the function on an event; raises `FunctionError` if there is no response."""

    def __call__(self, payload: bytes, /, *, trace: str) -> Awaitable[bytes]:
        """Return the function's response; `trace` is the X-Amzn-Trace-Id of the event's cause."""
        ...


class QueuePoller:
    """Invokes one function from one queue."""

    def __init__(self, trigger: QueueTrigger, services: Services, invoke: Invoke, on_log: OnLog) -> None:
        self._trigger = trigger
        self._services = services
        self._invoke = invoke
        self._on_log = on_log
        self._client: SQSClient | None = None
        self._slots = asyncio.Semaphore(trigger.concurrency)
        self._in_flight: set[asyncio.Task[None]] = set()
        self.name = f"{trigger.function} reads {trigger.queue_url.rpartition('/')[2]}"

    async def poll(self, thread: Threads) -> bool:
        """Receive one batch as soon as another may be in flight; return whether there was one."""
        if self._client is None:
            self._client = await thread.run(self._services.queues)
        async with self._slots:
            receive = partial(
                self._client.receive_message,
                QueueUrl=self._trigger.queue_url,
                MaxNumberOfMessages=min(self._trigger.batch_size, MOST),
                WaitTimeSeconds=WAIT_S,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            messages = (await thread.run(receive)).get("Messages", [])
        if messages:
            work = asyncio.create_task(self._work(self._client, messages, thread))
            self._in_flight.add(work)
            work.add_done_callback(self._in_flight.discard)
            await asyncio.sleep(0)  # lets the task take its slot
        return bool(messages)

    async def end(self) -> None:
        """Abandon the batches in flight; their messages become visible again."""
        for work in self._in_flight:
            work.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def _work(self, client: "SQSClient", messages: Sequence[Mapping[str, Any]], thread: Threads) -> None:
        async with self._slots:
            allowed = [message for message in messages if self._trigger.allows_loops or not self._is_loop(message)]
            stopped = [message for message in messages if message not in allowed]
            finished = [*(await self._invoke_with(allowed) if allowed else ()), *stopped]
            try:
                await self._send_to_dead_letters(client, stopped, thread)
            except (BotoCoreError, ClientError) as error:
                self._on_log(f"[{self.name}] {error}; the stopped messages will become visible again")
                finished = [message for message in finished if message not in stopped]
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(finished)]
            if not entries:
                return
            delete = partial(client.delete_message_batch, QueueUrl=self._trigger.queue_url, Entries=entries)  # type: ignore[arg-type]
            try:
                await thread.run(delete)
            except (BotoCoreError, ClientError) as error:
                self._on_log(f"[{self.name}] {error}; the processed messages will become visible again")

    async def _invoke_with(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Invoke the function; return the messages that succeeded."""
        records = [_record(message, self._trigger.queue_arn, self._services.region) for message in messages]
        # A batch of several chains continues the longest of them.
        trace = max(map(_trace, messages), key=lambda header: Lineage.parse(header).count(self._trigger.function))
        try:
            response = await self._invoke(payload(records), trace=trace)
        except FunctionError:
            return []  # the function's own log contains the reason
        ids = [message["MessageId"] for message in messages]
        failed = failures(response, ids, reports=self._trigger.reports_failures)
        if failed:
            self._on_log(f"[{self._trigger.function}] {len(failed)} of {len(ids)} messages failed")
        return [message for message in messages if message["MessageId"] not in failed]

    def _is_loop(self, message: Mapping[str, Any]) -> bool:
        return Lineage.parse(_trace(message)).count(self._trigger.function) >= LONGEST_CHAIN

    async def _send_to_dead_letters(
        self, client: "SQSClient", messages: Sequence[Mapping[str, Any]], thread: Threads
    ) -> None:
        """Send messages of an endless loop to the queue's dead-letter queue, if it has one."""
        for message in messages:
            url = await thread.run(partial(_dead_letters_of, client, self._trigger.queue_url))
            if url:
                await thread.run(partial(client.send_message, QueueUrl=url, MessageBody=message["Body"]))
            self._on_log(
                f"[{self._trigger.function}] RecursiveInvocationsDropped: one chain of messages has invoked this "
                f"function {LONGEST_CHAIN} times, and Lambda stops it there. The message is "
                f"{'in ' + url.rpartition('/')[2] if url else 'dropped: its queue has no dead-letter queue'}. "
                "If the loop is intended, give the function RecursiveLoop: Allow in template.yaml."
            )


def _trace(message: Mapping[str, Any]) -> str:
    header: str = message.get("Attributes", {}).get("AWSTraceHeader", "")
    return header


def _dead_letters_of(client: "SQSClient", queue_url: str) -> str:
    """Return the URL of a queue's dead-letter queue; empty if it has none."""
    found = client.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["RedrivePolicy"]).get("Attributes", {})
    if "RedrivePolicy" not in found:
        return ""
    name = json.loads(found["RedrivePolicy"])["deadLetterTargetArn"].rpartition(":")[2]
    return f"{queue_url.rpartition('/')[0]}/{name}"


def _record(message: Mapping[str, Any], arn: str, region: str) -> dict[str, Any]:
    """A message in the form that Lambda passes to a function."""
    attributes = {
        name: {
            "stringValue": attribute.get("StringValue"),
            "stringListValues": [],
            "binaryListValues": [],
            "dataType": attribute["DataType"],
        }
        for name, attribute in message.get("MessageAttributes", {}).items()
    }
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": attributes,
        "md5OfBody": message.get("MD5OfBody") or hashlib.md5(message["Body"].encode()).hexdigest(),  # noqa: S324 - SQS's
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": region,
    }
