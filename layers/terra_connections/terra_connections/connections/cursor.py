"""The cursor of GET /connections: where the next page starts, encrypted and authenticated with the stack's own key.

The content is the time of issue and a key of the table, which can be a `user_id`. The cipher is a synthetic IV: the tag
is an HMAC of the content, and the content is XORed with a key stream that SHAKE-256 derives from a second key and the
tag (the construction of RFC 5297, 2.6, with these primitives). The standard library has no cipher, and a package for it
would be loaded by the function that users call most (docs/decisions/0020-one-route-for-lists.md).
"""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from terra_connections.errors import InvalidRequest

VALID_FOR = timedelta(days=1)
"""A pass that rests for longer starts again: what it has delivered is out of date."""
_TAG = 16  # bytes
_TIME = 5  # bytes, for Unix seconds
_FORMAT = re.compile(r"[A-Za-z0-9_-]{30,400}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Cursors:
    """Issues and opens the cursors of one stack.

    Attributes:
        key: the stack's own secret. The keys of cursors are derived from it.
    """

    key: str

    def issue(self, start: str, *, now: datetime) -> str:
        """Return a cursor for a key of the table."""
        content = int(now.timestamp()).to_bytes(_TIME, "big") + start.encode()
        tag = self._tag(content)
        return _encoded(tag + self._mixed(content, tag))

    def open(self, cursor: str, *, now: datetime) -> str:
        """Return the key of the table in a cursor.

        Raises:
            InvalidRequest: this stack did not issue it, or did so more than a day ago.
        """
        sealed = _decoded(cursor)
        tag, content = sealed[:_TAG], self._mixed(sealed[_TAG:], sealed[:_TAG])
        # Base64 has several spellings of the same bytes; only the issued one is accepted.
        if not hmac.compare_digest(self._tag(content), tag) or _encoded(sealed) != cursor:
            raise InvalidRequest([("cursor", "is not a cursor that this API has issued; start again without it")])
        issued_at = int.from_bytes(content[:_TIME], "big")
        if now.timestamp() - issued_at > VALID_FOR.total_seconds():
            raise InvalidRequest([("cursor", "is older than a day; start again without it")])
        return content[_TIME:].decode()

    def _tag(self, content: bytes) -> bytes:
        return hmac.digest(self._derived("tag"), content, hashlib.sha256)[:_TAG]

    def _mixed(self, content: bytes, tag: bytes) -> bytes:
        """Encrypt or decrypt: both are the same."""
        stream = hashlib.shake_256(self._derived("stream") + tag).digest(len(content))
        return bytes(one ^ other for one, other in zip(content, stream, strict=True))

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self.key.encode(), f"cursor:{purpose}".encode(), hashlib.sha256)


def _decoded(cursor: str) -> bytes:
    """Return the bytes of a cursor; none if it is malformed, which no tag fits."""
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)) if _FORMAT.fullmatch(cursor) else b""
    except binascii.Error:
        return b""


def _encoded(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
