"""The stack's internals, for learning: a user's logins as a timeline, and the user's items in the database.

The timeline combines sources that only a local stack has: the functions' log, the simulated Terra's records, the
tables. The app part of the demo uses none of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import re
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx

from local import database

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

Json = dict[str, Any]

LATEST: Final = 10
"""The number of a user's sessions and connections to follow, the latest ones."""
LOG_TAIL: Final = 512 * 1024
"""Bytes of the functions' log to read, from its end."""


class Event(NamedTuple):
    """One event of the timeline.

    Attributes:
        key: a unique and stable id.
        at: unix milliseconds.
        way: the sender and the receiver.
        title: the request and the response.
        explanation: an explanation for newcomers.
        detail: everything else.
    """

    key: str
    at: int
    way: str
    title: str
    explanation: str
    detail: Json


APP_TO_API: Final = "app → API"
BROWSER_TO_API: Final = "browser → API"
API_TO_TERRA: Final = "API → Terra"
TERRA_TO_API: Final = "Terra → API"

REQUESTS: Final = {
    "create_session": (
        APP_TO_API,
        "POST /sessions",
        "The app requests a login. The user comes from the access token, not from the request body.",
    ),
    "auth_success": (
        BROWSER_TO_API,
        "GET /auth/success",
        "The redirect. It is untrusted: only a signed webhook or Terra's API response confirms the connection.",
    ),
    "auth_failure": (
        BROWSER_TO_API,
        "GET /auth/failure",
        "The redirect of a failed login. The session stores the reason.",
    ),
    "get_session": (
        APP_TO_API,
        "GET /sessions/{session_id}",
        "The app polls for the result; it does not trust the redirect's query string.",
    ),
    "auth_retry": (
        BROWSER_TO_API,
        "POST /auth/retry",
        "The user attempts again, with a new session for the same provider.",
    ),
}
CALLS: Final = {
    "authenticateUser": "Terra creates a login link. The redirect URLs are the API's own.",
    "session": "Terra creates a link to its widget, where the user picks a provider.",
    "userInfo": "The API verifies the login with Terra, because no webhook has confirmed it yet.",
    "deauthenticateUser": "The user disconnects. Terra ends the access at the provider, then the API records it.",
}
WEBHOOKS: Final[dict[object, str]] = {
    "auth": "Connected. The signature is verified; the delivery and the connection are stored in one transaction.",
    "auth_cancelled": "Login cancelled or failed.",
    "user_reauth": "The same account was connected again: a new user_id replaces the old one.",
    "deauth": "Disconnected. A late webhook about an earlier event does not undo this.",
    "access_revoked": "The user revoked the permission at the provider.",
    "connection_error": "The provider rejects Terra's token: the user should reconnect.",
    "permission_change": "The user changed the granted permissions.",
}
SECRET: Final = re.compile(r"(?<=[?&]state=)[^&]+")


class Timeline:
    """Reads the local stack's internals."""

    def __init__(self, terra_url: str, dynamodb_url: str, functions_log: Path, pseudonym_key: str) -> None:
        self._terra_url = terra_url
        self._dynamodb_url = dynamodb_url
        self._functions_log = functions_log
        self._pseudonym_key = pseudonym_key

    async def of(self, reference_id: str, notified: Iterable[Event] = ()) -> Json:
        """Return a user's `events`, with the app's notifications, oldest first, and their `items` by table."""
        async with httpx.AsyncClient(base_url=f"{self._terra_url}/_control", trust_env=False, timeout=10) as terra:
            items, calls, deliveries = await asyncio.gather(
                asyncio.to_thread(self._items, reference_id), terra.get("/requests"), terra.get("/deliveries")
            )
        sessions = {item["session_id"] for item in items["Sessions"]}
        users = {item["user_id"] for table in items.values() for item in table if "user_id" in item}
        events = [
            *requests(tail(self._functions_log), logged_as(reference_id, self._pseudonym_key), sessions),
            *calls_of_terra(calls.json(), reference_id, users),
            *webhooks(deliveries.json(), reference_id),
            *notified,
        ]
        events.sort(key=lambda event: event.at)
        return {"events": [event._asdict() for event in events], "items": items}

    def _items(self, reference_id: str) -> dict[str, list[Json]]:
        return {table: query(self._dynamodb, table, reference_id) for table in ("Sessions", "Connections")}

    @cached_property
    def _dynamodb(self) -> DynamoDBClient:
        return database.connect(self._dynamodb_url)


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


def tail(log: Path) -> list[str]:
    """Return the latest lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL))
        return file.read().decode(errors="replace").splitlines()


def logged_as(reference_id: str, key: str) -> str:
    """Return the pseudonym of a user in the functions' log."""
    return hmac.new(key.encode(), f"log:{reference_id}".encode(), hashlib.sha256).hexdigest()[:16]


def requests(lines: Iterable[str], logged: str, sessions: Collection[str]) -> Iterator[Event]:
    """Return the functions' requests for this user, from the one log line that each request writes.

    Of the polling requests for one session, only the last one is returned.
    """
    latest: dict[str, Event] = {}
    for line in lines:
        _, brace, rest = line.partition("{")
        try:
            record = json.loads(brace + rest)
        except ValueError:
            continue
        if record.get("message") not in REQUESTS or not (
            record.get("session_id") in sessions or record.get("user_hash") == logged
        ):
            continue
        way, title, explanation = REQUESTS[record["message"]]
        ended = datetime.strptime(record["timestamp"], "%Y-%m-%d %H:%M:%S,%f%z")
        detail = {
            name: record[name] for name in ("session_id", "session_status", "problem", "status", "ms") if name in record
        }
        at = int(ended.timestamp() * 1000) - record["ms"]
        key = record["session_id"] if record["message"] == "get_session" else record["request_id"]
        latest[key] = Event(key, at, way, f"{title} → {record['status']}", explanation, detail)
    yield from latest.values()


def calls_of_terra(calls: Iterable[Json], reference_id: str, users: Collection[str]) -> Iterator[Event]:
    """Return the calls to Terra for this user."""
    for call in calls:
        name = call["path"].rpartition("/")[2]
        body = call["body"] if isinstance(call["body"], dict) else {}
        about = {call["query"].get("reference_id"), body.get("reference_id")}
        if name not in CALLS or not (reference_id in about or call["query"].get("user_id") in users):
            continue
        fields = {field: SECRET.sub("…", text) if isinstance(text, str) else text for field, text in body.items()}
        title = f"{call['method']} …/{name} → {call['status'] or 'no response'}"
        at = int(call["time"] * 1000)
        yield Event(f"call-{call['time']}", at, API_TO_TERRA, title, CALLS[name], {**call["query"], **fields})


def webhooks(deliveries: Iterable[Json], reference_id: str) -> Iterator[Event]:
    """Return Terra's deliveries about this user, and their results."""
    for delivery in deliveries:
        body = delivery["body"] if isinstance(delivery["body"], dict) else {}
        users = [body, *(body.get(name) or {} for name in ("user", "new_user", "old_user"))]
        if reference_id not in [user.get("reference_id") for user in users]:
            continue
        attempts = [str(attempt["status"] or "no response") for attempt in delivery["attempts"]]
        outcome = ", ".join(attempts) or delivery["state"]
        means = "auth_cancelled" if body.get("status") == "error" else body.get("type")  # Terra's older shape of it
        explanation = WEBHOOKS.get(means, "An event that changes no connection.")
        if delivery["state"] != "delivered":
            explanation = (
                "Not delivered to the API yet. Terra retries; meanwhile the API can verify the connection with Terra."
            )
        yield Event(
            delivery["delivery_id"],
            int(delivery["created_at"] * 1000),
            TERRA_TO_API,
            f"webhook {body.get('type')} → {outcome}",
            explanation,
            body,
        )
