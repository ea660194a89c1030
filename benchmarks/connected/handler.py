"""The floor, with its connection made while it is loaded and not with its first answer."""

import os
from typing import Any
from uuid import uuid4

import boto3

_dynamodb = boto3.client("dynamodb")
_table = os.environ["DELIVERIES_TABLE"]
_dynamodb.get_item(TableName=_table, Key={"delivery_id": {"S": "none"}})


def lambda_handler(_event: object, _context: object) -> dict[str, Any]:
    """Write one item that is not there yet."""
    _dynamodb.put_item(
        TableName=_table,
        Item={"delivery_id": {"S": f"floor:{uuid4()}"}},
        ConditionExpression="attribute_not_exists(delivery_id)",
    )
    return {"statusCode": 200}
