"""`make refetch STAGE=...`: let Terra send the payloads again that could not be fetched (ping mode).

Their messages are in the queue DeadPayloadFetches. For each one, Terra resends the event of that moment, with a new
URL, and the stack fetches it as usual. A message is deleted when the stack has accepted the resend; a repeat does no
harm.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from tools.progress import say, step
from tools.stages import StageError
from tools.terra import command
from tools.terra.deliveries import events
from tools.terra.recover import KEPT_FOR, require_working_stack, stack_destinations
from tools.terra.resend import STATUS_TYPES, resend

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from mypy_boto3_sqs import SQSClient

    from tools.terra.command import Side
    from tools.terra.deliveries import Event
    from tools.terra.models import Destination

SCOPES: Final = ("destinations:read", "events:read", "events:write")
QUEUE: Final = "DeadPayloadFetches"
CLOSE: Final = timedelta(minutes=2)
"""Between the signature of a ping and the time that Terra has for its event. Neither contains the id of the other."""
REPORT_INTERVAL: Final = 2.0  # seconds
_HIDDEN_S: Final = 600
_GIVEN_UP: Final = "failed five times"
_NEEDS_A_CHANGE: Final = {
    "url": "PayloadUrls has no prefix of their URLs: add it and deploy before you refetch them",
    "address": "the host of their URLs has a private address",
    "certificate": "the host of their URLs has no valid certificate",
    "size": "they are larger than 100 MB, which no fetch accepts",
    "other_user": "they are of other users than their pings name",
}


@dataclass(frozen=True)
class DeadFetch:
    """A message of the queue.

    Attributes:
        at: when Terra signed the ping.
        reason: why the payload was not fetched.
        receipt: identifies the message, for its deletion.
    """

    at: datetime
    user_id: str | None
    reason: str
    receipt: str


class DeadQueue:
    """The queue of payloads that could not be fetched."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def take(self) -> list[DeadFetch]:
        """Receive every message; for ten minutes, no one else does."""
        found: list[DeadFetch] = []
        while messages := self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["reason"],
            VisibilityTimeout=_HIDDEN_S,
            WaitTimeSeconds=1,
        ).get("Messages"):
            found += [read for message in messages if (read := _dead_fetch(message))]
        return sorted(found, key=lambda each: each.at)

    def delete(self, fetch: DeadFetch) -> None:
        """Delete a message."""
        self._client.delete_message(QueueUrl=self._url, ReceiptHandle=fetch.receipt)

    def put_back(self, fetch: DeadFetch) -> None:
        """Make a message visible again."""
        self._client.change_message_visibility(QueueUrl=self._url, ReceiptHandle=fetch.receipt, VisibilityTimeout=0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Refetch the payloads of a stage that could not be fetched."""
    options = command.parser("make refetch", __doc__).parse_args(arguments)
    return command.run(lambda: _refetch(options))


def events_of(fetch: DeadFetch, sent: Sequence[Event]) -> list[Event]:
    """Return the events that a ping can be about: of its user, if it names one, and of that moment.

    Several are possible. All of them are resent: the stack's consumers apply a repeat without an effect.
    """
    return [
        event
        for event in sent
        if abs(event.at - fetch.at) <= CLOSE
        and event.type not in STATUS_TYPES
        and event.user_id is not None
        and fetch.user_id in (None, event.user_id)
    ]


def _refetch(options: argparse.Namespace) -> int:
    with command.side(options.stage, options.config, SCOPES) as side:
        url = side.stack.queues.get(QUEUE)
        if url is None:
            message = (
                f"{side.stack.name} has no queue {QUEUE}: its DataDeliveries is ignore, so it fetches no payloads."
            )
            raise StageError(message)
        queue = DeadQueue(side.stack.client("sqs"), url)
        with step(f"reading {QUEUE}"):
            kept = queue.take()
        try:
            return _of_messages(side, queue, kept, options)
        finally:
            for fetch in kept:
                queue.put_back(fetch)


def _of_messages(side: Side, queue: DeadQueue, kept: list[DeadFetch], options: argparse.Namespace) -> int:
    """Refetch the payloads of messages, and remove those from `kept` that are done."""
    if not kept:
        say("Every payload was fetched: nothing to refetch.")
        return 0
    _report(kept)
    destinations = stack_destinations(side)
    found = _found(side, kept, destinations)
    if options.dry_run:
        say("A dry run: nothing was resent.")
        return 0
    if not found or not command.confirmed(f"Resend the events of {len(found)} payloads?", is_confirmed=options.yes):
        return 1
    require_working_stack(side)
    delivered, failed = set[str](), set[str]()
    reported = time.monotonic()
    for number, (fetch, of_fetch) in enumerate(found.items(), start=1):
        for event in of_fetch:
            if event.event_id not in delivered | failed:
                result = resend(side.api, [event], destinations)
                (delivered if result.delivered else failed).add(event.event_id)
        if not failed.intersection(event.event_id for event in of_fetch):
            queue.delete(fetch)
            kept.remove(fetch)
        if time.monotonic() - reported > REPORT_INTERVAL:
            reported = time.monotonic()
            say(f"  {number} of {len(found)} payloads ...")
    say(
        f"Terra has resent {len(delivered)} of {len(delivered | failed)} events. The stack fetches them within seconds."
    )
    if failed:
        message = f"{len(failed)} events were not delivered. Their payloads stay in {QUEUE}: run this command again."
        raise StageError(message)
    return 0


def _found(
    side: Side, fetches: Sequence[DeadFetch], destinations: Sequence[Destination]
) -> dict[DeadFetch, list[Event]]:
    """Return the events of each payload that Terra can resend.

    Raises:
        StageError: Terra has none of the payloads any longer.
    """
    recent = [fetch for fetch in fetches if fetch.at > datetime.now(UTC) - KEPT_FOR]
    if not recent:
        message = f"Terra keeps payloads for {KEPT_FOR.days} days, and all of these are older: purge {QUEUE}."
        raise StageError(message)
    with step(f"reading what Terra has sent since {recent[0].at:%Y-%m-%d %H:%M} UTC"):
        sent = events(side.api, destinations, since=recent[0].at - CLOSE)
    found = {fetch: of_fetch for fetch in recent if (of_fetch := events_of(fetch, sent))}
    total = len({event.event_id for of_fetch in found.values() for event in of_fetch})
    say(f"Terra can resend {len(found)} of them, by {total} events.")
    if unknown := len(fetches) - len(found):
        say(f"  {unknown} stay in the queue: Terra lists no event of a user at their time.")
    return found


def _report(fetches: Sequence[DeadFetch]) -> None:
    say(f"{len(fetches)} payloads could not be fetched:")
    for reason, count in sorted(Counter(fetch.reason for fetch in fetches).items()):
        hint = f" ({_NEEDS_A_CHANGE[reason]})" if reason in _NEEDS_A_CHANGE else ""
        say(f"  {count} {reason}{hint}")


def _dead_fetch(message: Any) -> DeadFetch | None:  # noqa: ANN401 - a TypedDict of the stubs
    """Return a message of the queue; None if it is not one of the stack's."""
    reason = message.get("MessageAttributes", {}).get("reason", {}).get("StringValue", _GIVEN_UP)
    try:
        delivery = json.loads(message["Body"])["delivery"]
        at, user_id = datetime.fromtimestamp(delivery["signed_at"], UTC), delivery.get("user_id")
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    return DeadFetch(at, user_id, reason, message["ReceiptHandle"])


if __name__ == "__main__":
    raise SystemExit(main())
