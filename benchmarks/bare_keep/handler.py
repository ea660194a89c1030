"""The bare form of a kept delivery: its PutObject and its TransactWriteItems, and nothing else.

No signature is verified, and no metric is written. The object and the three items are those that terra_webhook writes.
"""

import gzip
import hashlib
import os
import time
from typing import Any
from uuid import uuid4

import boto3
from botocore.config import Config

config = Config(connect_timeout=1, read_timeout=1.5, retries={"mode": "standard", "total_max_attempts": 2})
dynamodb = boto3.client("dynamodb", config=config)
s3 = boto3.client("s3", config=config)
bucket = os.environ["PAYLOADS_BUCKET"]
table = os.environ["DELIVERIES_TABLE"]


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Store the body and its pointer."""
    body = event["body"].encode()
    digest, trace_id, event_id, now = hashlib.sha256(body).hexdigest(), str(uuid4()), str(uuid4()), int(time.time())
    user_id = "00000000-0000-4000-8000-000000000000"
    key = f"p/{user_id}/daily/{now * 1000:015d}-{digest[:32]}.json.gz"
    facts = {
        "event-id": event_id,
        "type": "daily",
        "position": str(now * 1000),
        "records": "1",
        "bytes": str(len(body)),
        "sha256": digest,
        "provider": "FITBIT",
        "first-day": "2026-11-01",
        "last-day": "2026-11-01",
        "trace-id": trace_id,
    }
    s3.put_object(
        Bucket=bucket,
        Key=key,
        Body=gzip.compress(body, 1, mtime=0),
        ContentType="application/gzip",
        IfNoneMatch="*",
        Metadata=facts,
    )
    ttl = {"N": str(now + 300_000)}
    item = {"type": {"S": "daily"}, "received_at": {"N": str(now * 1000)}, "ttl": ttl}
    pointer = {
        "delivery_id": {"S": f"payload:{event_id}"},
        "event_id": {"S": event_id},
        "key": {"S": key},
        "type": {"S": "daily"},
        "position": {"N": str(now * 1000)},
        "records": {"N": "1"},
        "bytes": {"N": str(len(body))},
        "sha256": {"S": digest},
        "user_id": {"S": user_id},
        "provider": {"S": "FITBIT"},
        "first_day": {"S": "2026-11-01"},
        "last_day": {"S": "2026-11-01"},
        "trace_id": {"S": trace_id},
        "ttl": ttl,
    }
    writes: list[Any] = [
        {
            "Put": {
                "TableName": table,
                "Item": {"delivery_id": {"S": delivery_id}, **item},
                "ConditionExpression": "attribute_not_exists(delivery_id)",
            }
        }
        for delivery_id in (f"trace:{trace_id}", f"signed:{digest}")
    ]
    dynamodb.transact_write_items(TransactItems=[*writes, {"Put": {"TableName": table, "Item": pointer}}])
    return {"statusCode": 200, "body": '{"status": "accepted"}'}
