"""Items and queue messages of the previous version are read as that version read them: no deployment migrates data.

previous_version.json has what version 0.1.0 wrote into its tables and its sweep queue, and what its API returned then.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest

from local.testing import Stack
from tests.support.handlers import Handlers, Run, http_event
from tests.support.sweeps import connection_item, own_sweeping
from tests.support.tables import own_tables
from tests.support.terra import Terra
from tests.support.terra_events import auth_event
from tests.support.webhooks import Webhook

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WRITTEN: dict[str, Any] = json.loads(Path(__file__).with_name("previous_version.json").read_text())
MILLISECONDS = 1_000_000_000_000
SECONDS = 1_000_000_000


def moved_to_now(value: Any) -> Any:  # noqa: ANN401 - an item of DynamoDB
    """Return an item with every time as far in the past as it was when the item was read."""
    later = int(time.time()) - WRITTEN["recorded_at"]
    match value:
        case {"N": str(text)} if text.isdecimal() and int(text) > MILLISECONDS:
            return {"N": str(int(text) + later * 1000)}
        case {"N": str(text)} if text.isdecimal() and int(text) > SECONDS:
            return {"N": str(int(text) + later)}
        case dict():
            return {name: moved_to_now(inner) for name, inner in value.items()}
        case list():
            return [moved_to_now(inner) for inner in value]
    return value


def load(dynamodb: "DynamoDBClient", table: str, items: list[dict[str, Any]]) -> None:
    for item in items:
        dynamodb.put_item(TableName=table, Item=moved_to_now(item))


@dataclass(frozen=True)
class Upgraded:
    """This version's functions on the previous version's tables."""

    handlers: Handlers
    environment: Mapping[str, str]

    def run(self, function: str, event: Mapping[str, Any]) -> Run:
        return self.handlers.run(function, event, environment=self.environment)

    def get(self, function: str, path: str, query: str = "", **path_parameters: str) -> dict[str, Any]:
        run = self.run(function, http_event("GET", path, query=query, path_parameters=path_parameters))
        assert run.status == httpx.codes.OK, run.result
        return run.json

    def status(self, session: Mapping[str, Any]) -> str:
        session_id = session["session_id"]
        status: str = self.get("get_session", f"/sessions/{session_id}", session_id=session_id)["status"]
        return status

    def redirect(self, outcome: str, session: Mapping[str, Any], state: str) -> Run:
        query = urlencode({"session": session["session_id"], "state": state})
        return self.run(f"auth_{outcome}", http_event("GET", f"/auth/{outcome}", query=query))


@pytest.fixture
def upgraded(handlers: Handlers, dynamodb: "DynamoDBClient") -> Iterator[Upgraded]:
    names = ("connections", "sessions", "deliveries")
    with own_tables(dynamodb, *(name.title() for name in names)) as tables:
        for name, table in zip(names, tables, strict=True):
            load(dynamodb, table, WRITTEN["tables"][name])
        variables = {f"{name.upper()}_TABLE": table for name, table in zip(names, tables, strict=True)}
        yield Upgraded(handlers, {**variables, "PSEUDONYM_KEY": WRITTEN["pseudonym_key"]})


@pytest.mark.parametrize("reference_id", WRITTEN["lists"])
def test_a_user_has_the_same_connections_as_before(upgraded: Upgraded, reference_id: str) -> None:
    query = urlencode({"reference_id": reference_id, "include": "revoked"})
    listed = upgraded.get("list_connections", "/connections", query)["connections"]

    def without_times(connections: list[dict[str, Any]]) -> list[dict[str, Any]]:
        times = ("connected_at", "updated_at")
        kept = [{name: value for name, value in one.items() if name not in times} for one in connections]
        return sorted(kept, key=lambda one: str(one["connection_id"]))

    assert without_times(listed) == without_times(WRITTEN["lists"][reference_id])


@pytest.mark.parametrize("label", WRITTEN["sessions"])
def test_a_session_has_the_same_status_as_before(upgraded: Upgraded, label: str) -> None:
    session = WRITTEN["sessions"][label]
    assert upgraded.status(session) == session["status"]


def test_a_login_started_before_the_upgrade_fails_by_its_own_secret_only(upgraded: Upgraded) -> None:
    for label in ("pending", "widget_pending"):
        session = WRITTEN["sessions"][label]
        assert upgraded.redirect("failure", session, session["state"]).status == httpx.codes.BAD_REQUEST
        assert upgraded.status(session) == "pending"
        assert upgraded.redirect("failure", session, session["failure_state"]).status < httpx.codes.BAD_REQUEST
        assert upgraded.status(session) == "failed"


def test_a_login_started_before_the_upgrade_connects(
    upgraded: Upgraded, terra: Terra, webhook: Callable[..., Webhook]
) -> None:
    session = WRITTEN["sessions"]["pending"]
    terra.settings(send_webhooks=False)
    terra.connect("ada", user_id=session["user_id"], provider="OURA")
    event = auth_event(session["user_id"], "ada", provider="OURA")
    assert upgraded.run("terra_webhook", webhook(event).event()).json == {"status": "accepted"}
    assert upgraded.redirect("success", session, session["state"]).status < httpx.codes.BAD_REQUEST
    assert upgraded.status(session) == "connected"


def test_a_repeated_request_gets_the_session_created_before_the_upgrade(upgraded: Upgraded) -> None:
    first = WRITTEN["idempotency"]
    headers = {"content-type": "application/json", "idempotency-key": first["key"]}
    event = http_event("POST", "/sessions", headers=headers, body=json.dumps(first["body"], separators=(",", ":")))
    response = upgraded.run("create_session", event)
    assert response.status == httpx.codes.CREATED, response.result
    again = response.json
    assert (again["session_id"], again["auth_url"]) == (first["session_id"], first["auth_url"])


def test_an_erased_user_stays_erased(upgraded: Upgraded, webhook: Callable[..., Webhook]) -> None:
    late = webhook(auth_event(WRITTEN["erased_user_id"], "eve"))
    assert upgraded.run("terra_webhook", late.event()).status == httpx.codes.OK
    assert upgraded.get("list_connections", "/connections", "reference_id=eve&include=revoked") == {"connections": []}


@pytest.mark.parametrize("number", range(len(WRITTEN["sweep"]["messages"])))
def test_a_sweep_step_continues_from_the_state_before_the_upgrade(
    handlers: Handlers, dynamodb: "DynamoDBClient", stack: Stack, number: int
) -> None:
    message = WRITTEN["sweep"]["messages"][number]
    with own_sweeping(handlers, dynamodb, stack) as sweep:
        sweep.load([connection_item(f"{number:08}-0000-4000-8000-000000000000") for number in range(3)])
        load(dynamodb, sweep.sessions_table, WRITTEN["sweep"]["states"][number])
        run = sweep.process({"MessageId": "m", "Body": json.dumps(message)}, limit="100")
        assert run.result == {"batchItemFailures": []}, run.log
        before = {item["session_id"]["S"] for item in WRITTEN["sweep"]["states"][number]}
        assert {item["session_id"] for item in sweep.sweep_items()} >= {
            key for key in before if key.startswith("sweep:")
        }
        if message["task"] == "revoke":
            assert sweep.revoked(), run.log
        else:
            assert sweep.state()["moved_at"] >= int(time.time()) - 60
