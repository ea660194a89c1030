"""Announce stored payloads again: when their owner becomes known (`data_claimed`), and for a replay.

A message of the queue DataAnnouncements is one page of the payloads with one prefix. Each page sends the next one.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from terra_connections.connections.facts import Position
from terra_connections.data.delivery import Key, report_prefix, user_prefix
from terra_connections.data.publisher import DataEvent, DataPublisher
from terra_connections.errors import NotDurable
from terra_connections.ids import UserId, user_id_from

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

PAGE = 100
"""Objects of one message. Each takes a request for its metadata, and ten share one request to EventBridge."""
_AT_ONCE = 8
_MOST_MESSAGES = 10  # the limit of SendMessageBatch
_SIGNED_AHEAD = timedelta(minutes=5)
"""How far the time of a signature may be in the future (`SignatureMaxAheadSeconds`)."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What to announce: the payloads of a user, or the reports about a `reference_id`.

    Attributes:
        user_id: the user.
        pseudonym: that of the `reference_id` of reports, instead of a user.
        types: only these types; all of them if empty.
        since: only deliveries that Terra signed at this time or later, in Unix milliseconds.
        until: only deliveries that Terra signed before this time.
        replay_id: the replay; None if the owner has become known.
        after: the last key of the page before.
    """

    user_id: UserId | None = None
    pseudonym: str | None = None
    types: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    replay_id: str | None = None
    after: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a message.

        Raises:
            ValueError: it is not one of this module.
        """
        values = json.loads(text)
        try:
            found = cls(**{**values, "types": tuple(values.get("types", ()))})
        except (AttributeError, TypeError) as error:
            message = "not an announcement"
            raise ValueError(message) from error
        if (user_id_from(found.user_id) is None) == (found.pseudonym is None):
            message = "an announcement is for one user_id or one pseudonym"
            raise ValueError(message)
        return found

    def as_text(self) -> str:
        """Return the message."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})

    @property
    def prefix(self) -> str:
        """The beginning of the keys."""
        return report_prefix(self.pseudonym or "") if self.user_id is None else user_prefix(self.user_id)

    def includes(self, key: str) -> bool:
        """Whether a payload is to be announced."""
        parts = Key.parse(key)
        return (
            parts is not None
            and (not self.types or parts.type in self.types)
            and (self.since is None or parts.time >= self.since)
            and (self.until is None or parts.time < self.until)
        )


class AnnouncementQueue:
    """Sends messages."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send_claim(self, user_id: UserId, *, at: Position) -> None:
        """Send the message that a user's owner has become known. What arrives later is announced with its owner."""
        self.send([Announcement(user_id, until=at + int(_SIGNED_AHEAD.total_seconds() * 1000))])

    def send(self, announcements: "Iterable[Announcement]") -> None:
        """Send messages.

        Raises:
            NotDurable: SQS has not accepted all of them. A retry may repeat those that it has accepted.
        """
        entries: list[SendMessageBatchRequestEntryTypeDef] = [
            {"Id": str(number), "MessageBody": each.as_text()} for number, each in enumerate(announcements)
        ]
        for start in range(0, len(entries), _MOST_MESSAGES):
            answer = self._client.send_message_batch(
                QueueUrl=self._url, Entries=entries[start : start + _MOST_MESSAGES]
            )
            if answer.get("Failed"):
                message = "The queue has not accepted every message."
                raise NotDurable(message, retry_after=1)


def announce_page(announcement: Announcement, *, publisher: DataPublisher, queue: AnnouncementQueue) -> int:
    """Announce one page, and send the message for the next one. Return the number of announced payloads.

    Raises:
        NotDurable, ClientError, BotoCoreError: the page is repeated.
    """
    payloads = publisher.payloads
    page = payloads.page(announcement.prefix, after=announcement.after, limit=PAGE)
    keys = [key for key in page.keys if announcement.includes(key)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = [delivery for delivery in pool.map(payloads.delivery, keys) if delivery is not None]
    type_ = DataEvent.CLAIMED if announcement.replay_id is None else DataEvent.RECEIVED
    result = publisher.publish(found, type_=type_, replay_id=announcement.replay_id)
    if result.failed:
        message = "EventBridge has not accepted every event."
        raise NotDurable(message, retry_after=1)
    if not page.is_last:
        queue.send([replace(announcement, after=page.keys[-1])])
    return len(found)
