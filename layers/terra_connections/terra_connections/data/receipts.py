"""What was received for requests to Terra, in the table Sessions.

```text
received  "request:<reference>"            received: a string set (`Received.parts`), latest_at, ttl
expected  "request:<reference>:expected"   expected: the number of chunks that Terra has announced, ttl
```

A set, and not a counter: a delivery counts once, however often it is announced or sent again. The two items are written
by different functions, so that neither has to wait for the other. Nothing in them names a user.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from terra_connections.data.backfill import CHUNK, KEPT_FOR, Received
from terra_connections.data.delivery import DataDelivery
from terra_connections.dynamodb import Key, TransactWrite, batch_get, item_from, values_from

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_KEPT_FOR = KEPT_FOR + timedelta(days=1)
_MOST_PARTS = 1000
"""Of one request. It bounds the item if Terra uses one reference for everything."""
_REFERENCE = re.compile(r"[\x21-\x7e]{1,256}")
_CHUNK = re.compile(r"(?P<whole>.+):chunk:(?P<number>[0-9]{1,6})")
_MOST_EXPECTED = 1_000_000


class ReceiptStore:
    """Records deliveries by the request that caused them."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def add(self, deliveries: Iterable[DataDelivery], *, now: datetime) -> None:
        """Record deliveries that a request has caused; others are left out.

        Raises:
            ClientError, BotoCoreError: some may be recorded. A retry repeats them.
        """
        parts: dict[str, set[str]] = {}
        for delivery in deliveries:
            if delivery.terra_reference is not None:
                parts.setdefault(_request(delivery.terra_reference), set()).add(_part(delivery))
        for reference, some in parts.items():
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(reference),
                    UpdateExpression="ADD received :parts SET latest_at = :now, #ttl = :ttl",
                    ConditionExpression="attribute_not_exists(received) OR size(received) < :most",
                    ExpressionAttributeNames={"#ttl": "ttl"},
                    ExpressionAttributeValues={
                        ":parts": {"SS": sorted(some)},
                        **item_from({":now": int(now.timestamp()), ":most": _MOST_PARTS, ":ttl": _ttl(now)}),
                    },
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                continue

    def expects(self, content: object, *, now: datetime) -> list[TransactWrite]:
        """Return the write of the number of chunks that `large_request_sending` announces; none if it is malformed."""
        body = content if isinstance(content, dict) else {}
        reference, count = body.get("reference"), body.get("expected_payloads")
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            return []
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _MOST_EXPECTED:
            return []
        item = {**_key(_expected(reference)), **item_from({"expected": count, "ttl": _ttl(now)})}
        return [{"Put": {"TableName": self._table, "Item": item}}]

    def read(self, references: Iterable[str]) -> dict[str, Received]:
        """Read what was received for these requests; those without anything are left out."""
        wanted = set(references)
        names = [name for each in wanted for name in (each, _expected(each))]
        items = batch_get(self._client, {self._table: map(_key, names)})[self._table]
        found = {item["session_id"]["S"]: values_from(item) for item in items}
        result = {}
        for reference in wanted:
            received = found.get(_name(reference), {})
            expected = found.get(_name(_expected(reference)), {}).get("expected")
            if received or expected is not None:
                parts = frozenset(received.get("received", ()))
                result[reference] = Received(parts, received.get("latest_at", 0), expected)
        return result


def _request(terra_reference: str) -> str:
    """Return the reference of a request. Terra may number it for each chunk, as it numbers the trace id."""
    numbered = _CHUNK.fullmatch(terra_reference)
    return numbered["whole"] if numbered else terra_reference


def _part(delivery: DataDelivery) -> str:
    for text in (delivery.trace_id, delivery.terra_reference):
        if text is not None and (numbered := _CHUNK.fullmatch(text)):
            return f"{CHUNK}{int(numbered['number'])}"
    return delivery.event_id


def _expected(reference: str) -> str:
    return f"{reference}:expected"


def _name(reference: str) -> str:
    return f"request:{reference}"


def _key(reference: str) -> Key:
    return {"session_id": {"S": _name(reference)}}


def _ttl(now: datetime) -> int:
    return int((now + _KEPT_FOR).timestamp())
