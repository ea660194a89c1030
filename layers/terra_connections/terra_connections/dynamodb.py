"""What the stores share: attribute values, and how long a contended or throttled table is tried."""

import random
import time
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from terra_connections.errors import NotDurable

CONTENTION_LIMIT = timedelta(seconds=5)
"""Terra waits 8 s for all of a webhook."""
CONTENTION = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
"""Reasons of a cancelled transaction that a repeat can cure as it stands."""

AttributeValue = dict[str, Any]

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


def serialize(value: object) -> AttributeValue:
    """Return a value as DynamoDB keeps it, such as {"S": "text"}.

    Raises:
        TypeError: DynamoDB keeps nothing of this kind.
    """
    return dict(_serializer.serialize(value))


def deserialize(attribute: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever was kept
    """Return what an attribute value stands for. Every number of our items is an integer."""
    return _with_integers(_deserializer.deserialize(cast("Any", attribute)))


def _with_integers(value: Any) -> Any:  # noqa: ANN401 - whatever was kept
    match value:
        case Decimal():
            return int(value)
        case dict():
            return {name: _with_integers(each) for name, each in value.items()}
        case list():
            return [_with_integers(each) for each in value]
        case set():
            return {_with_integers(each) for each in value}
        case _:
            return value


class Patience:
    """How often and how long a contended or throttled table is tried: ever more slowly, up to `CONTENTION_LIMIT`."""

    def __init__(self) -> None:
        self._gives_up_at = time.monotonic() + CONTENTION_LIMIT.total_seconds()
        self._waits = 0

    def wait(self) -> None:
        """Wait a moment, a random one, so that those who met do not meet again.

        Raises:
            NotDurable: there is no time left.
        """
        self._waits += 1
        pause = random.uniform(0.01, 0.05 * min(self._waits, 8))  # noqa: S311 - jitter, not a secret
        if time.monotonic() + pause >= self._gives_up_at:
            message = "The table was too busy for too long."
            raise NotDurable(message, retry_after=1)
        time.sleep(pause)
