"""A user's pseudonym needs the stack's own key."""

import hashlib
import string

import pytest

from terra_connections.errors import Misconfigured
from terra_connections.ids import ReferenceId
from terra_connections.users.pseudonym import SHORTEST_KEY, Pseudonyms

ADA = ReferenceId("ada@example.com")
KEY = "k" * SHORTEST_KEY


def test_the_same_user_has_the_same_pseudonym_and_another_user_another() -> None:
    assert Pseudonyms(KEY).in_logs(ADA) == Pseudonyms(KEY).in_logs(ADA)
    assert Pseudonyms(KEY).in_logs(ADA) != Pseudonyms(KEY).in_logs(ReferenceId("Ada@example.com"))


def test_whoever_lacks_the_key_cannot_find_a_user_by_trying_ids() -> None:
    names = {Pseudonyms(KEY).in_logs(ADA), Pseudonyms(KEY).in_keys(ADA)}
    guesses = [hashlib.sha256(text.encode()).hexdigest() for text in (ADA, f"log:{ADA}", f"user:{ADA}")]
    assert not [guess for guess in guesses for name in names if guess.startswith(name)]
    assert Pseudonyms("j" * SHORTEST_KEY).in_logs(ADA) not in names


def test_a_name_in_the_log_is_no_part_of_a_key() -> None:
    assert not Pseudonyms(KEY).in_keys(ADA).startswith(Pseudonyms(KEY).in_logs(ADA))


def test_any_reference_id_has_one() -> None:
    for text in ("\ud800", "é", "e\u0301", "x" * 256):
        assert set(Pseudonyms(KEY).in_keys(ReferenceId(text))) <= set(string.hexdigits)


@pytest.mark.parametrize("key", ["", "short", "k" * (SHORTEST_KEY - 1)])
def test_a_key_that_can_be_guessed_is_refused(key: str) -> None:
    with pytest.raises(Misconfigured, match="PSEUDONYM_KEY"):
        Pseudonyms(key)
