"""Prove the sender of a webhook: `sign` as Terra does, and `verify` what arrives.

Terra sends `t=<unix seconds>,v1=<hex>[,v1=<hex>...]`, where v1 is the HMAC-SHA256 of `"<t>." + raw body` under a
signing secret of the webhook destination (https://docs.tryterra.co, "Verifying signatures"). The deprecated duplicate
of the header may arrive joined to the first by a comma, so a value can hold several groups that each start with `t=`.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from terra_connections.errors import NotSigned

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_MAX_GROUPS = 8


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a signature's time may lie from now, on both sides."""

    past: timedelta
    future: timedelta


@dataclass(frozen=True, slots=True)
class Proof:
    """Which secret matched, and when Terra signed.

    Attributes:
        secret_name: the name of the secret, never the secret.
        timestamp: `t`, exactly as it was signed.
    """

    secret_name: str
    timestamp: str

    @property
    def signed_at(self) -> int:
        """Unix seconds."""
        return int(self.timestamp)


def sign(body: bytes, secret: str, timestamp: str) -> str:
    """The hexadecimal v1 of a body.

    >>> sign(b"123", "key", "12345678")
    'dca55eca8f595bd4d80250ab9609c7cbecec8e581c5c3822294f7c2ee1c99377'
    """
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def verify(
    body: bytes, headers: Iterable[str], secrets: Mapping[str, str], *, now: datetime, tolerance: Tolerance
) -> Proof:
    """Prove that Terra sent `body`.

    Args:
        body: the bytes as received; anything that was parsed and written again does not verify.
        headers: the values of X-Terra-Signature and Terra-Signature, as far as they are there.
        secrets: every active signing secret by name; two during a rotation.
        now: the receiver's time.
        tolerance: how old and how far ahead a signature may be.

    Raises:
        NotSigned: nothing proves it. Why is not told: every trouble is the same "no".
    """
    now_seconds = now.timestamp()
    for timestamp, candidates in _groups(headers):
        age = now_seconds - int(timestamp)
        if not -tolerance.future.total_seconds() <= age <= tolerance.past.total_seconds():
            continue
        for name, secret in secrets.items():
            expected = sign(body, secret, timestamp).encode()
            # As bytes, since compare_digest refuses text that is not ASCII.
            if any(hmac.compare_digest(expected, candidate.encode("utf-8", "replace")) for candidate in candidates):
                return Proof(name, timestamp)
    message = "no valid signature"
    raise NotSigned(message)


def _groups(headers: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """Each `t` with the v1 values that follow it, up to a bound that no honest sender reaches."""
    groups: list[tuple[str, list[str]]] = []
    for header in headers:
        open_group: list[str] | None = None
        for part in header.split(","):
            key, _, value = part.strip().partition("=")
            if key == "t":
                open_group = []
                if _TIMESTAMP.fullmatch(value):
                    groups.append((value, open_group))
            elif key == "v1" and open_group is not None and len(open_group) < _MAX_GROUPS:
                open_group.append(value)
    return iter(groups[:_MAX_GROUPS])
