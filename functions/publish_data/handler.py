"""The stream of the table Deliveries: publish an event for each payload that was kept, and record it for a backfill."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools.logging import Logger

from terra_connections import wiring
from terra_connections.data.delivery import DataDelivery
from terra_connections.webhooks.delivery_store import pointer_values

_log = Logger()
_publisher = wiring.data_publisher()
_receipts = wiring.receipts()
_last_data = wiring.last_data()


def lambda_handler(event: Mapping[str, Any], _context: object) -> Mapping[str, Any]:
    """Publish a batch. Rejected events are retried from the first one on, and finally sent to the on-failure queue."""
    deliveries = [DataDelivery.from_values(pointer_values(record)) for record in event["Records"]]
    result = _publisher.publish(deliveries)
    _receipts.add((each for each in deliveries if each not in result.failed), now=datetime.now(UTC))
    if _last_data is not None:
        _last_data.note_deliveries(result.live)
    failed = [
        record["dynamodb"]["SequenceNumber"]
        for record, delivery in zip(event["Records"], deliveries, strict=True)
        if delivery in result.failed
    ]
    _log.info(
        "publish_data",
        records=len(deliveries),
        failed=len(failed),
        deleted=result.deleted,
        event_ids=[delivery.event_id for delivery in deliveries],
    )
    return {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}
