"""Limits per user on operations that call Terra, whether the user or a back end requests them.

```text
Sessions  "limit:<pseudonym>:<what>:<window>"   count, ttl
```

A window is a fixed period. One conditional write increments its count, unless the count has reached the limit. A count
only expires with time; an erasure does not reset it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from terra_connections.dynamodb import TransactWrite
from terra_connections.errors import UserLimitReached
from terra_connections.ids import ReferenceId
from terra_connections.users.pseudonym import Pseudonyms

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Limited(StrEnum):
    """The limited operations."""

    SYNCS = "syncs"
    MOBILE_TOKENS = "mobile-tokens"
    ERASURES = "erasures"
    BACKFILLS = "backfills"


_WINDOWS = {
    Limited.SYNCS: timedelta(minutes=1),
    Limited.MOBILE_TOKENS: timedelta(hours=1),
    Limited.ERASURES: timedelta(hours=1),
    Limited.BACKFILLS: timedelta(hours=1),
}


@dataclass(frozen=True, slots=True)
class UserLimits:
    """Counts one operation for each user.

    Attributes:
        what: the operation.
        at_most: the limit within a window; 0 means no limit.
    """

    client: "DynamoDBClient"
    table: str
    pseudonyms: Pseudonyms
    what: Limited
    at_most: int

    def count(self, reference_id: ReferenceId, *, now: datetime) -> None:
        """Count one operation.

        Raises:
            UserLimitReached: the limit was already reached; nothing was counted.
        """
        if not self.at_most:
            return
        try:
            self.client.update_item(**self._update(reference_id, now=now))
        except self.client.exceptions.ConditionalCheckFailedException:
            raise self.reached(now=now) from None

    def writes(self, reference_id: ReferenceId, *, now: datetime) -> list[TransactWrite]:
        """Return the write that counts one operation, for a transaction."""
        return [{"Update": self._update(reference_id, now=now)}] if self.at_most else []

    def reached(self, *, now: datetime) -> UserLimitReached:
        """Return the error for a reached limit."""
        window = _WINDOWS[self.what]
        ends_in = window.total_seconds() - now.timestamp() % window.total_seconds()
        span = "1 minute" if window == timedelta(minutes=1) else "1 hour"
        what = self.what.replace("-", " ")
        message = f"This user has had {self.at_most} {what}, and may have {self.at_most} within {span}."
        return UserLimitReached(message, retry_after=int(ends_in) + 1)

    def _update(self, reference_id: ReferenceId, *, now: datetime) -> Any:  # noqa: ANN401 - of a call or a transaction
        seconds = int(_WINDOWS[self.what].total_seconds())
        number = int(now.timestamp()) // seconds
        key = f"limit:{self.pseudonyms.in_keys(reference_id)}:{self.what}:{number}"
        return {
            "TableName": self.table,
            "Key": {"session_id": {"S": key}},
            "UpdateExpression": "ADD #count :one SET #ttl = :ttl",
            "ConditionExpression": "attribute_not_exists(#count) OR #count < :most",
            "ExpressionAttributeNames": {"#count": "count", "#ttl": "ttl"},
            "ExpressionAttributeValues": {
                ":one": {"N": "1"},
                ":most": {"N": str(self.at_most)},
                ":ttl": {"N": str((number + 2) * seconds)},
            },
        }
