"""Requests to NotifyUrl: their key, and the types of their events."""

import json
from functools import cache
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from local.notifications import KEY_HEADER
from local.testing import Stack
from tests.support.bus import subscribed_queue
from tests.support.clients import Client, Failure
from tests.support.documents import blocks, closed, section
from tests.support.terra import Terra
from tests.support.waiting import eventually
from tools.clients import types_document

KEY = "key-of-this-test"
HEADERS = {KEY_HEADER.lower(): KEY}


def envelope(type_: str, detail: dict[str, Any]) -> str:
    event = {"version": "0", "id": "1", "detail-type": type_, "source": "terra-connections", "account": "123456789012"}
    return json.dumps(
        event | {"time": "2026-11-20T17:00:00Z", "region": "eu-west-1", "resources": [], "detail": detail}
    )


def documented() -> list[tuple[str, dict[str, Any]]]:
    changes = [json.loads(text) for text in blocks(section("docs/events.md", "Samples"), "json")]
    [data] = [json.loads(text) for text in blocks(section("docs/data.md", "The event"), "json")]
    return [*((change["type"], change) for change in changes), ("data_received", data)]


@cache
def validator() -> Draft202012Validator:
    document = types_document()
    schemas = {name: closed(schema) for name, schema in document["components"]["schemas"].items()}
    whole = {"$ref": "#/components/schemas/Event", "components": {"schemas": schemas}}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def test_every_documented_event_is_read(client: Client) -> None:
    samples = documented()
    assert len(samples) == 10
    for type_, detail in samples:
        event = client.read_notification(HEADERS, envelope(type_, detail), KEY)
        assert (event["detail-type"], event["detail"]) == (type_, detail)
        validator().validate(event)


def test_events_of_the_running_stack_have_the_types(
    client: Client, stack: Stack, terra: Terra, reference_id: str
) -> None:
    pattern = {"detail-type": ["connected", "data_received"], "detail": {"reference_id": [reference_id]}}
    with subscribed_queue(stack, pattern) as (queues, url):
        user = terra.connect(reference_id)
        terra.happen(user["user_id"], "data")
        bodies: dict[str, str] = {}

        def received() -> bool:
            for message in queues.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
                bodies[json.loads(message["Body"])["detail-type"]] = message["Body"]
            return bodies.keys() == {"connected", "data_received"}

        eventually(received)
    for type_, body in bodies.items():
        event = client.read_notification(HEADERS, body, KEY)
        assert event["detail-type"] == type_
        assert event["detail"]["user_id" if type_ == "data_received" else "reference_id"]
        validator().validate(event)


def test_an_event_of_a_type_that_was_added_later_is_ignored(client: Client) -> None:
    assert client.read_notification(HEADERS, envelope("added_later", {}), KEY) is None


@pytest.mark.parametrize("keys", [KEY, [KEY], ["the new key", KEY]])
def test_each_accepted_key_is_accepted(client: Client, keys: str | list[str]) -> None:
    assert client.read_notification({KEY_HEADER: KEY}, envelope(*documented()[0]), keys)


@pytest.mark.parametrize(
    ("headers", "keys"),
    [
        ({}, KEY),
        ({KEY_HEADER: ""}, KEY),
        ({KEY_HEADER: KEY[:-1]}, KEY),
        ({KEY_HEADER: KEY + "x"}, KEY),
        ({KEY_HEADER: KEY.upper()}, KEY),
        ({KEY_HEADER: ""}, ""),
        ({}, ["", ""]),
        ({KEY_HEADER: KEY}, []),
    ],
)
def test_another_key_is_rejected(client: Client, headers: dict[str, str], keys: str | list[str]) -> None:
    with pytest.raises(Failure) as error:
        client.read_notification(headers, envelope(*documented()[0]), keys)
    assert error.value.name == "InvalidNotification"


@pytest.mark.parametrize("body", ["", "[]", "{}", '"text"', '{"detail-type": "connected", "detail": null}'])
def test_a_body_that_is_no_event_is_an_error(client: Client, body: str) -> None:
    with pytest.raises(Failure) as error:
        client.read_notification(HEADERS, body, KEY)
    assert error.value.name in {"ValueError", "JSONDecodeError", "TypeError", "SyntaxError"}
