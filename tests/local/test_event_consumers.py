"""The consumers of docs/events.md: each program, as written there, handles repeated and unordered events correctly."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
from cfnlint.api import lint
from samtranslator.yaml_helper import yaml_parse

from local import testing
from local.gateway.http_server import listen
from local.notifications import KEY_HEADER
from tests.support.api import connections_of
from tests.support.bus import subscribed_queue
from tests.support.documents import blocks, section
from tests.support.processes import kill_with_descendants
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.waiting import eventually
from tools.environment import everything

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from mypy_boto3_dynamodb import DynamoDBClient

    from local.testing import Stack

DOCUMENT = "docs/events.md"
ENDPOINT, FUNCTION, QUEUE = "An HTTPS endpoint", "A Lambda function of another stack", "An SQS queue"
KEY = "key-of-this-test"


def program(heading: str) -> str:
    [code] = blocks(section(DOCUMENT, heading), "python")
    return code


def template(heading: str) -> str:
    [text] = blocks(section(DOCUMENT, heading), "yaml")
    return text


def samples() -> list[dict[str, Any]]:
    return [json.loads(text) for text in blocks(section(DOCUMENT, "Samples"), "json")]


def repeated_in_any_order(details: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    twice = details * 2
    random.Random(seed).shuffle(twice)  # noqa: S311 - the same order in every run
    return twice


@contextmanager
def running(heading: str, directory: Path, variables: Mapping[str, str]) -> Iterator[Path]:
    """Run a consumer, and return the file of its output."""
    file, output = directory / "consumer.py", directory / "output.txt"
    file.write_text(program(heading))
    database = {"DATABASE": str(directory / "events.db")}
    with output.open("wb") as log:
        command = [sys.executable, "-W", "error", str(file)]
        process = subprocess.Popen(command, env={**everything(), **database, **variables}, stdout=log, stderr=log)
    try:
        yield output
        assert process.poll() is None, output.read_text()
    finally:
        kill_with_descendants(process)


def free_port() -> int:
    with listen("127.0.0.1", 0) as free:
        port: int = free.getsockname()[1]
        return port


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        return connection.execute(query).fetchall()


def reauth_event(new: str, old: str, reference_id: str) -> dict[str, Any]:
    user = {"provider": "FITBIT", "scopes": "ACTIVITY,SLEEP", "active": True, "reference_id": reference_id}
    ids = {"old_user": {**user, "user_id": old}, "new_user": {**user, "user_id": new}}
    return {"type": "user_reauth", "status": "warning", **ids}


def deliver(terra: Terra, *bodies: dict[str, Any]) -> None:
    for body in bodies:
        [response] = terra.deliver({**body, "version": new_user_id()})
        assert response["status"] == httpx.codes.OK, response


# --- the HTTPS endpoint -----------------------------------------------------------------------------------------------


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    with running(ENDPOINT, tmp_path, {"NOTIFY_KEY": KEY, "PORT": str(port)}):
        url = f"http://127.0.0.1:{port}/"
        eventually(lambda: is_up(url))
        yield url


def is_up(url: str) -> bool:
    try:
        return httpx.post(url, timeout=30).status_code == httpx.codes.UNAUTHORIZED
    except httpx.TransportError:
        return False


def post(url: str, detail: dict[str, Any], key: str = KEY) -> int:
    return httpx.post(url, headers={KEY_HEADER: key}, json={"detail": detail}, timeout=30).status_code


def test_the_endpoint_accepts_only_its_key(endpoint: str, tmp_path: Path) -> None:
    for key in ("", "wrong", KEY[:-1], KEY + "x"):
        assert post(endpoint, samples()[0], key) == httpx.codes.UNAUTHORIZED
    assert rows(tmp_path / "events.db", "SELECT * FROM events") == []


@pytest.mark.parametrize("seed", range(3))
def test_the_endpoint_keeps_the_newest_list_of_repeated_and_unordered_events(
    endpoint: str, tmp_path: Path, seed: int
) -> None:
    details = [sample for sample in samples() if sample["type"] not in ("disconnected", "erased")]
    for detail in repeated_in_any_order(details, seed):
        assert post(endpoint, detail) == httpx.codes.NO_CONTENT
    database = tmp_path / "events.db"
    eventually(lambda: not rows(database, "SELECT * FROM events WHERE is_processed = 0"))
    newest = max(details, key=lambda detail: detail["position"])
    [(reference_id, position, connections)] = rows(database, "SELECT * FROM lists")
    assert (reference_id, position, json.loads(connections)) == ("alice", newest["position"], newest["connections"])
    assert len(rows(database, "SELECT * FROM events")) == len(details)
    # Once, although the event was delivered twice.
    assert (tmp_path / "output.txt").read_text().count("ask the user to log in again: FITBIT") == 1


def test_the_endpoint_gets_the_events_of_make_run_also_those_from_before_it_was_up(tmp_path: Path) -> None:
    port = free_port()
    variables = {"NOTIFY_URL": f"http://127.0.0.1:{port}/"}
    with testing.running_stack(directory=tmp_path / "stack", variables=variables) as stack:
        ada, bob = f"reference-{uuid4()}", f"reference-{uuid4()}"
        headers = {"authorization": f"Bearer {stack.service_key}"}
        with (
            httpx.Client(base_url=stack.terra_url, timeout=60) as simulator,
            httpx.Client(base_url=stack.api_url, headers=headers, timeout=60) as api,
        ):
            terra = Terra(simulator, stack.signing_secret)
            terra.connect(ada)
            eventually(lambda: "[notifications] NOTIFY_URL does not accept events" in stack.output.read_text())
            with running(ENDPOINT, tmp_path, {"NOTIFY_KEY": stack.notify_key, "PORT": str(port)}):
                old, new = new_user_id(), new_user_id()
                deliver(terra, auth_event(old, bob), auth_event(new, bob), reauth_event(new, old, bob))
                expected = {each: connections_of(api, each) for each in (ada, bob)}
                assert [connection["user_id"] for connection in expected[bob]] == [new]
                eventually(lambda: kept(tmp_path / "events.db") == expected, within=120)
        output = stack.output.read_text()
        assert output.count("NOTIFY_URL does not accept events") == 1
        assert stack.notify_key not in output
        assert "events go to the demo app and NOTIFY_URL" in output


def kept(database: Path) -> dict[str, Any]:
    try:
        found = rows(database, "SELECT reference_id, connections FROM lists")
    except sqlite3.OperationalError:
        return {}
    return {reference_id: json.loads(connections) for reference_id, connections in found}


# --- the Lambda function ----------------------------------------------------------------------------------------------


def test_the_function_keeps_the_newest_list_of_repeated_and_unordered_events(
    stack: Stack, dynamodb: DynamoDBClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = f"Lists{uuid4().hex[:8]}"
    dynamodb.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "reference_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "reference_id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for name, value in aws(stack).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TABLE", table)
    names: dict[str, Any] = {}
    exec(compile(program(FUNCTION), "keep_lists.py", "exec"), names)  # noqa: S102 - the program of the document
    details = [sample for sample in samples() if sample["type"] not in ("disconnected", "erased")]
    for detail in repeated_in_any_order(details, seed=1):
        names["lambda_handler"]({"detail": detail}, None)
    newest = max(details, key=lambda detail: detail["position"])
    item = names["table"].get_item(Key={"reference_id": "alice"})["Item"]
    assert (int(item["position"]), item["connections"]) == (newest["position"], newest["connections"])
    dynamodb.delete_table(TableName=table)


def aws(stack: Stack) -> dict[str, str]:
    """Return the variables with which the AWS SDK uses the stack's services."""
    return {
        "AWS_ENDPOINT_URL_DYNAMODB": stack.dynamodb_url,
        "AWS_ENDPOINT_URL_SQS": stack.aws_url,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": stack.region,
    }


# --- the queue --------------------------------------------------------------------------------------------------------


def test_the_reader_of_the_queue_handles_each_event_of_the_rule_once(
    stack: Stack, terra: Terra, reference_id: str, tmp_path: Path
) -> None:
    pattern = yaml_parse(template(QUEUE))["Resources"]["ConnectionEvents"]["Properties"]["EventPattern"]
    with (
        subscribed_queue(stack, pattern) as (queues, url),
        running(QUEUE, tmp_path, {**aws(stack), "QUEUE_URL": url}) as output,
    ):
        user_id = new_user_id()
        deliver(terra, auth_event(user_id, reference_id), deauth_event(user_id, reference_id))
        eventually(lambda: reference_id in output.read_text())
        again = {"detail": {**samples()[0], "event_id": rows(tmp_path / "events.db", "SELECT * FROM seen")[-1][0]}}
        other = {"detail": {**samples()[0], "event_id": "evt_other"}}
        for event in (again, other):
            queues.send_message(QueueUrl=url, MessageBody=json.dumps(event))
        eventually(lambda: "alice" in output.read_text())
        lines = [line for line in output.read_text().splitlines() if reference_id in line or "alice" in line]
    assert lines[0] == f"disconnected {reference_id} {user_id}"
    assert len(lines) == 2


# --- the templates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heading", [FUNCTION, QUEUE])
def test_the_template_of_a_consumer_is_valid_and_imports_the_bus(heading: str) -> None:
    text = template(heading)
    assert lint(text, regions=["us-east-1"]) == []
    assert {"Fn::ImportValue": "terra-connections-dev-EventBusName"} in names_of_buses(yaml_parse(text))


def names_of_buses(value: Any) -> list[Any]:  # noqa: ANN401 - JSON
    if isinstance(value, list):
        return [found for each in value for found in names_of_buses(each)]
    if not isinstance(value, dict):
        return []
    own = [value["EventBusName"]] if "EventBusName" in value else []
    return own + [found for each in value.values() for found in names_of_buses(each)]
