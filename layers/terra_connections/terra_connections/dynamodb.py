"""Code shared by the stores: conversion of attribute values, and retries on contention or throttling."""

import random
import time
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from terra_connections.errors import NotDurable

CONTENTION_LIMIT = timedelta(seconds=5)
"""Total time of the retries. Terra waits 8 s for the response to a webhook."""
CONTENTION = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
"""Reasons of a cancelled transaction after which the same transaction can be retried."""

AttributeValue = dict[str, Any]

_serializer = TypeSerializer()
_deserializer = TypeDeserializer()


def serialize(value: object) -> AttributeValue:
    """Return a value in DynamoDB's format, such as {"S": "text"}.

    Raises:
        TypeError: DynamoDB has no type for the value.
    """
    return dict(_serializer.serialize(value))


def deserialize(attribute: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any stored value
    """Return the Python value of an attribute value. Every number of our items is an integer."""
    return _with_integers(_deserializer.deserialize(cast("Any", attribute)))


def _with_integers(value: Any) -> Any:  # noqa: ANN401 - any stored value
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


class RetryBudget:
    """Retries with backoff on contention or throttling, up to `CONTENTION_LIMIT`."""

    def __init__(self) -> None:
        self._gives_up_at = time.monotonic() + CONTENTION_LIMIT.total_seconds()
        self._waits = 0

    def wait(self) -> None:
        """Wait before the next try. The wait is random, so that competing writers do not collide again.

        Raises:
            NotDurable: the time limit is reached.
        """
        self._waits += 1
        pause = random.uniform(0.01, 0.05 * min(self._waits, 8))  # noqa: S311 - jitter, not a secret
        if time.monotonic() + pause >= self._gives_up_at:
            message = "The table was too busy for too long."
            raise NotDurable(message, retry_after=1)
        time.sleep(pause)
