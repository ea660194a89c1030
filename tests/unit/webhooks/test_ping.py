"""A ping is read tolerantly, identified by its body, and passed on in a message that has only what a fetch needs."""

import json
from typing import Any

import pytest

from terra_connections.connections.facts import Position
from terra_connections.ids import UserId
from terra_connections.webhooks.ping import Announced, FetchOrder, Ping, ping_digest, ping_from

URL = "https://payloads.example.com/payloads/1.json?X-Amz-Signature=0a"
PING = {"type": "s3_payload", "status": "success", "url": URL, "expires_in": 300}
ORDER = FetchOrder(Announced(ping_digest(b"{}"), 1_700_000_000, Position(1_700_000_000_123), 1_700_100_000), URL, 300)


@pytest.mark.parametrize(
    ("more", "user_id"),
    [
        ({}, None),
        ({"payload_reference": "p"}, None),
        ({"user": {"user_id": "u", "provider": "FITBIT"}}, "u"),
        ({"user_id": "u", "reference_id": "r"}, "u"),
        ({"user": None, "user_id": "u"}, "u"),
        ({"user": {"user_id": "../x"}}, None),
        ({"user_id": 7}, None),
    ],
)
def test_a_ping_may_name_its_user(more: dict[str, Any], user_id: str | None) -> None:
    assert ping_from(PING | more) == Ping(URL, 300, UserId(user_id) if user_id else None)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "error"},
        {"status": None},
        {"url": None},
        {"url": ""},
        {"url": 7},
        {"expires_in": "300"},
        {"expires_in": None},
        {"expires_in": True},
        {"expires_in": 1.5},
    ],
)
def test_a_ping_without_a_required_member_is_none(change: dict[str, Any]) -> None:
    assert ping_from(PING | change) is None


@pytest.mark.parametrize("content", [None, [], "x", 7])
def test_other_json_is_no_ping(content: object) -> None:
    assert ping_from(content) is None


def test_a_ping_has_one_identity_whenever_it_is_signed() -> None:
    body = json.dumps(PING).encode()
    assert ping_digest(body) == ping_digest(bytes(body))
    assert ping_digest(body) != ping_digest(body + b" ")


def test_a_message_is_read_as_it_was_sent() -> None:
    assert FetchOrder.parse(ORDER.as_text()) == ORDER


MESSAGES = ["", "x", "[]", "{}", '{"delivery": {}, "url": "u", "expires_in": 1}', "null"]


@pytest.mark.parametrize(
    "text", [*MESSAGES, ORDER.as_text().replace(ORDER.delivery.digest, "x"), ORDER.as_text().replace('"url"', '"x"')]
)
def test_another_message_is_rejected_without_being_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not a payload to fetch$") as error:
        FetchOrder.parse(text)
    assert error.value.__cause__ is None
