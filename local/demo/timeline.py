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
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

import httpx

from local import database
from local.demo.curl import TERRA_KEYS, TOKEN, curl
from local.demo.items import TABLES, described, query

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

Json = dict[str, Any]

LOG_TAIL: Final = 512 * 1024
"""Bytes of the functions' log to read, from its end."""


class Event(NamedTuple):
    """One request of the timeline.

    Attributes:
        key: a unique and stable id.
        way: the sender and the receiver.
        started: unix milliseconds.
        finished: unix milliseconds; None while it is open.
        title: the request.
        result: the status of the response, or a word for what became of the request.
        explanation: an explanation for newcomers.
        detail: everything else.
        curl: the command that repeats it; empty if there is none.
        delivery_id: the simulator's id of a webhook.
    """

    key: str
    way: str
    started: int
    finished: int | None
    title: str
    result: str
    explanation: str
    detail: Json
    curl: str = ""
    delivery_id: str = ""


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
VERIFIED_ANYWAY: Final = (
    "The API asks Terra about this user_id. It had looked before the webhook above was stored, or it is a sync."
)
NOT_DELIVERED: Final = (
    "Not delivered to the API yet. Terra retries; meanwhile the API can verify the connection with Terra."
)
NEVER_DELIVERED: Final = {
    "lost": "Never sent. The API verifies the connection with Terra when the browser returns, or in the next sweep.",
    "given up": "Terra does not try again. The API finds the change in the next sweep.",
}
SECRET: Final = re.compile(r"(?<=[?&]state=)[^&]+")


class Timeline:
    """Reads the local stack's internals."""

    def __init__(
        self, *, api_url: str, terra_url: str, dynamodb_url: str, functions_log: Path, pseudonym_key: str
    ) -> None:
        self._api_url = api_url
        self._terra_url = terra_url
        self._dynamodb_url = dynamodb_url
        self._functions_log = functions_log
        self._pseudonym_key = pseudonym_key

    async def of(self, reference_id: str, notified: Iterable[Event] = ()) -> Json:
        """Return a user's `events`, with the app's notifications, as they finished, and their `items` by table."""
        async with httpx.AsyncClient(base_url=f"{self._terra_url}/_control", trust_env=False, timeout=10) as terra:
            items, calls, deliveries = await asyncio.gather(
                asyncio.to_thread(self._items, reference_id), terra.get("/requests"), terra.get("/deliveries")
            )
        sessions = {item["session_id"]: item for item in items["Sessions"]}
        users = {item["user_id"] for table in items.values() for item in table if "user_id" in item}
        logged = logged_as(reference_id, self._pseudonym_key)
        events = in_order(
            [
                *requests(tail(self._functions_log), logged, sessions, api_url=self._api_url),
                *calls_of_terra(calls.json(), reference_id, users, terra_url=self._terra_url),
                *webhooks(deliveries.json(), reference_id, terra_url=self._terra_url),
                *notified,
            ]
        )
        return {"events": [event._asdict() for event in events], "items": described(items)}

    def _items(self, reference_id: str) -> dict[str, list[Json]]:
        return {table: query(self._dynamodb, table, reference_id) for table in TABLES}

    @cached_property
    def _dynamodb(self) -> DynamoDBClient:
        return database.connect(self._dynamodb_url)


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return the events as they finished, open ones last, and never with an explanation that an earlier one refutes.

    A request to Terra may run while the webhook arrives that makes it unnecessary.
    """
    confirmed: set[str] = set()
    ordered = []
    for event in sorted(events, key=lambda event: (inf if event.finished is None else event.finished, event.started)):
        if event.way == TERRA_TO_API and event.result.startswith("2"):
            confirmed |= users_of(event.detail)
        if event.explanation == CALLS["userInfo"] and event.detail.get("user_id") in confirmed:
            ordered.append(event._replace(explanation=VERIFIED_ANYWAY))
        else:
            ordered.append(event)
    return ordered


def users_of(body: Json) -> set[str]:
    """Return the `user_id`s that a webhook reports as connected."""
    user = body.get({"auth": "user", "user_reauth": "new_user"}.get(body.get("type", ""), "")) or {}
    return {user["user_id"]} if "user_id" in user and body.get("status") != "error" else set()


def tail(log: Path) -> list[str]:
    """Return the latest lines of a log."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL))
        return file.read().decode(errors="replace").splitlines()


def logged_as(reference_id: str, key: str) -> str:
    """Return the pseudonym of a user in the functions' log."""
    return hmac.new(key.encode(), f"log:{reference_id}".encode(), hashlib.sha256).hexdigest()[:16]


def requests(lines: Iterable[str], logged: str, sessions: Mapping[str, Json], *, api_url: str = "") -> Iterator[Event]:
    """Return the functions' requests for this user, from the one log line that each request writes.

    Of the polling requests for one session, only the last one is returned.

    Args:
        lines: of the functions' log.
        logged: the user's pseudonym in the log.
        sessions: the items of the user's sessions, by their id.
        api_url: for the commands.
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
        finished = int(ended.timestamp() * 1000)
        names = ("session_id", "session_status", "problem", "status", "ms")
        detail = {name: record[name] for name in names if name in record}
        key = record["session_id"] if record["message"] == "get_session" else record["request_id"]
        latest[key] = Event(
            key,
            way,
            finished - record["ms"],
            finished,
            title,
            str(record["status"]),
            explanation,
            detail,
            command(title, api_url, sessions.get(record.get("session_id", ""), {})),
        )
    yield from latest.values()


def command(title: str, api_url: str, session: Json) -> str:
    """Return the command that repeats a request about a session; empty if its item no longer exists."""
    if not session:
        return ""
    method, _, path = title.partition(" ")
    session_id = session["session_id"]
    if path == "/sessions":
        names = ("resource", "resources", "return_to", "language")
        body = {name: session[name] for name in names if session.get(name)}
        if "repairs" in session:
            body = {"user_id": session["repairs"], **{name: body[name] for name in ("return_to",) if name in body}}
        return curl(method, f"{api_url}{path}", headers=TOKEN, body=body)
    if path.startswith("/sessions/"):
        return curl(method, f"{api_url}/sessions/{session_id}", headers=TOKEN)
    return curl(method, f"{api_url}{path}?session={session_id}&state=$STATE") if method == "GET" else ""


def calls_of_terra(
    calls: Iterable[Json], reference_id: str, users: Collection[str], *, terra_url: str = ""
) -> Iterator[Event]:
    """Return the calls to Terra for this user. The simulator records when a call arrives, and responds at once."""
    for call in calls:
        name = call["path"].rpartition("/")[2]
        body = call["body"] if isinstance(call["body"], dict) else {}
        about = {call["query"].get("reference_id"), body.get("reference_id")}
        if name not in CALLS or not (reference_id in about or call["query"].get("user_id") in users):
            continue
        fields = {field: SECRET.sub("…", text) if isinstance(text, str) else text for field, text in body.items()}
        at = int(call["time"] * 1000)
        query_string = f"?{urlencode(call['query'])}" if call["query"] else ""
        yield Event(
            f"call-{call['time']}",
            API_TO_TERRA,
            at,
            at,
            f"{call['method']} …/{name}",
            str(call["status"] or "no response"),
            CALLS[name],
            {**call["query"], **fields},
            curl(
                call["method"],
                f"{terra_url}{call['path']}{query_string}",
                headers=TERRA_KEYS,
                body=fields or None,
            ),
        )


def webhooks(deliveries: Iterable[Json], reference_id: str, *, terra_url: str = "") -> Iterator[Event]:
    """Return the attempts to deliver Terra's webhooks about this user; for a delivery that is still open, that, too.

    An attempt is listed with its own result, because the final one was not known at its time.
    """
    for delivery in deliveries:
        body = delivery["body"] if isinstance(delivery["body"], dict) else {}
        named = [body, *(body.get(name) or {} for name in ("user", "new_user", "old_user"))]
        if reference_id not in [user.get("reference_id") for user in named]:
            continue
        means = "auth_cancelled" if body.get("status") == "error" else body.get("type")  # Terra's older shape of it
        explanation = WEBHOOKS.get(means, "An event that changes no connection.")
        created, delivery_id = int(delivery["created_at"] * 1000), delivery["delivery_id"]
        again = curl("POST", f"{terra_url}/_control/deliveries/{delivery_id}/again")
        outcomes: list[tuple[int, int | None, str]] = [
            (
                int(attempt["at"] * 1000),
                int(attempt["at"] * 1000) + attempt.get("took_ms", 0),
                str(attempt["status"] or "no response"),
            )
            for attempt in delivery["attempts"]
        ]
        if delivery["state"] != "delivered":
            state = delivery["state"].replace("_", " ")
            last = max([created, *(finished or created for _, finished, _ in outcomes)])
            outcomes.append((created, last if state in NEVER_DELIVERED else None, state))
        for number, (started, finished, result) in enumerate(outcomes):
            yield Event(
                f"{delivery_id}-{number}",
                TERRA_TO_API,
                started,
                finished,
                f"webhook {body.get('type')}",
                result,
                explanation if result.startswith("2") else NEVER_DELIVERED.get(result, NOT_DELIVERED),
                body,
                again,
                delivery_id,
            )
