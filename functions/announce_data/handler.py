"""The queue DataAnnouncements: announce stored payloads, for a replay or because their owner has become known."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

from terra_connections import wiring
from terra_connections.data.announcing import Announcement, announce_page
from terra_connections.queue_messages import process_messages

_log = Logger()
_announce = partial(announce_page, publisher=wiring.data_publisher(), queue=wiring.required_announcement_queue())


def announce_data(record: SQSRecord) -> None:
    """Announce one page of payloads."""
    announcement = Announcement.parse(record.body)
    count = _announce(announcement)
    _log.info("announce_data", payloads=count, replay_id=announcement.replay_id)


def lambda_handler(event: Mapping[str, Any], _context: object) -> Mapping[str, Any]:
    """Process each message on its own: failed ones are retried, and finally sent to the dead-letter queue."""
    return process_messages(event, announce_data, on_failure=_failed)


def _failed(_record: SQSRecord, fields: dict[str, Any], _cause: BaseException | None) -> None:
    _log.info("announce_data", **fields)
