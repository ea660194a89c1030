"""A user's items in the database: what each one is, and its status, beside the attributes as they are stored."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from mypy_boto3_dynamodb import DynamoDBClient

Json = dict[str, Any]

TABLES: Final = ("Sessions", "Connections")
LATEST: Final = 10
"""The number of a user's items of each table, the latest ones."""
_STATUS_OF_FACTS: Final = {
    "connected": "connected",
    "login": "connected",
    "error": "needs_reauth",
    "revoked": "revoked",
    "absent": "revoked",
}
"""The status that the newest of these facts decides; the worse one at equal positions, so it is the later one here."""


def query(client: DynamoDBClient, table: str, reference_id: str) -> list[Json]:
    """Return a user's items, the newest first if the index is sorted by time."""
    found = client.query(
        TableName=table,
        IndexName="by-reference-id",
        KeyConditionExpression="reference_id = :reference_id",
        ExpressionAttributeValues={":reference_id": {"S": reference_id}},
        ScanIndexForward=False,
        Limit=LATEST,
    )
    return [{name: plain(value) for name, value in sorted(item.items())} for item in found["Items"]]


def plain(value: Any) -> Any:  # noqa: ANN401  # JSON, in DynamoDB's form then in the plain one
    """Return a DynamoDB value without its types."""
    ((kind, inner),) = value.items()
    match kind:
        case "N":
            return int(inner)
        case "M":
            return {name: plain(nested) for name, nested in inner.items()}
        case "L":
            return [plain(nested) for nested in inner]
        case _:
            return inner


def described(items: dict[str, list[Json]]) -> dict[str, list[Json]]:
    """Return the items of each table with their `key`, `kind`, `provider` and `status`, for the page."""
    logged_in = {item["user_id"] for item in items["Connections"] if "login" in item["facts"]}
    now = time.time() * 1000
    return {
        "Sessions": [
            {
                "key": item["session_id"],
                "kind": "Session",
                "provider": item.get("resource"),
                "status": session_status(item, now, logged_in),
                "item": item,
            }
            for item in items["Sessions"]
        ],
        "Connections": [
            {
                "key": item["user_id"],
                "kind": "Connection",
                "provider": item["facts"].get("provider", {}).get("value"),
                "status": connection_status(item["facts"]),
                "item": item,
            }
            for item in items["Connections"]
        ],
    }


def session_status(item: Json, now: float, logged_in: Collection[str] = ()) -> str:
    """Return the status of a session.

    Args:
        item: its attributes.
        now: unix milliseconds.
        logged_in: the `user_id`s that a login has connected. The webhook about it does not write to the session.
    """
    if "confirmed_user_ids" in item or item.get("user_id") in logged_in:
        return "connected"
    if "failed_reasons" in item:
        return "failed"
    if item.get("needs_app"):
        return "needs_app"
    return "expired" if now >= item["expires_at"] else "pending"


def connection_status(facts: Json) -> str:
    """Return the status that the facts about one `user_id` have."""
    if "replaced_by" in facts:
        return "replaced"
    order = list(_STATUS_OF_FACTS)
    deciding = [(facts[kind]["at"], order.index(kind), kind) for kind in order if kind in facts]
    return _STATUS_OF_FACTS[max(deciding)[2]] if deciding else "not connected"
