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


def pointer_values(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the pointer in a record of the table's stream."""
    return values_from(record["dynamodb"]["NewImage"])
