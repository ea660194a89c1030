"""A queue that invokes a function: batches are received, handed over, and deleted as far as they were taken.

A message that failed is left alone: it is seen again when the queue's visibility timeout is over, and goes to the dead
letters when the queue's own redrive policy says so, both done by the queue.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from local.gateway.batches import Invoke, failures, payload
from local.gateway.runtime_api import FunctionError
from local.gateway.services import Services, Threads
from local.gateway.triggers import QueueTrigger
from local.gateway.workers import OnLog

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

WAIT_S: Final = 1
MOST: Final = 10  # SQS hands out no more at once


class QueuePoller:
    """Drives one function by one queue."""

    def __init__(self, trigger: QueueTrigger, services: Services, invoke: Invoke, on_log: OnLog) -> None:
        self._trigger = trigger
        self._services = services
        self._invoke = invoke
        self._on_log = on_log
        self._client: SQSClient | None = None
        self._slots = asyncio.Semaphore(trigger.concurrency)
        self._under_way: set[asyncio.Task[None]] = set()
        self.name = f"{trigger.function} reads {trigger.queue_url.rpartition('/')[2]}"

    async def poll(self, thread: Threads) -> bool:
        """Take one batch, as soon as one more may be under way; whether there was one."""
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
            self._under_way.add(work)
            work.add_done_callback(self._under_way.discard)
            await asyncio.sleep(0)  # it takes its slot
        return bool(messages)

    async def end(self) -> None:
        """Leave what is under way; its messages are seen again."""
        for work in self._under_way:
            work.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _work(self, client: "SQSClient", messages: Sequence[Mapping[str, Any]], thread: Threads) -> None:
        async with self._slots:
            taken = await self._hand_over(messages)
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(taken)]
            if not entries:
                return
            delete = partial(client.delete_message_batch, QueueUrl=self._trigger.queue_url, Entries=entries)  # type: ignore[arg-type]
            try:
                await thread.run(delete)
            except (BotoCoreError, ClientError) as error:
                self._on_log(f"[{self.name}] {error}; what was taken will be seen again")

    async def _hand_over(self, messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Invoke the function; the messages that it took."""
        records = [_record(message, self._trigger.queue_arn, self._services.region) for message in messages]
        try:
            answer = await self._invoke(payload(records))
        except FunctionError:
            return []  # the function's own log says why
        ids = [message["MessageId"] for message in messages]
        failed = failures(answer, ids, reports=self._trigger.reports_failures)
        if failed:
            self._on_log(f"[{self._trigger.function}] {len(failed)} of {len(ids)} messages failed")
        return [message for message in messages if message["MessageId"] not in failed]


def _record(message: Mapping[str, Any], arn: str, region: str) -> dict[str, Any]:
    """A message as Lambda hands it to a function."""
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
