"""The reports of Terra's events about logins on Terra's own page (the widget), in the table Sessions.

```text
key    "widget:<Terra's widget session id>"
item   user_ids, failed_reasons: string sets; ttl
```
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from terra_connections.dynamodb import Item, Key, TransactWrite, batch_get, values_from
from terra_connections.ids import SessionId, UserId
from terra_connections.sessions.session import Reason, Session, WidgetReport
from terra_connections.users.store import SESSION_KEPT_FOR

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_MOST_OF_A_LOGIN = 100
"""Stored connections of one widget session. An item has at most 400 kB, and every event must be storable."""


class WidgetReportStore:
    """Reads and writes the reports."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    def with_report(self, session: Session) -> Session:
        """Return the session merged with the report about its widget session, read consistently."""
        if session.widget_session_id is None:
            return session
        key = _key(session.widget_session_id)
        item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        return session.with_widget_report(_report_from(item)) if item else session

    def with_reports(self, sessions: Iterable[Session]) -> list[Session]:
        """Return the sessions merged with their reports, as `with_report`, with one batch read."""
        found = list(sessions)
        logins = {session.widget_session_id for session in found if session.widget_session_id is not None}
        items = batch_get(self._client, {self._table: map(_key, logins)})[self._table]
        by_login = {report.widget_session_id: report for report in map(_report_from, items)}
        reports = [by_login.get(session.widget_session_id) if session.widget_session_id else None for session in found]
        return [
            session.with_widget_report(report) if report else session
            for session, report in zip(found, reports, strict=True)
        ]

    def writes(self, report: WidgetReport | None, *, now: datetime) -> list[TransactWrite]:
        """Return the write that stores a report; none without a report.

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
                "Key": _key(report.widget_session_id),
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

    def erase(self, widget_session_id: SessionId) -> None:
        """Delete the report about a widget session."""
        self._client.delete_item(TableName=self._table, Key=_key(widget_session_id))


def _key(widget_session_id: SessionId) -> Key:
    return {"session_id": {"S": f"widget:{widget_session_id}"}}


def _report_from(item: Item) -> WidgetReport:
    stored = values_from(item)
    return WidgetReport(
        SessionId(stored["session_id"].partition(":")[2]),
        user_ids=frozenset(map(UserId, stored.get("user_ids", ()))),
        reasons=frozenset(map(Reason, stored.get("failed_reasons", ()))),
    )
