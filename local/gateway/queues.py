"""A queue that invokes a function: batches are received, handed over, and deleted as far as they were taken.

A message that failed is left alone: it is seen again when the queue's visibility timeout is over, and goes to the dead
letters when the queue's own redrive policy says so, both done by the queue. One batch is under way at a time.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from local.gateway.batches import Invoke, failures, payload
from local.gateway.runtime_api import FunctionError
from local.gateway.services import Services, Thread
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
        self.name = f"{trigger.function} reads {trigger.queue_url.rpartition('/')[2]}"

    async def poll(self, thread: Thread) -> bool:
        """Take one batch; whether there was one."""
        if self._client is None:
            self._client = await thread.run(self._services.queues)
        client, url = self._client, self._trigger.queue_url
        receive = partial(
            client.receive_message,
            QueueUrl=url,
            MaxNumberOfMessages=min(self._trigger.batch_size, MOST),
            WaitTimeSeconds=WAIT_S,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = (await thread.run(receive)).get("Messages", [])
        if not messages:
            return False
        taken = await self._hand_over(messages)
        if taken:
            entries = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(taken)]
            await thread.run(partial(client.delete_message_batch, QueueUrl=url, Entries=entries))  # type: ignore[arg-type]
        return True

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
