"""Deliveries in DynamoDB: which webhooks were taken.

```text
key    delivery_id: "trace:<trace id>" and "signed:<sha256 of t + body>", two items a delivery
item   delivery_id, type, received_at, ttl; nothing personal
```
"""

from typing import Any

from terra_connections.webhooks.delivery import Delivery


class DeliveryStore:
    """Only composes writes: a delivery is recorded in the transaction that holds all it changes, or not at all."""

    def __init__(self, table: str) -> None:
        self._table = table

    def writes(self, delivery: Delivery) -> list[dict[str, Any]]:
        """The writes that record a delivery; their condition fails when it was taken before."""
        return [
            {
                "Put": {
                    "TableName": self._table,
                    "Item": {
                        "delivery_id": {"S": delivery_id},
                        "type": {"S": delivery.type},
                        "received_at": {"N": str(delivery.received_at)},
                        "ttl": {"N": str(delivery.ttl)},
                    },
                    "ConditionExpression": "attribute_not_exists(delivery_id)",
                }
            }
            for delivery_id in delivery.ids
        ]
