"""Keyed hashes that replace a `reference_id`.

A plain hash of a `reference_id` can be reversed by trying ids. These hashes (HMAC-SHA256) need a key that only this
stack has, so they are pseudonyms: an id and its pseudonym can only be matched with the key.
Each purpose has its own pseudonyms, so a pseudonym in the log is not the key of an item.
"""

import hashlib
import hmac
from dataclasses import dataclass

from terra_connections.errors import Misconfigured
from terra_connections.ids import ReferenceId

SHORTEST_KEY = 32
_SHOWN_IN_LOGS = 16  # hex digits


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Creates the pseudonyms of one stack.

    Attributes:
        key: the stack's own secret.

    Raises:
        Misconfigured: the key is shorter than 32 characters.
    """

    key: str

    def __post_init__(self) -> None:
        if len(self.key) < SHORTEST_KEY:
            message = f"PSEUDONYM_KEY has fewer than {SHORTEST_KEY} characters: it is the secret PseudonymKey."
            raise Misconfigured(message)

    def in_logs(self, reference_id: ReferenceId) -> str:
        """Return the pseudonym of a user in logs. It is stable per user."""
        return self._of("log", reference_id)[:_SHOWN_IN_LOGS]

    def in_keys(self, reference_id: ReferenceId) -> str:
        """Return the pseudonym of a user in the keys of tombstones, counts and started logins."""
        return self._of("user", reference_id)

    def _of(self, purpose: str, reference_id: ReferenceId) -> str:
        text = f"{purpose}:{reference_id}".encode("utf-8", "surrogatepass")
        return hmac.new(self.key.encode(), text, hashlib.sha256).hexdigest()
