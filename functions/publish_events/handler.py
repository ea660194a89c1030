"""The stream of the table Connections: publish each change of a user's connections to the event bus."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.logging import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord

from terra_connections import wiring
from terra_connections.change_events.change_event import change_events, claimed_by, current_connections
from terra_connections.connections.facts import Position
from terra_connections.connections.store import change_from

_log = Logger()
_connections = wiring.connections()
_bus = wiring.event_bus()
_announcements = wiring.announcement_queue()
_on_connect = wiring.backfill_on_connect()


def publish(record: DynamoDBRecord) -> None:
    """Compare the user's connections before and after the change, and publish each difference."""
    change = change_from(record.raw_event)
    if change is None:
        return
    position = Position(int(datetime.now(UTC).timestamp() * 1000))
    related = _connections.related_to(change.related)
    events = change_events(change, related)
    reference_ids = dict.fromkeys(event.reference_id for event in events)
    lists = {reference_id: _connections.of_user(reference_id) for reference_id in reference_ids}
    if events:
        current = [(e, current_connections(e, change, lists[e.reference_id], related)) for e in events]
        _bus.put(current, position)
    if _announcements is not None and claimed_by(change, related):
        _announcements.send_claim(change.user_id, at=change.at)
    if _on_connect is not None:
        for event in events:
            _on_connect.follow(change, event)
    _log.info("publish", types=[e.type.value for e in events], event_ids=[e.event_id for e in events])


def lambda_handler(event: Mapping[str, Any], _context: object) -> Mapping[str, Any]:
    """Process each record on its own: failed ones are retried, and finally sent to the on-failure destination."""
    processor = BatchProcessor(event_type=EventType.DynamoDBStreams, raise_on_entire_batch_failure=False)
    with processor(event["Records"], publish):
        processor.process()
    causes = [error.__name__ for error, _, _ in processor.exceptions if error]
    _log.info("publish_events", records=len(event["Records"]), failed=len(causes), causes=causes)
    return processor.response()
