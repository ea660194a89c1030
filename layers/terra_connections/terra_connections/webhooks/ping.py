"""Ping mode: a webhook of the type `s3_payload` has the URL of a payload, instead of the payload itself.

Format: Terra's OpenAPI document, `S3PayloadEvent` (2026.07 and 2026.10): `status`, `url` and `expires_in` are required.
`user`, or `user_id` beside them, occurs in newer texts of Terra.

The URL is valid for minutes. It goes through a queue of its own, from which `fetch_payload` fetches it.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

from terra_connections.connections.facts import Position
from terra_connections.ids import UserId, user_id_from

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Ping:
    """A webhook of the type `s3_payload`.

    Attributes:
        url: the URL of the payload, which anyone can read it with.
        expires_in: the seconds until then, by Terra's clock.
        user_id: the user, if it names one.
    """

    url: str
    expires_in: int
    user_id: UserId | None


def ping_from(content: object) -> Ping | None:
    """Return the ping in a body; None if the body lacks a required member."""
    if not isinstance(content, dict) or content.get("status") != "success":
        return None
    url, expires_in, user = content.get("url"), content.get("expires_in"), content.get("user")
    if not isinstance(url, str) or not url or not isinstance(expires_in, int) or isinstance(expires_in, bool):
        return None
    named = user.get("user_id") if isinstance(user, dict) else content.get("user_id")
    return Ping(url, expires_in, user_id_from(named))


def ping_digest(body: bytes) -> str:
    """Return the hash that identifies a ping: of its body alone, which has a URL of its own.

    Other deliveries are identified by `t` and the body, because a value can be corrected back to an earlier one. `t`
    would give a ping another identity on a retry, if Terra signs retries again.
    """
    return hashlib.sha256(b"s3_payload." + body).hexdigest()


@dataclass(frozen=True, slots=True)
class Announced:
    """The facts about the delivery of a ping, which its payload is stored with.

    Attributes:
        digest: identifies the ping.
        signed_at: `t` of the signature, in Unix seconds.
        ttl: the expiry of the pointer to the payload, in Unix seconds.
    """

    digest: str
    signed_at: int
    position: Position
    ttl: int
    user_id: UserId | None = None
    trace_id: str | None = None
    terra_reference: str | None = None


@dataclass(frozen=True, slots=True)
class FetchOrder:
    """A message of the queue PayloadFetches: a payload to fetch."""

    delivery: Announced
    url: str
    expires_in: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a message.

        Raises:
            ValueError: it is not one of this module. The error quotes nothing of it.
        """
        try:
            values = json.loads(text)
            order = cls(Announced(**values["delivery"]), values["url"], values["expires_in"])
        except (ValueError, KeyError, TypeError, AttributeError):
            order = None
        if order is None or not isinstance(order.url, str) or not _HASH.fullmatch(str(order.delivery.digest)):
            message = "not a payload to fetch"
            raise ValueError(message)
        return order

    def as_text(self) -> str:
        """Return the message."""
        return json.dumps(asdict(self))


class FetchQueue:
    """Sends the payloads to fetch."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, order: FetchOrder) -> None:
        """Send a message.

        Raises:
            ClientError, BotoCoreError: SQS has not accepted it.
        """
        self._client.send_message(QueueUrl=self._url, MessageBody=order.as_text())

    def retry_soon(self, receipt_handle: str, *, tries: int) -> None:
        """Let a message be received again after seconds. By default it would be after the URL has expired.

        Args:
            receipt_handle: identifies the message.
            tries: how often it was received.
        """
        pause = min(5 * 3 ** (tries - 1), 90)
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=receipt_handle, VisibilityTimeout=pause
        )


class DeadFetches:
    """The dead-letter queue, for what no retry can fetch. `make refetch` takes the messages from there."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, message: str, *, reason: str) -> None:
        """Send a message as it came, with the reason.

        Raises:
            ClientError, BotoCoreError: SQS has not accepted it; the message must be retried.
        """
        self._client.send_message(
            QueueUrl=self._url,
            MessageBody=message,
            MessageAttributes={"reason": {"DataType": "String", "StringValue": reason}},
        )
