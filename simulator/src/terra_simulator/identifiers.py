"""Identifiers, tokens and choices: random, or with a seed the same in every run.

With a seed, each value is a function of the seed and of the number of values before it. A simulator has a process of
its own, so the seed applies to the process.
"""

import hashlib
import secrets
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class _Source:
    def __init__(self) -> None:
        self.seed: int | None = None
        self.drawn = 0

    def random_bytes(self, length: int) -> bytes:
        if self.seed is None:
            return secrets.token_bytes(length)
        self.drawn += 1
        return hashlib.shake_256(f"{self.seed}:{self.drawn}".encode()).digest(length)


_SOURCE = _Source()


def use_seed(seed: int | None, *, drawn: int = 0) -> None:
    """Begin a sequence of values.

    Args:
        seed: None makes every value random.
        drawn: how many values of the sequence were used before.
    """
    _SOURCE.seed, _SOURCE.drawn = seed, drawn


def drawn() -> int:
    """Return how many values of the sequence are used."""
    return _SOURCE.drawn


def new_id() -> str:
    """Return an id in Terra's format for users, sessions and deliveries."""
    return str(uuid.UUID(bytes=_SOURCE.random_bytes(16), version=4))


def token_hex(length: int) -> str:
    """Return a token of so many bytes, as hexadecimal text."""
    return _SOURCE.random_bytes(length).hex()


def token_urlsafe(length: int) -> str:
    """Return a token of so many bytes, as text for a URL."""
    return urlsafe_b64encode(_SOURCE.random_bytes(length)).rstrip(b"=").decode()


def below(limit: int) -> int:
    """Return a number from 0 on, below a limit of at most 64 bits."""
    return int.from_bytes(_SOURCE.random_bytes(16)) % limit


def fraction() -> float:
    """Return a number from 0 on, below 1."""
    return below(1 << 53) / (1 << 53)


def choice(items: Sequence[Item]) -> Item:
    """Return one of some items."""
    return items[below(len(items))]


def shuffled(items: Sequence[Item]) -> list[Item]:
    """Return the items in another order, if there are several."""
    left, chosen = list(items), list[Item]()
    while left:
        chosen.append(left.pop(below(len(left))))
    return chosen if chosen != list(items) else chosen[::-1]
