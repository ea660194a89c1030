"""docs/events.md has a sample of every event, as the code publishes it, and describes the events of a reconnect."""

import json
import re
from datetime import UTC, date, datetime
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from terra_connections.change_events.change_event import ChangeType, current_connections
from terra_connections.connections.facts import (
    Facts,
    Position,
    TerraUser,
    confirmed_facts,
    error_facts,
    reconnect_facts,
    revocation_facts,
)
from terra_connections.data.quiet import went_quiet
from terra_connections.ids import ReferenceId, UserId
from tests.support.change_stream import Table, at
from tests.support.documents import blocks, closed, event_schema, section

Detail = dict[str, Any]

ALICE = ReferenceId("alice")
OLD, NEW = UserId("0b5e7f3a-4a4c-4c3e-9f57-2d5a1d6b6c01"), UserId("7d1c9f52-8a3b-4f0e-b7a6-5e2f8c9d0a02")
READ_AFTER = 850
"""Milliseconds between a write and the reading of the list."""


def user(user_id: UserId, *scopes: str) -> TerraUser:
    return TerraUser(user_id, owner=ALICE, provider="FITBIT", scopes=scopes or ("ACTIVITY", "SLEEP"))


def published() -> list[Detail]:
    """Return the details of the events of one connection, from a login to an erasure, in order."""
    table = Table()
    steps: list[tuple[Facts, ...]] = [
        (confirmed_facts(user(OLD), at(1)),),
        (error_facts(user(OLD), at(2)),),
        (confirmed_facts(user(OLD), at(3)),),
        (confirmed_facts(user(OLD, "ACTIVITY"), at(4)),),
        (confirmed_facts(user(NEW), at(5)),),
        tuple(reconnect_facts(user(NEW), user(OLD), at(6))),
        (confirmed_facts(user(OLD), at(0)),),
        (revocation_facts(user(NEW), at(8), by="deauth"),),
        (),
    ]
    details: list[Detail] = []
    for step in steps:
        changes = table.write(*step) if step else table.erase(NEW)
        for change in changes:
            for event in table.events([change]):
                connections = current_connections(event, change, table.facts, table.facts)
                detail = event.detail(connections, Position(event.at + READ_AFTER))
                details.append(json.loads(json.dumps(detail)))
    return [*details, quiet_detail()]


def quiet_detail() -> Detail:
    """Return the detail of the event about a connection without data."""
    table = Table()
    table.write(confirmed_facts(user(OLD), at(1)))
    [connection] = table.listed(ALICE)
    checked_at = datetime(2025, 6, 23, 0, 12, 7, tzinfo=UTC)
    event = went_quiet(connection, ALICE, date(2025, 6, 15), now=checked_at)
    detail = event.detail([connection], Position(event.at + READ_AFTER))
    return dict(json.loads(json.dumps(detail)))


def text_of(detail: Detail) -> str:
    """Return a detail with a line for each member, and for each connection."""

    def value_of(value: object) -> str:
        if isinstance(value, list) and value:
            return "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]"
        return json.dumps(value)

    return "{\n  " + ",\n  ".join(f"{json.dumps(name)}: {value_of(value)}" for name, value in detail.items()) + "\n}\n"


def test_the_document_has_a_sample_of_every_event() -> None:
    samples = blocks(section("docs/events.md", "Samples"), "json")
    expected = {detail["type"]: text_of(detail) for detail in reversed(published())}
    assert expected.keys() == set(ChangeType)
    assert sorted(samples) == sorted(expected.values())


def test_every_sample_has_the_documented_schema() -> None:
    validator = Draft202012Validator(closed(event_schema()), format_checker=FormatChecker())
    for detail in published():
        validator.validate(detail)


def test_the_schema_has_the_types_of_the_code() -> None:
    assert event_schema()["properties"]["type"]["enum"] == list(ChangeType)
    listed = re.findall(r"^\| `(\w+)` \|", section("docs/events.md", "Types"), re.MULTILINE)
    assert listed == list(ChangeType)


def test_the_documented_sequence_of_a_reconnect_is_published() -> None:
    begun, reconnected = published()[4:6]
    old = published()[0]["connection"]["connection_id"]
    assert (begun["type"], begun["connection"]["user_id"]) == ("connected", NEW)
    assert (reconnected["type"], reconnected["connection"]["connection_id"]) == ("reconnected", old)
    assert reconnected["previous"] == {"connection_id": old, "user_id": OLD}
    assert reconnected["replaces"] == [{"connection_id": begun["connection"]["connection_id"], "user_id": NEW}]
    assert [each["connection_id"] for each in reconnected["connections"]] == [old]
    rows = re.findall(r"^\| `(\w+)` \|", section("docs/events.md", "The events of a reconnect"), re.MULTILINE)
    assert rows == ["connected", "reconnected"]
