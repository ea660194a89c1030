"""Only the AWS calls that a handler makes: what its work costs any boto3 program."""

from collections.abc import Mapping
from typing import Any

import boto3

_dynamodb = boto3.client("dynamodb")


def lambda_handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Make the event's calls, one after the other."""
    for operation, params in event["calls"]:
        getattr(_dynamodb, operation)(**params)
    return {"statusCode": 200}
