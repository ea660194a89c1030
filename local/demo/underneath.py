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
        words: an explanation for newcomers.
        detail: everything else.
    """

    key: str
    at: int
    way: str
    title: str
    words: str
    detail: Json


APP_TO_API: Final = "app → API"
BROWSER_TO_API: Final = "browser → API"
API_TO_TERRA: Final = "API → Terra"
TERRA_TO_API: Final = "Terra → API"

DOORS: Final = {
    "create_session": (
        APP_TO_API,
        "POST /sessions",
        "The app asks for a login. Whom it is for is said by the user token, not by the request.",
    ),
    "auth_success": (
        BROWSER_TO_API,
        "GET /auth/success",
        "The person comes back. Anybody can type this address: only a webhook or Terra's own answer is believed.",
    ),
    "auth_failure": (
        BROWSER_TO_API,
        "GET /auth/failure",
        "The person comes back, and nothing was connected. The session remembers why.",
    ),
    "get_session": (
        APP_TO_API,
        "GET /sessions/{session_id}",
        "The app asks how it went, as often as it likes. What the browser brought along it need not believe either.",
    ),
    "auth_retry": (
        BROWSER_TO_API,
        "POST /auth/retry",
        "The person tries again, with a new session for the same wearable.",
    ),
}
CALLS: Final = {
    "authenticateUser": "Terra makes a login link. The addresses to come back to are the API's own.",
    "session": "Terra makes a link to its widget, where the person picks a provider.",
    "userInfo": "The API asks Terra itself, because no webhook has told it yet.",
    "deauthenticateUser": "The person disconnects. Terra ends it at the provider; only then it counts here.",
}
WEBHOOKS: Final[dict[object, str]] = {
    "auth": "Connected. It is signed by Terra, so it is believed: its receipt and the connection are one transaction.",
    "auth_cancelled": "The login came to nothing.",
    "user_reauth": "The same account has connected again: its new id takes the old one's place.",
    "deauth": "Disconnected. An older message that comes late will not undo it.",
    "access_revoked": "The person has taken the permission back at the provider.",
    "connection_error": "The provider refuses Terra: the person should connect again.",
    "permission_change": "The person has changed what may be read.",
}
SECRET: Final = re.compile(r"(?<=[?&]state=)[^&]+")


class Underneath:
    """Reads the local stack's internals."""

    def __init__(self, terra_url: str, dynamodb_url: str, functions_log: Path, pseudonym_key: str) -> None:
        self._terra_url = terra_url
        self._dynamodb_url = dynamodb_url
        self._functions_log = functions_log
        self._pseudonym_key = pseudonym_key

    async def of(self, person: str) -> Json:
        """Return a user's `events`, oldest first, and their `items` by table."""
        async with httpx.AsyncClient(base_url=f"{self._terra_url}/_control", trust_env=False, timeout=10) as terra:
            items, calls, deliveries = await asyncio.gather(
                asyncio.to_thread(self._items, person), terra.get("/requests"), terra.get("/deliveries")
            )
        sessions = {item["session_id"] for item in items["Sessions"]}
        users = {item["user_id"] for table in items.values() for item in table if "user_id" in item}
        events = [
            *requests(tail(self._functions_log), logged_as(person, self._pseudonym_key), sessions),
            *calls_of_terra(calls.json(), person, users),
            *webhooks(deliveries.json(), person),
        ]
        events.sort(key=lambda event: event.at)
        return {"events": [event._asdict() for event in events], "items": items}

    def _items(self, person: str) -> dict[str, list[Json]]:
        return {table: query(self._dynamodb, table, person) for table in ("Sessions", "Connections")}

    @cached_property
    def _dynamodb(self) -> DynamoDBClient:
        return database.connect(self._dynamodb_url)


def query(client: DynamoDBClient, table: str, person: str) -> list[Json]:
    """Return a user's items, the newest first if the index is sorted by time."""
    found = client.query(
        TableName=table,
        IndexName="by-reference-id",
        KeyConditionExpression="reference_id = :person",
        ExpressionAttributeValues={":person": {"S": person}},
        ScanIndexForward=False,
        Limit=LATEST,
    )
    return [{name: plain(value) for name, value in sorted(item.items())} for item in found["Items"]]


def plain(value: Any) -> Any:  # noqa: ANN401  # JSON, in DynamoDB's form and then in the plain one
    """Return a DynamoDB value without its types."""
    ((kind, held),) = value.items()
    match kind:
        case "N":
            return int(held)
        case "M":
            return {name: plain(inner) for name, inner in held.items()}
        case "L":
            return [plain(inner) for inner in held]
        case _:
            return held


def tail(log: Path) -> list[str]:
    """Return the latest lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL))
        return file.read().decode(errors="replace").splitlines()


def logged_as(person: str, key: str) -> str:
    """Return the pseudonym of a user in the functions' log."""
    return hmac.new(key.encode(), f"log:{person}".encode(), hashlib.sha256).hexdigest()[:16]


def requests(lines: Iterable[str], logged: str, sessions: Collection[str]) -> Iterator[Event]:
    """Return the functions' requests for this user, from the one log line that each request writes.

    Of the many requests for one session, the last one counts.
    """
    asked: dict[str, Event] = {}
    for line in lines:
        _, brace, rest = line.partition("{")
        try:
            told = json.loads(brace + rest)
        except ValueError:
            continue
        if told.get("message") not in DOORS or not (
            told.get("session_id") in sessions or told.get("user_hash") == logged
        ):
            continue
        way, title, words = DOORS[told["message"]]
        ended = datetime.strptime(told["timestamp"], "%Y-%m-%d %H:%M:%S,%f%z")
        detail = {
            name: told[name] for name in ("session_id", "session_status", "problem", "status", "ms") if name in told
        }
        at = int(ended.timestamp() * 1000) - told["ms"]
        key = told["session_id"] if told["message"] == "get_session" else told["request_id"]
        asked[key] = Event(key, at, way, f"{title} → {told['status']}", words, detail)
    yield from asked.values()


def calls_of_terra(calls: Iterable[Json], person: str, users: Collection[str]) -> Iterator[Event]:
    """Return the calls to Terra for this user."""
    for call in calls:
        name = call["path"].rpartition("/")[2]
        body = call["body"] if isinstance(call["body"], dict) else {}
        about = {call["query"].get("reference_id"), body.get("reference_id")}
        if name not in CALLS or not (person in about or call["query"].get("user_id") in users):
            continue
        said = {field: SECRET.sub("…", text) if isinstance(text, str) else text for field, text in body.items()}
        title = f"{call['method']} …/{name} → {call['status'] or 'no answer'}"
        at = int(call["time"] * 1000)
        yield Event(f"call-{call['time']}", at, API_TO_TERRA, title, CALLS[name], {**call["query"], **said})


def webhooks(deliveries: Iterable[Json], person: str) -> Iterator[Event]:
    """Return Terra's deliveries about this user, and their results."""
    for delivery in deliveries:
        body = delivery["body"] if isinstance(delivery["body"], dict) else {}
        users = [body, *(body.get(name) or {} for name in ("user", "new_user", "old_user"))]
        if person not in [user.get("reference_id") for user in users]:
            continue
        tries = [str(attempt["status"] or "no answer") for attempt in delivery["attempts"]]
        outcome = ", ".join(tries) or delivery["state"]
        means = "auth_cancelled" if body.get("status") == "error" else body.get("type")  # Terra's older shape of it
        words = WEBHOOKS.get(means, "An event that changes no connection.")
        if delivery["state"] != "delivered":
            words = "It has not reached the API. Terra delivers again, and meanwhile the API can ask Terra itself."
        yield Event(
            delivery["delivery_id"],
            int(delivery["created_at"] * 1000),
            TERRA_TO_API,
            f"webhook {body.get('type')} → {outcome}",
            words,
            body,
        )
