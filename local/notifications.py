"""Sends the events on the buses to URLs, as the API destination of the template does on AWS (NotifyUrl).

A queue in MiniStack holds the events of each receiver until it accepts them, so that no receiver delays another one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpx
from botocore.exceptions import BotoCoreError, ClientError

from local import messages, terra_account
from local.aws_services import REGION
from local.gateway.services import Threads
from local.gateway.template import queue_ids
from local.processes import StackError
from tools.environment import variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_sqs import SQSClient

KEY_HEADER: Final = "X-Terra-Connections-Key"
VARIABLE: Final = "NOTIFY_URL"
TIMEOUT: Final = 5.0
"""EventBridge waits for as long for a response
(https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-api-destinations.html)."""
LONGEST_PAUSE: Final = 60
AT_ONCE: Final = 10  # the most that SQS returns


@dataclass(frozen=True)
class Receiver:
    """A URL that gets every event.

    Attributes:
        name: its name in messages; a URL may contain a password.
        queue: the name of its queue.
    """

    name: str
    queue: str
    url: str


def receivers(demo_url: str) -> list[Receiver]:
    """Return the demo app, and the URL in NOTIFY_URL if it is set.

    Raises:
        StackError: NOTIFY_URL is not a usable URL.
    """
    found = [Receiver("the demo app", messages.DEMO, f"{demo_url}/events")]
    if url := check():
        found.append(Receiver(VARIABLE, "EventsForNotifyUrl", url))
    return found


def check() -> str:
    """Return NOTIFY_URL, empty if it is not set. Called before anything starts, so that a mistake is reported at once.

    Raises:
        StackError: it is not a usable URL.
    """
    url = variable(VARIABLE)
    if url and not terra_account.is_address(url):
        message = (
            f"{VARIABLE} is not an address that can be used: it begins with https:// (or http:// for a program on this "
            "machine), and has no user name, query or fragment."
        )
        raise StackError(message)
    return url


async def deliver(endpoint: str, receiver: Receiver, key: str, say: Callable[[str], None]) -> None:
    """Send each event until the receiver accepts it, for at most a day; until cancelled."""
    threads = Threads(receiver.queue)
    queue = queue_ids(receiver.queue, endpoint, REGION)[receiver.queue]
    headers = {KEY_HEADER: key, "Content-Type": "application/json; charset=utf-8"}
    try:
        client = await threads.run(messages.services("", endpoint).queues)
        async with httpx.AsyncClient(headers=headers, timeout=TIMEOUT, trust_env=False) as http:
            sender = _Sender(receiver, client, queue, threads, http, say)
            while True:
                try:
                    await sender.send_some()
                except (BotoCoreError, ClientError):
                    await asyncio.sleep(1)  # If MiniStack has ended, the stack ends and reports it.
    finally:
        await threads.end()


class _Sender:
    def __init__(
        self,
        receiver: Receiver,
        client: SQSClient,
        queue: str,
        threads: Threads,
        http: httpx.AsyncClient,
        say: Callable[[str], None],
    ) -> None:
        self._receiver = receiver
        self._client = client
        self._queue = queue
        self._threads = threads
        self._http = http
        self._say = say
        self._is_failing = False

    async def send_some(self) -> None:
        """Send the events that wait, at once: a receiver that is slow with one gets the others."""
        receive = partial(
            self._client.receive_message,
            QueueUrl=self._queue,
            MaxNumberOfMessages=AT_ONCE,
            WaitTimeSeconds=1,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        waiting = (await self._threads.run(receive)).get("Messages", [])
        await asyncio.gather(*map(self._send, waiting))

    async def _send(self, message: Any) -> None:  # noqa: ANN401 - a TypedDict of the stubs
        failure = await self._failure(message["Body"])
        one = {"QueueUrl": self._queue, "ReceiptHandle": message["ReceiptHandle"]}
        if failure:
            attempts = int(message["Attributes"]["ApproximateReceiveCount"])
            pause = min(2 ** (attempts - 1), LONGEST_PAUSE)
            await self._threads.run(partial(self._client.change_message_visibility, **one, VisibilityTimeout=pause))
        else:
            await self._threads.run(partial(self._client.delete_message, **one))
        self._report(failure)

    async def _failure(self, event: str) -> str:
        """Return why the receiver did not accept an event; empty if it did."""
        try:
            response = await self._http.post(self._receiver.url, content=event)
        except httpx.TimeoutException:
            return f"no response within {TIMEOUT:.0f} s"
        except httpx.HTTPError as error:
            return str(error) or type(error).__name__
        return "" if response.is_success else f"status {response.status_code}"

    def _report(self, failure: str) -> None:
        """Print a line when the receiver begins to fail, and when it accepts events again."""
        if failure and not self._is_failing:
            name = self._receiver.name
            self._say(f"[notifications] {name} does not accept events: {failure}. Each is retried for a day.")
        elif self._is_failing and not failure:
            self._say(f"[notifications] {self._receiver.name} accepts events again.")
        self._is_failing = bool(failure)
