"""Lambda authorizer of the HTTP API (payload 2.0, simple response): who calls?

A service key is the only thing that opens. Its answer is cached by API Gateway for every route, so the context says who
the caller is and nothing about the route.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from terra_connections import wiring

_service_keys = wiring.service_keys()


def lambda_handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Answer whether the Authorization header holds a valid service key; raises if the keys cannot be read."""
    scheme, _, key = (event.get("identitySource") or [""])[0].partition(" ")
    presented = _hash(key.strip())
    # Hashes, so that neither length nor content shows in time; all are compared, whichever matches.
    matches = [hmac.compare_digest(presented, _hash(valid)) for valid in _service_keys.values().values()]
    if scheme.lower() != "bearer" or not any(matches):
        return {"isAuthorized": False}
    return {"isAuthorized": True, "context": {"caller": "service"}}


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
