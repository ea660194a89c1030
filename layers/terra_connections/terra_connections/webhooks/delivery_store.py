"""The deliveries table in DynamoDB: the accepted webhooks.

```text
key      delivery_id: "trace:<trace id>" and "signed:<sha256 of t + body>", two items per delivery
item     delivery_id, type, received_at, ttl; no personal data
pointer  "payload:<event_id>", the fields of `data.delivery.DataDelivery`, ttl: one more item of a kept data delivery
```
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from terra_connections.dynamodb import TransactWrite, item_from, values_from
from terra_connections.webhooks.delivery import Delivery

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from terra_connections.data.delivery import DataDelivery

_POINTER = "payload:"


class DeliveryStore:
    """Creates writes only: a delivery is recorded in the same transaction as its changes, or not at all."""

    def __init__(self, table: str) -> None:
        self._table = table

    def writes(self, delivery: Delivery) -> list[TransactWrite]:
        """Return the writes that record a delivery; their condition fails if it is a duplicate."""
        return [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": item_from(
                        {
                            "delivery_id": delivery_id,
                            "type": delivery.type,
                            "received_at": delivery.received_at,
                            "ttl": delivery.ttl,
                        }
                    ),
                    "ConditionExpression": "attribute_not_exists(delivery_id)",
                }
            }
            for delivery_id in delivery.ids
        ]

    def pointer(self, kept: "DataDelivery", *, ttl: int) -> TransactWrite:
        """Return the write of a pointer. It needs no condition: that of the delivery holds for the transaction."""
        values = {**kept.as_values(), "delivery_id": f"{_POINTER}{kept.event_id}", "ttl": ttl}
        return {"Put": {"TableName": self._table, "Item": item_from(values)}}


class PointerStore:
    """Pointers to fetched payloads: their deliveries were recorded before."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def has(self, event_id: str) -> bool:
        """Return whether there is a pointer to the payload of an event."""
        key = item_from({"delivery_id": f"{_POINTER}{event_id}"})
        answer = self._client.get_item(
            TableName=self._table, Key=key, ConsistentRead=True, ProjectionExpression="delivery_id"
        )
        return "Item" in answer

    def put(self, kept: "DataDelivery", *, ttl: int, otherwise: str) -> None:
        """Write a pointer; if there is one already, a further one, so that the event is published again.

        Without it, a payload that was stored a second time would stay in the bucket if its user was erased in between.
        The publisher deletes it.

        Args:
            kept: the payload.
            ttl: the expiry, in Unix seconds.
            otherwise: makes the key of the further pointer.
        """
        values = {**kept.as_values(), "delivery_id": f"{_POINTER}{kept.event_id}", "ttl": ttl}
        try:
            self._client.put_item(
                TableName=self._table,
                Item=item_from(values),
                ConditionExpression="attribute_not_exists(delivery_id)",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            again = {**values, "delivery_id": f"{_POINTER}{kept.event_id}:{otherwise}"}
            self._client.put_item(TableName=self._table, Item=item_from(again))


def pointer_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the pointer in a record of the table's stream."""
    return values_from(record["dynamodb"]["NewImage"])
