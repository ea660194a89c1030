"""Every signed delivery is acknowledged and recorded by its type. Its content counts only if it can be parsed."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from terra_connections.connections.facts import Position
from terra_connections.webhooks.payload import parse
from tests.support.api import connections_of
from tests.support.tables import Tables
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.webhooks import Webhook

Make = Callable[..., Webhook]

KNOWN = "00000000-known-user-00000000"


def with_user(type_: str, user: object, **more: object) -> bytes:
    return json.dumps({"type": type_, "status": "success", "user": user, **more}).encode()


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"type=auth&user_id=" + KNOWN.encode(),
    "half of it": b'{"type": "deauth", "status": "success", "user": {"user_id": "' + KNOWN.encode(),
    "not UTF-8": b'{"type": "deauth", "user": {"user_id": "\xff\xfe"}}',
    "a NUL byte": b'{"type": "deauth"\x00}',
    "a list": b'[{"type": "deauth"}]',
    "null": b"null",
    "a number": b"1e999",
    "a text": b'"deauth"',
    "no type": json.dumps({"user": {"user_id": KNOWN}}).encode(),
    "a type that is null": b'{"type": null}',
    "a type that is a list": b'{"type": ["deauth"]}',
    "an empty type": b'{"type": ""}',
    "a type with a line end": b'{"type": "deauth\\n"}',
    "a type with a lone surrogate": b'{"type": "\\ud800"}',
    "a type of 65 letters": json.dumps({"type": "x" * 65}).encode(),
    "auth without a user": with_user("auth", None),
    "auth of a list": with_user("auth", [KNOWN]),
    "auth of a text": with_user("auth", KNOWN),
    "deauth without a user": json.dumps({"type": "deauth", "status": "success"}).encode(),
    "no user_id": with_user("deauth", {"provider": "FITBIT"}),
    "a user_id that is null": with_user("deauth", {"user_id": None}),
    "a user_id that is a number": with_user("deauth", {"user_id": 7}),
    "a user_id that is a list": with_user("deauth", {"user_id": [KNOWN]}),
    "an empty user_id": with_user("deauth", {"user_id": ""}),
    "a user_id of 129 letters": with_user("deauth", {"user_id": "x" * 129}),
    "a user_id with a slash": with_user("deauth", {"user_id": f"{KNOWN}/../x"}),
    "a user_id with a line end": with_user("deauth", {"user_id": f"{KNOWN}\n"}),
    "a user_id with a NUL": with_user("deauth", {"user_id": f"{KNOWN}\x00"}),
    "a user_id with a lone surrogate": with_user("deauth", {"user_id": f"{KNOWN}\ud800"}),
    "a user_id that is a tombstone's": with_user("auth", {"user_id": "erased:0000"}),
    "auth without a status": json.dumps({"type": "auth", "user": {"user_id": KNOWN}}).encode(),
    "auth with an unknown status": json.dumps({"type": "auth", "status": "maybe", "user": {"user_id": KNOWN}}).encode(),
    "deep nesting": b'{"type": "deauth", "user": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "a number of 10,000 digits": b'{"type": "deauth", "n": ' + b"9" * 10_000 + b', "user": {}}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_body_is_recorded_and_changes_nothing(
    browser: httpx.Client, tables: Tables, webhook: Make, body: bytes
) -> None:
    webhook(auth_event(KNOWN, None), ordering=1000).post(browser)
    known, before = tables.connection(KNOWN), tables.count()
    delivery = webhook(body)
    response = delivery.post(browser)
    assert (response.status_code, response.json()) == (200, {"status": "accepted"})
    assert [record["type"] for record in tables.deliveries(delivery.keys)] == ["malformed"] * 2
    assert tables.connection(KNOWN) == known
    # A body that may contain data has a pointer to its object, too.
    pointers = parse(body, Position(0)).has_data
    assert tables.count() == (*before[:2], before[2] + 2 + pointers)


OTHER_TYPES = [
    "activity",
    "sleep",
    "daily",
    "body",
    "nutrition",
    "menstruation",
    "planned_workout",
    "hormone",
    "health_observation",
    "athlete",
    "lab_report.completed",
    "lab_report.failed",
    "s3_payload",
    "large_request_processing",
    "large_request_sending",
    "healthcheck",
    "processing",
    "rate_limit_hit",
    "google_no_datasource",
    "something-that-will-come",
    "AUTH",
    "Deauth",
]


@pytest.mark.parametrize("type_", OTHER_TYPES)
def test_any_other_type_is_recorded_and_changes_no_connection(
    browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str, type_: str
) -> None:
    webhook(auth_event(user_id := new_user_id(), reference_id)).post(browser)
    webhook(deauth_event(user_id, reference_id)).post(browser)
    known, before = tables.connection(user_id), tables.count()
    user = {"user_id": user_id, "reference_id": f"{reference_id}-other", "provider": "OURA", "active": True}
    for subject in (user, {**user, "user_id": new_user_id()}):
        delivery = webhook({"type": type_, "status": "success", "user": subject, "data": [{"x": 1}]})
        assert delivery.post(browser).json() == {"status": "accepted"}
        assert [record["type"] for record in tables.deliveries(delivery.keys)] == [type_] * 2
    assert tables.connection(user_id) == known
    pointers = parse(delivery.body, Position(0)).is_data_delivery
    assert tables.count() == (*before[:2], before[2] + 2 * (2 + pointers))


@pytest.mark.parametrize(
    ("user", "scopes", "provider"),
    [
        ({"scopes": "AB," * 1_000_000}, [], "FITBIT"),
        ({"scopes": "," * 20_000}, [], "FITBIT"),
        ({"scopes": "A" * 26_000}, [], "FITBIT"),
        ({"scopes": "SLEEP,\ud800"}, [], "FITBIT"),
        ({"scopes": "SLEEP,\x00"}, [], "FITBIT"),
        ({"scopes": ["SLEEP"]}, [], "FITBIT"),
        ({"scopes": None}, [], "FITBIT"),
        ({"scopes": ""}, [], "FITBIT"),
        ({"scopes": " SLEEP , DAILY,,SLEEP "}, ["DAILY", "SLEEP"], "FITBIT"),
        ({"scopes": "\u00e9,\U0001f600"}, ["\u00e9", "\U0001f600"], "FITBIT"),
        ({"provider": None}, ["ACTIVITY", "SLEEP"], "UNKNOWN"),
        ({"provider": 7}, ["ACTIVITY", "SLEEP"], "UNKNOWN"),
        ({"provider": "x" * 65}, ["ACTIVITY", "SLEEP"], "UNKNOWN"),
        ({"provider": "FIT BIT"}, ["ACTIVITY", "SLEEP"], "UNKNOWN"),
        ({"provider": "\ud800"}, ["ACTIVITY", "SLEEP"], "UNKNOWN"),
        ({"provider": "fitbit"}, ["ACTIVITY", "SLEEP"], "FITBIT"),
        ({"active": "no", "created_at": 0, "last_webhook_update": []}, ["ACTIVITY", "SLEEP"], "FITBIT"),
    ],
)
def test_unusual_values_of_a_user_do_not_prevent_the_connection(
    browser: httpx.Client,
    api: httpx.Client,
    webhook: Make,
    reference_id: str,
    user: dict[str, Any],
    scopes: list[str],
    provider: str,
) -> None:
    event = auth_event(new_user_id(), reference_id)
    event["user"].update(user)
    assert webhook(event).post(browser).json() == {"status": "accepted"}
    [connection] = connections_of(api, reference_id)
    assert (connection["scopes"], connection["provider"]) == (scopes, provider)


@pytest.mark.parametrize(
    "malformed",
    ["", "null", None, 7, ["a"], "x" * 257, "x" * 100_000, "a\x00b", "a\nb", "\x7f", "\ud800", "a\udfff"],
    ids=lambda malformed: repr(malformed)[:20],
)
def test_an_invalid_reference_id_is_not_an_owner(
    browser: httpx.Client, api: httpx.Client, webhook: Make, malformed: object
) -> None:
    event = auth_event(user_id := new_user_id(), None)
    event["user"]["reference_id"] = malformed
    assert webhook(event).post(browser).json() == {"status": "accepted"}
    connection = api.get(f"/connections/{user_id}").json()
    assert (connection["status"], connection["reference_id"]) == ("connected", None)


def test_of_duplicate_keys_the_last_is_read(browser: httpx.Client, api: httpx.Client, webhook: Make) -> None:
    user_id = new_user_id()
    body = f'{{"type": "deauth", "type": "auth", "status": "success", "user": 1, "user": {{"user_id": "{user_id}"}}}}'
    assert webhook(body.encode()).post(browser).json() == {"status": "accepted"}
    assert api.get(f"/connections/{user_id}").json()["status"] == "connected"


def test_numbers_outside_the_range_of_dynamodb_are_accepted(
    browser: httpx.Client, api: httpx.Client, webhook: Make, reference_id: str
) -> None:
    event = json.dumps(auth_event(new_user_id(), reference_id))
    for number in ("9" * 60, "1e400", "-1e-400", "NaN", "-Infinity", "1." + "3" * 80):
        body = f'{{"n": {number}, "flow_id": {number}, "widget_session_id": {number}, {event[1:]}'
        assert webhook(body.encode()).post(browser).json() == {"status": "accepted"}
    assert len(connections_of(api, reference_id)) == 1


def test_a_large_body_is_accepted(browser: httpx.Client, webhook: Make, reference_id: str) -> None:
    event = auth_event(new_user_id(), reference_id, padding="x" * 4_000_000)
    assert webhook(event).post(browser).json() == {"status": "accepted"}


def test_a_body_above_the_limit_of_the_gateway_is_413(browser: httpx.Client, webhook: Make) -> None:
    assert webhook(b"x" * (10 * 1024 * 1024 + 1)).post(browser).status_code == 413
