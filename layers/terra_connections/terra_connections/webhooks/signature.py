"""Webhook signatures: `sign` creates one as Terra does, `verify` checks one.

Terra sends `t=<unix seconds>,v1=<hex>[,v1=<hex>...]`, where v1 is the HMAC-SHA256 of `"<t>." + raw body` under a
signing secret of the webhook destination (https://docs.tryterra.co, "Verifying signatures"). The deprecated duplicate
of the header may be joined to the first by a comma, so a value can contain several groups that each start with `t=`.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from terra_connections.errors import NotSigned

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_V1 = re.compile(r"[0-9a-f]{64}")
_MOST_VALUES = 8
"""The checked v1 values of one group: far more than a destination has secrets."""
_MOST_TIMES = 2
"""The checked `t` values of one delivery: those of its two headers. Each takes an HMAC of the whole body."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """The largest accepted difference between a signature's time and now, in the past and in the future."""

    past: timedelta
    future: timedelta


@dataclass(frozen=True, slots=True)
class VerifiedSignature:
    """The secret that matched, and the time of the signature.

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
    """Return the hexadecimal v1 signature of a body.

    >>> sign(b"123", "key", "12345678")
    'dca55eca8f595bd4d80250ab9609c7cbecec8e581c5c3822294f7c2ee1c99377'
    """
    mac = hmac.new(secret.encode(), timestamp.encode() + b".", hashlib.sha256)
    mac.update(body)
    return mac.hexdigest()


def verify(
    body: bytes, headers: Iterable[str], secrets: Mapping[str, str], *, now: datetime, tolerance: Tolerance
) -> VerifiedSignature:
    """Verify that Terra signed `body`.

    Args:
        body: the bytes as received; a body that was parsed and serialized again does not verify.
        headers: the values of X-Terra-Signature and Terra-Signature, if present.
        secrets: every active signing secret by name; two during a rotation.
        now: the receiver's time.
        tolerance: the largest accepted difference from now.

    Raises:
        NotSigned: there is no valid signature. The error is the same for every reason.
    """
    oldest = now.timestamp() - tolerance.past.total_seconds()
    latest = now.timestamp() + tolerance.future.total_seconds()
    timely = ((t, values) for t, values in _candidates(headers).items() if oldest <= int(t) <= latest)
    for timestamp, candidates in islice(timely, _MOST_TIMES):
        for name, secret in secrets.items():
            expected = sign(body, secret, timestamp)
            if any(hmac.compare_digest(expected, candidate) for candidate in candidates):
                return VerifiedSignature(name, timestamp)
    message = "no valid signature"
    raise NotSigned(message)


def _candidates(headers: Iterable[str]) -> dict[str, list[str]]:
    """Return each `t` with the well-formed v1 values of all its groups: 64 hexadecimal digits."""
    found: dict[str, list[str]] = {}
    for header in headers:
        timestamp, values = None, 0
        for part in header.split(","):
            key, _, value = part.strip().partition("=")
            if key == "t":
                timestamp, values = (value if _TIMESTAMP.fullmatch(value) else None), 0
            elif key == "v1" and timestamp is not None and values < _MOST_VALUES:
                values += 1
                if _V1.fullmatch(value):
                    found.setdefault(timestamp, []).append(value)
    return found
