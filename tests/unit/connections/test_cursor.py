"""Cursors: only this stack's own are accepted, and they reveal nothing about the key that they contain."""

import base64
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from terra_connections.connections.cursor import VALID_FOR, Cursors
from terra_connections.errors import InvalidRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OURS, OTHERS = Cursors("1" * 64), Cursors("2" * 64)
IDS = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=128)
KEYS = IDS | st.from_regex(r"erased:(user:)?[0-9a-f]{64}", fullmatch=True)
ALPHABET = string.ascii_letters + string.digits + "-_"


def message_of(cursor: str, *, of: Cursors = OURS, now: datetime = NOW) -> str:
    with pytest.raises(InvalidRequest) as error:
        of.open(cursor, now=now)
    [(field, message)] = error.value.errors
    assert field == "cursor"
    return message


@given(KEYS)
@example("x")
@example("x" * 128)
def test_a_cursor_contains_its_key_for_a_day(key: str) -> None:
    cursor = OURS.issue(key, now=NOW)
    assert OURS.open(cursor, now=NOW + VALID_FOR) == key
    assert "older than a day" in message_of(cursor, now=NOW + VALID_FOR + timedelta(seconds=1))


@given(KEYS, st.data())
def test_a_changed_cursor_is_rejected(key: str, data: st.DataObject) -> None:
    cursor = OURS.issue(key, now=NOW)
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from(sorted(set(ALPHABET) - {cursor[place]})))
    assert "has issued" in message_of(cursor[:place] + other + cursor[place + 1 :])
    assert "has issued" in message_of(cursor[:place])
    assert "has issued" in message_of(cursor + other)


@given(KEYS)
def test_the_cursor_of_another_stack_is_rejected(key: str) -> None:
    assert "has issued" in message_of(OTHERS.issue(key, now=NOW))


@given(KEYS, KEYS)
def test_parts_of_two_cursors_do_not_make_a_third(one: str, other: str) -> None:
    first, second = OURS.issue(one, now=NOW), OURS.issue(other, now=NOW + timedelta(seconds=1))
    assert "has issued" in message_of(first[:24] + second[24:])


@pytest.mark.parametrize(
    "malformed",
    [
        *("", "x", "null", "0", "a b", "%00", "\u00e9" * 40, "A" * 40, "A" * 400, "A" * 401, "=" * 40, "A" * 39 + "="),
        base64.urlsafe_b64encode(b'{"user_id": {"S": "7f1c2f3e-52c1-4f0e-9d0c-0d6f8f4c2b1a"}}').decode().rstrip("="),
        "7f1c2f3e-52c1-4f0e-9d0c-0d6f8f4c2b1a",
    ],
)
def test_a_malformed_cursor_is_rejected(malformed: str) -> None:
    assert "has issued" in message_of(malformed)


def test_cursors_reveal_neither_the_key_nor_that_two_keys_are_similar() -> None:
    key = "7f1c2f3e-52c1-4f0e-9d0c-0d6f8f4c2b1a"
    sealed = [
        base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        for cursor in (OURS.issue(key, now=NOW), OURS.issue(key[:-1] + "b", now=NOW))
    ]
    assert all(key.encode()[:8] not in each for each in sealed)
    same = sum(one == other for one, other in zip(*sealed, strict=True))
    assert same <= 5, "independent bytes are equal at one place in 256"
