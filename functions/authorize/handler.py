"""Lambda authorizer of the HTTP API (payload 2.0, simple response): who calls?

A service key opens, and a token of the app's own issuer. The answer is cached by API Gateway for every route, so the
context says who the caller is and nothing about the route.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from terra_connections import wiring

_service_keys = wiring.service_keys()
_user_tokens = wiring.user_tokens()


def lambda_handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Answer whom the Authorization header proves to be calling; raises if that cannot be told."""
    scheme, _, credential = (event.get("identitySource") or [""])[0].partition(" ")
    caller = _caller(credential.strip()) if scheme.lower() == "bearer" else None
    return {"isAuthorized": False} if caller is None else {"isAuthorized": True, "context": caller}


def _caller(credential: str) -> dict[str, str] | None:
    presented = _hash(credential)
    # Hashes, so that neither length nor content shows in time.
    if any(hmac.compare_digest(presented, _hash(key)) for key in _service_keys.values().values()):
        return {"caller": "service"}
    subject = _user_tokens.subject_of(credential) if _user_tokens else None
    return None if subject is None else {"caller": "user", "reference_id": subject}


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
