"""Keyed hashes in the place of a `reference_id`.

A plain hash of a `reference_id` can be reversed by trying ids. These need a key that only this stack has
(HMAC-SHA256), so they are pseudonyms: only with the key can an id and its pseudonym be matched.
Each purpose has its own names, so a name in the log is the key of no item.
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
    """Makes the pseudonyms of one stack.

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
        """The name of a user in logs: the same user has the same one."""
        return self._of("log", reference_id)[:_SHOWN_IN_LOGS]

    def in_keys(self, reference_id: ReferenceId) -> str:
        """The name of a user in the keys of items that must not name them: tombstones, counts, what they have begun."""
        return self._of("user", reference_id)

    def _of(self, purpose: str, reference_id: ReferenceId) -> str:
        text = f"{purpose}:{reference_id}".encode("utf-8", "surrogatepass")
        return hmac.new(self.key.encode(), text, hashlib.sha256).hexdigest()
