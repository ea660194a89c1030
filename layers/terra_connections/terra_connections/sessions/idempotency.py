"""Idempotency keys: a claim, in the table Sessions, ensures that only one request with a key is processed.

```text
key    "idempotency:<sha256 of caller and key>", or "retry:<session_id>" for the button "Try again"
item   token, body_hash, expires_at, ttl, answer? (none while the request runs)
```

DynamoDB deletes expired items with a delay. This store ignores them as soon as they expire.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from terra_connections.auth.caller import Caller
from terra_connections.dynamodb import AttributeValue, Item, Key, TransactWrite, item_from
from terra_connections.errors import IdempotencyKeyReused, InvalidRequest, RequestInProgress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CLAIM_LEASE = timedelta(seconds=30)
"""The claim of a failed request expires after this time. No request runs longer."""
_MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of a request on an idempotency key.

    Attributes:
        claim_id: the key of the stored item.
        token: random; distinguishes this request's claim from a later one on the same key.
        body_hash: the hash of the request's body.
    """

    claim_id: str
    token: str
    body_hash: str


def idempotency_claim(caller: Caller, idempotency_key: str | None, body: bytes) -> Claim | None:
    """Return the claim for an Idempotency-Key of this caller and body.

    Raises:
        InvalidRequest: the key is empty or too long.
    """
    if idempotency_key is None:
        return None
    if not 1 <= len(idempotency_key) <= _MAX_KEY_LENGTH:
        raise InvalidRequest([("Idempotency-Key", "must have 1 to 255 characters")])
    key = hashlib.sha256(json.dumps([caller.name, caller.subject, idempotency_key]).encode()).hexdigest()
    return Claim(f"idempotency:{key}", secrets.token_hex(16), hashlib.sha256(body).hexdigest())


class ClaimStore:
    """Reads and writes claims."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def claim(self, claim: Claim, *, now: datetime) -> dict[str, Any] | None:
        """Claim an idempotency key, in one round trip.

        Returns:
            None if this request has the claim; the response of the first request if that one has finished.

        Raises:
            RequestInProgress: the first request is still running.
            IdempotencyKeyReused: the key was used with a different body.
        """
        now_ms = int(now.timestamp() * 1000)
        lease_ends = now_ms + int(CLAIM_LEASE.total_seconds() * 1000)
        try:
            self._client.put_item(
                TableName=self._table,
                Item=_item_from(claim, expires_at=lease_ends),
                # A retry of our own write, whose response was lost, keeps the claim.
                ConditionExpression="attribute_not_exists(session_id) OR expires_at <= :now OR #token = :token",
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues=item_from({":now": now_ms, ":token": claim.token}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            # The type stubs do not know that the error contains the item.
            standing: Item = error.response["Item"]  # type: ignore[typeddict-item]
            if standing["body_hash"]["S"] != claim.body_hash:
                message = "A repeat has the same body, byte for byte. Use a new key for a new request."
                raise IdempotencyKeyReused(message) from None
            if "answer" not in standing:
                message = "Send this request again in a second: it gets the response of the first one."
                raise RequestInProgress(message) from None
            answer: dict[str, Any] = json.loads(standing["answer"]["S"])
            return answer
        return None

    def settlement(self, claim: Claim, answer: Mapping[str, Any], *, expires_at: int) -> TransactWrite:
        """Return the write that stores the response for the key.

        Its condition fails if the claim expired and another request has claimed the key.

        Args:
            claim: the request's claim.
            answer: the response.
            expires_at: until when the key returns this response, in Unix milliseconds.
        """
        return {
            "Put": {
                "TableName": self._table,
                "Item": _item_from(claim, expires_at=expires_at, answer=json.dumps(answer)),
                "ConditionExpression": "#token = :token",
                "ExpressionAttributeNames": {"#token": "token"},
                "ExpressionAttributeValues": {":token": {"S": claim.token}},
            }
        }

    def release(self, claim: Claim) -> None:
        """Release a claim, so that the request can be retried at once. Does nothing if another request has it.

        Raises nothing, because that would hide the original error: the claim expires on its own.
        """
        with suppress(BotoCoreError, ClientError):
            self._client.delete_item(
                TableName=self._table,
                Key=_key(claim.claim_id),
                ConditionExpression="#token = :token AND attribute_not_exists(answer)",
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues={":token": {"S": claim.token}},
            )

    def is_settled(self, claim_id: str) -> bool:
        """Whether a response is stored for a key, read consistently."""
        answer = self._client.get_item(TableName=self._table, Key=_key(claim_id), ConsistentRead=True)
        return "answer" in answer.get("Item", {})

    def erase(self, claim_id: str) -> None:
        """Delete a claim and its response."""
        self._client.delete_item(TableName=self._table, Key=_key(claim_id))


def _key(claim_id: str) -> Key:
    return {"session_id": {"S": claim_id}}


def _item_from(claim: Claim, *, expires_at: int, answer: str | None = None) -> dict[str, AttributeValue]:
    return item_from(
        {
            "session_id": claim.claim_id,
            "token": claim.token,
            "body_hash": claim.body_hash,
            "expires_at": expires_at,
            "ttl": expires_at // 1000,
            "answer": answer,
        }
    )
