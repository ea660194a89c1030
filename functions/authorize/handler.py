"""Lambda authorizer of the HTTP API (payload 2.0, simple response): identifies the caller.

It accepts service keys, and user tokens of the app's own issuer. API Gateway caches the response for all routes, so the
context only identifies the caller, and does not depend on the route.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from terra_connections import wiring

_service_keys = wiring.service_keys()
_user_tokens = wiring.user_tokens()


def lambda_handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Return the caller of a valid Authorization header; raises if it cannot be verified."""
    scheme, _, credential = (event.get("identitySource") or [""])[0].partition(" ")
    caller = _caller(credential.strip()) if scheme.lower() == "bearer" else None
    return {"isAuthorized": False} if caller is None else {"isAuthorized": True, "context": caller}


def _caller(credential: str) -> dict[str, str] | None:
    presented = _hash(credential)
    # Hashes are compared, so that the response time reveals neither the length nor the content of a key.
    if any(hmac.compare_digest(presented, _hash(key)) for key in _service_keys.values().values()):
        return {"caller": "service"}
    subject = _user_tokens.reference_id_of(credential) if _user_tokens else None
    return None if subject is None else {"caller": "user", "reference_id": subject}


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
