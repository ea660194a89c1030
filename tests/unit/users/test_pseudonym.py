"""A user's pseudonym needs the stack's own key."""

import hashlib
import string

import pytest

from terra_connections.errors import Misconfigured
from terra_connections.ids import ReferenceId
from terra_connections.users.pseudonym import SHORTEST_KEY, Pseudonyms

ADA = ReferenceId("ada@example.com")
KEY = "k" * SHORTEST_KEY


def test_each_user_has_one_pseudonym_of_their_own() -> None:
    assert Pseudonyms(KEY).in_logs(ADA) == Pseudonyms(KEY).in_logs(ADA)
    assert Pseudonyms(KEY).in_logs(ADA) != Pseudonyms(KEY).in_logs(ReferenceId("Ada@example.com"))


def test_pseudonyms_cannot_be_guessed_without_the_key() -> None:
    names = {Pseudonyms(KEY).in_logs(ADA), Pseudonyms(KEY).in_keys(ADA)}
    guesses = [hashlib.sha256(text.encode()).hexdigest() for text in (ADA, f"log:{ADA}", f"user:{ADA}")]
    assert not [guess for guess in guesses for name in names if guess.startswith(name)]
    assert Pseudonyms("j" * SHORTEST_KEY).in_logs(ADA) not in names


def test_the_pseudonym_in_logs_is_not_part_of_the_one_in_keys() -> None:
    assert not Pseudonyms(KEY).in_keys(ADA).startswith(Pseudonyms(KEY).in_logs(ADA))


def test_any_reference_id_has_a_pseudonym() -> None:
    for text in ("\ud800", "é", "e\u0301", "x" * 256):
        assert set(Pseudonyms(KEY).in_keys(ReferenceId(text))) <= set(string.hexdigits)


@pytest.mark.parametrize("key", ["", "short", "k" * (SHORTEST_KEY - 1)])
def test_a_short_key_is_rejected(key: str) -> None:
    with pytest.raises(Misconfigured, match="PSEUDONYM_KEY"):
        Pseudonyms(key)
