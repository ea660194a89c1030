"""The baseline: the smallest handler that stores anything, with one boto3 client and one conditional write."""

import os
from typing import Any
from uuid import uuid4

import boto3

dynamodb = boto3.client("dynamodb")
table = os.environ["DELIVERIES_TABLE"]


def lambda_handler(_event: object, _context: object) -> dict[str, Any]:
    """Write one item that does not exist yet."""
    dynamodb.put_item(
        TableName=table,
        Item={"delivery_id": {"S": f"baseline:{uuid4()}"}},
        ConditionExpression="attribute_not_exists(delivery_id)",
    )
    return {"statusCode": 200}
