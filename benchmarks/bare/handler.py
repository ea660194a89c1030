"""The calls that a door makes, and nothing else: what its job costs anybody who asks AWS by boto3."""

from collections.abc import Mapping
from typing import Any

import boto3

_dynamodb = boto3.client("dynamodb")


def lambda_handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Make the event's calls, one after the other."""
    for operation, params in event["calls"]:
        getattr(_dynamodb, operation)(**params)
    return {"statusCode": 200}
