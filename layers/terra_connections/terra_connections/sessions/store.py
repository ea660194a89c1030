"""The sessions in DynamoDB, in the table Sessions.

```text
key    session_id
index  by-reference-id (reference_id, created_at); sessions only
item   as session.Session; asked_at? (the last call to Terra about it), ttl
```

Other stores keep their items in the same table, each under a prefix of its own: `sessions/idempotency`,
`sessions/widget_reports`, `users/store`, `users/limits` and `reconciliation/store`.

DynamoDB deletes expired items with a delay. This store ignores them as soon as they expire.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from terra_connections.connections.facts import Position
from terra_connections.dynamodb import (
    AttributeValue,
    Item,
    Key,
    TransactWrite,
    batch_get,
    item_from,
    query_by_reference_id,
    values_from,
)
from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.sessions.session import OPEN_FOR, Flow, Reason, Repair, Session

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class SessionStore:
    """Reads and writes sessions."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def find(self, session_id: SessionId, *, now: datetime) -> Session | None:
        """Read a session, consistently."""
        answer = self._client.get_item(TableName=self._table, Key=_key(session_id), ConsistentRead=True)
        item = answer.get("Item")
        session = _session_from(item) if item else None
        return session if session and session.ttl > now.timestamp() else None

    def of_user(self, reference_id: ReferenceId) -> list[Session]:
        """Read a user's sessions. The index is eventually consistent, so the last writes may be missing."""
        return [_session_from(item) for item in query_by_reference_id(self._client, self._table, reference_id)]

    def read(self, session_ids: Iterable[SessionId]) -> list[Session]:
        """Read these sessions, consistently; missing ones are left out."""
        keys = {self._table: map(_key, session_ids)}
        return [_session_from(item) for item in batch_get(self._client, keys)[self._table]]

    def open_session_expiries(self, reference_id: ReferenceId, *, now: datetime) -> list[int]:
        """Return the expiry times, in Unix milliseconds, of a user's open sessions, which no redirect has finished.

        The index is eventually consistent, so the last writes may be missing. A session that only a webhook has
        finished still counts as open.
        """
        now_ms = int(now.timestamp() * 1000)
        items = query_by_reference_id(
            self._client,
            self._table,
            reference_id,
            and_condition="created_at > :begun",
            values=item_from({":begun": now_ms - int(OPEN_FOR.total_seconds() * 1000), ":now": now_ms}),
            FilterExpression=(
                "expires_at > :now AND attribute_not_exists(failed_reasons) "
                "AND attribute_not_exists(confirmed_user_ids) AND attribute_not_exists(needs_app)"
            ),
            ProjectionExpression="expires_at",
        )
        return [int(item["expires_at"]["N"]) for item in items]

    def erase(self, session: Session) -> None:
        """Delete a session."""
        self._client.delete_item(TableName=self._table, Key=_key(session.session_id))

    def creation(self, session: Session) -> TransactWrite:
        """Return the write that stores a new session. It has no condition: the id is new."""
        return {"Put": {"TableName": self._table, "Item": _item_from(session)}}

    def may_ask_terra(self, session_id: SessionId, *, now: datetime, at_most_every: timedelta) -> bool:
        """Whether this request may call Terra about a session. Limits the calls caused by reloads and prefetches."""
        now_ms = int(now.timestamp() * 1000)
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(session_id),
                UpdateExpression="SET asked_at = :now",
                ConditionExpression=(
                    "attribute_exists(session_id) AND (attribute_not_exists(asked_at) OR asked_at <= :before)"
                ),
                ExpressionAttributeValues={
                    ":now": {"N": str(now_ms)},
                    ":before": {"N": str(now_ms - int(at_most_every.total_seconds() * 1000))},
                },
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def add_failure(self, session_id: SessionId, reason: Reason, *, retry_hash: str | None = None) -> bool:
        """Record a failure redirect, and the hash of the secret of the button "Try again" on its page, if any.

        Both are sets, so order and repetition make no difference.

        Returns:
            Whether it is the session's first failure redirect.
        """
        added = {"failed_reasons": [reason], **({"retry_hashes": [retry_hash]} if retry_hash else {})}
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=_key(session_id),
                UpdateExpression=f"ADD {', '.join(f'{name} :{name}' for name in added)}",
                ConditionExpression="attribute_exists(session_id)",
                ExpressionAttributeValues={f":{name}": {"SS": values} for name, values in added.items()},
                ReturnValues="UPDATED_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            # The session was erased in the meantime: there is nothing to record.
            return False
        return "failed_reasons" not in answer.get("Attributes", {})

    def add_needs_app(self, session_id: SessionId) -> bool:
        """Record that a success redirect arrived while Terra had no new connection.

        Returns:
            Whether it is the session's first such redirect.
        """
        try:
            answer = self._client.update_item(
                TableName=self._table,
                Key=_key(session_id),
                UpdateExpression="SET needs_app = :true",
                ConditionExpression="attribute_exists(session_id)",
                ExpressionAttributeValues={":true": {"BOOL": True}},
                ReturnValues="UPDATED_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            # The session was erased in the meantime: there is nothing to record.
            return False
        return "needs_app" not in answer.get("Attributes", {})

    def confirmation(self, session_id: SessionId, user_id: UserId) -> TransactWrite:
        """Return the write that adds a `user_id` to a session after a redirect and Terra's confirmation."""
        return {
            "Update": {
                "TableName": self._table,
                "Key": _key(session_id),
                "UpdateExpression": "ADD confirmed_user_ids :user_id",
                "ConditionExpression": "attribute_exists(session_id)",
                "ExpressionAttributeValues": {":user_id": {"SS": [user_id]}},
            }
        }


def _key(session_id: str) -> Key:
    return {"session_id": {"S": session_id}}


def _item_from(session: Session) -> dict[str, AttributeValue]:
    return item_from(
        {
            "session_id": session.session_id,
            "reference_id": session.reference_id,
            "flow": session.flow.value,
            "resource": session.resource,
            "user_id": session.user_id,
            "widget_session_id": session.widget_session_id,
            "resources": list(session.resources) or None,
            "success_hash": session.success_hash,
            "failure_hash": session.failure_hash,
            "return_to": session.return_to,
            "language": session.language,
            "claim_id": session.claim_id,
            "repairs": session.repairs and session.repairs.user_id,
            "last_login": session.repairs and session.repairs.last_login,
            "created_at": session.created_at,
            "expires_at": session.expires_at,
            "ttl": session.ttl,
        }
    )


def _session_from(item: Item) -> Session:
    stored = values_from(item)
    user_id, widget_session_id = stored.get("user_id"), stored.get("widget_session_id")
    return Session(
        session_id=SessionId(stored["session_id"]),
        reference_id=ReferenceId(stored["reference_id"]),
        flow=Flow(stored["flow"]),
        resource=stored.get("resource"),
        user_id=None if user_id is None else UserId(user_id),
        widget_session_id=None if widget_session_id is None else SessionId(widget_session_id),
        resources=tuple(stored.get("resources", ())),
        # Older sessions have one secret for both redirects.
        success_hash=stored.get("success_hash") or stored["state_hash"],
        failure_hash=stored.get("failure_hash") or stored["state_hash"],
        return_to=stored.get("return_to"),
        language=stored.get("language"),
        claim_id=stored.get("claim_id"),
        repairs=Repair(UserId(stored["repairs"]), Position(int(stored["last_login"]))) if "repairs" in stored else None,
        created_at=int(stored["created_at"]),
        expires_at=int(stored["expires_at"]),
        ttl=int(stored["ttl"]),
        confirmed_user_ids=frozenset(map(UserId, _texts(stored.get("confirmed_user_ids")))),
        failed_reasons=frozenset(map(Reason, _texts(stored.get("failed_reasons")))),
        needs_app=stored.get("needs_app", False),
        retry_hashes=frozenset(_texts(stored.get("retry_hashes"))),
    )


def _texts(values: object) -> Iterable[str]:
    return values if isinstance(values, set) else ()
