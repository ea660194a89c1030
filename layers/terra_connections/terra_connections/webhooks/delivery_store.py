"""The deliveries table in DynamoDB: the accepted webhooks.

```text
key    delivery_id: "trace:<trace id>" and "signed:<sha256 of t + body>", two items per delivery
item   delivery_id, type, received_at, ttl; no personal data
```
"""

from terra_connections.dynamodb import TransactWrite, item_from
from terra_connections.webhooks.delivery import Delivery


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
