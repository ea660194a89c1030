"""The sessions table in DynamoDB: sessions, their idempotency claims, and the reports of Terra's events.

```text
key    session_id, or "idempotency:<sha256 of caller and key>", or "widget:<Terra's widget session id>"
index  by-reference-id (reference_id, created_at); sessions only
session   as session.Session; ttl
claim     token, body_hash, expires_at, ttl, answer? (none while the request runs)
widget    user_ids, failed_reasons: sets, from Terra's events about the login; ttl
```

DynamoDB deletes expired items with a delay. This store ignores them as soon as they expire.
"""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

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
from terra_connections.errors import IdempotencyKeyReused, RequestInProgress
from terra_connections.ids import ReferenceId, SessionId, UserId
from terra_connections.sessions.idempotency import CLAIM_LEASE, Claim
from terra_connections.sessions.session import OPEN_FOR, Flow, Reason, Session, WidgetReport
from terra_connections.users.store import SESSION_KEPT_FOR

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_MOST_OF_A_LOGIN = 100
"""Stored connections of one widget session. An item has at most 400 kB, and every event must be storable."""
_MAX_RETRY_BUTTONS = 50  # a page that is loaded more often has no button


class SessionStore:
    """Reads and writes sessions, their claims and their reports."""

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
        return [_session_from(item) for item in self._get(map(_key, session_ids))]

    def with_reports(self, sessions: Iterable[Session]) -> list[Session]:
        """Return the sessions merged with their reports, as `with_widget_report`, with one batch read."""
        found = list(sessions)
        logins = {session.widget_session_id for session in found if session.widget_session_id is not None}
        reports = [_report_from(item) for item in self._get(map(_report_key, logins))]
        by_login = {report.widget_session_id: report for report in reports}
        of_sessions = [
            by_login.get(session.widget_session_id) if session.widget_session_id else None for session in found
        ]
        return [
            session.with_widget_report(report) if report else session
            for session, report in zip(found, of_sessions, strict=True)
        ]

    def _get(self, keys: Iterable[Key]) -> list[Item]:
        return batch_get(self._client, {self._table: keys})[self._table]

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

    def with_widget_report(self, session: Session) -> Session:
        """Return the session merged with the report of Terra's events about its widget session, read consistently."""
        if session.widget_session_id is None:
            return session
        key = _report_key(session.widget_session_id)
        item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        return session.with_widget_report(_report_from(item)) if item else session

    def erase(self, session: Session) -> None:
        """Delete a session, and the stored response for its idempotency key."""
        for key in (session.claim_id, session.session_id):
            if key is not None:
                self._client.delete_item(TableName=self._table, Key=_key(key))

    def erase_reports(self, widget_session_ids: Iterable[SessionId]) -> None:
        """Delete the reports of Terra's events about these widget sessions."""
        for widget_session_id in widget_session_ids:
            self._client.delete_item(TableName=self._table, Key=_report_key(widget_session_id))

    def creation(self, session: Session, claim: Claim | None, answer: Mapping[str, Any]) -> list[TransactWrite]:
        """Return the writes that store a new session and, with a claim, the response for the idempotency key.

        The session's write is unconditional. The claim's write fails if the claim expired and another request has
        claimed the key.
        """
        writes: list[TransactWrite] = [self._put(session)]
        if claim is None:
            return writes
        settled = {
            "session_id": claim.claim_id,
            "token": claim.token,
            "body_hash": claim.body_hash,
            "expires_at": session.expires_at,
            "ttl": session.expires_at // 1000,
            "answer": json.dumps(answer),
        }
        put: TransactWrite = {
            "Put": {
                "TableName": self._table,
                "Item": item_from(settled),
                "ConditionExpression": "#token = :token",
                "ExpressionAttributeNames": {"#token": "token"},
                "ExpressionAttributeValues": {":token": {"S": claim.token}},
            }
        }
        return [*writes, put]

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
        item = {
            "session_id": claim.claim_id,
            "token": claim.token,
            "body_hash": claim.body_hash,
            "expires_at": lease_ends,
            "ttl": lease_ends // 1000,
        }
        try:
            self._client.put_item(
                TableName=self._table,
                Item=item_from(item),
                # A retry of our own write, whose response was lost, keeps the claim.
                ConditionExpression="attribute_not_exists(session_id) OR expires_at <= :now OR #token = :token",
                ExpressionAttributeNames={"#token": "token"},
                ExpressionAttributeValues={":now": {"N": str(now_ms)}, ":token": {"S": claim.token}},
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            # The type stubs do not know that the error contains the item.
            standing: Mapping[str, Any] = error.response["Item"]  # type: ignore[typeddict-item]
            if standing["body_hash"]["S"] != claim.body_hash:
                message = "A repeat has the same body, byte for byte. Use a new key for a new request."
                raise IdempotencyKeyReused(message) from None
            if "answer" not in standing:
                message = "Send this request again in a second: it gets the response of the first one."
                raise RequestInProgress(message) from None
            answer: dict[str, Any] = json.loads(standing["answer"]["S"])
            return answer
        return None

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

    def may_offer_retry(self, session: Session) -> bool:
        """Whether a page may show a button "Try again": no retry has succeeded, and the limit is not reached.

        The first page of a session needs no read.
        """
        if not session.retry_hashes:
            return True
        if len(session.retry_hashes) >= _MAX_RETRY_BUTTONS:
            return False
        answer = self._client.get_item(TableName=self._table, Key=_key(session.retry_claim_id), ConsistentRead=True)
        return "answer" not in answer.get("Item", {})

    def add_failure(self, session_id: SessionId, reason: Reason, *, retry_hash: str | None = None) -> None:
        """Record a failure redirect, and the hash of the secret of the button "Try again" on its page, if any.

        Both are sets, so order and repetition make no difference.
        """
        added = {"failed_reasons": [reason], **({"retry_hashes": [retry_hash]} if retry_hash else {})}
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(session_id),
                UpdateExpression=f"ADD {', '.join(f'{name} :{name}' for name in added)}",
                ConditionExpression="attribute_exists(session_id)",
                ExpressionAttributeValues={f":{name}": {"SS": values} for name, values in added.items()},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            # The session was erased in the meantime: there is nothing to record.
            return

    def add_needs_app(self, session_id: SessionId) -> None:
        """Record that a success redirect arrived while Terra had no new connection."""
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(session_id),
                UpdateExpression="SET needs_app = :true",
                ConditionExpression="attribute_exists(session_id)",
                ExpressionAttributeValues={":true": {"BOOL": True}},
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            # The session was erased in the meantime: there is nothing to record.
            return

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

    def writes(self, report: WidgetReport | None, *, now: datetime) -> list[TransactWrite]:
        """Return the write that stores a report of Terra's events about a widget session; none without a report.

        It adds to sets, so order and repetition make no difference. The session need not exist yet: an event may arrive
        before it is stored. The condition fails if there are more connections than one login can have made.
        """
        if report is None:
            return []
        values = {"user_ids": sorted(report.user_ids), "failed_reasons": sorted(report.reasons)}
        sets = {name: each for name, each in values.items() if each}
        update: TransactWrite = {
            "Update": {
                "TableName": self._table,
                "Key": _report_key(report.widget_session_id),
                "UpdateExpression": f"ADD {', '.join(f'{name} :{name}' for name in sets)} SET #ttl = :ttl",
                "ConditionExpression": "attribute_not_exists(user_ids) OR size(user_ids) < :most",
                "ExpressionAttributeNames": {"#ttl": "ttl"},
                "ExpressionAttributeValues": {
                    **{f":{name}": {"SS": values} for name, values in sets.items()},
                    ":ttl": {"N": str(int((now + SESSION_KEPT_FOR).timestamp()))},
                    ":most": {"N": str(_MOST_OF_A_LOGIN)},
                },
            }
        }
        return [update]

    def _put(self, session: Session) -> TransactWrite:
        return {"Put": {"TableName": self._table, "Item": _item_from(session)}}


def _key(session_id: str) -> Key:
    return {"session_id": {"S": session_id}}


def _report_key(widget_session_id: SessionId) -> Key:
    return _key(f"widget:{widget_session_id}")


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
        created_at=int(stored["created_at"]),
        expires_at=int(stored["expires_at"]),
        ttl=int(stored["ttl"]),
        confirmed_user_ids=frozenset(map(UserId, _texts(stored.get("confirmed_user_ids")))),
        failed_reasons=frozenset(map(Reason, _texts(stored.get("failed_reasons")))),
        needs_app=stored.get("needs_app", False),
        retry_hashes=frozenset(_texts(stored.get("retry_hashes"))),
    )


def _report_from(item: Item) -> WidgetReport:
    stored = values_from(item)
    return WidgetReport(
        SessionId(stored["session_id"].partition(":")[2]),
        user_ids=frozenset(map(UserId, _texts(stored.get("user_ids")))),
        reasons=frozenset(map(Reason, _texts(stored.get("failed_reasons")))),
    )


def _texts(values: object) -> Iterable[str]:
    return values if isinstance(values, set) else ()
