"""The stream of the table Deliveries: publish an event for each payload that was kept."""

from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools.logging import Logger

from terra_connections import wiring
from terra_connections.data.delivery import DataDelivery
from terra_connections.webhooks.delivery_store import pointer_values

_log = Logger()
_publisher = wiring.data_publisher()


def lambda_handler(event: Mapping[str, Any], _context: object) -> Mapping[str, Any]:
    """Publish a batch. Rejected events are retried from the first one on, and finally sent to the on-failure queue."""
    deliveries = [DataDelivery.from_values(pointer_values(record)) for record in event["Records"]]
    result = _publisher.publish(deliveries)
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
