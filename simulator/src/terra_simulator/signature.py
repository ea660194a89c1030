"""Sign a webhook as Terra does.

Terra's documentation: the header's value is `t=<unix seconds>,v1=<lowercase hex>[,v1=...]`, and v1 is
HMAC-SHA256 over "<t>." followed by the raw bytes of the body. While a secret is being replaced there are two v1.
The simulator has its own code on purpose: shared code would repeat a receiver's mistake in the sender that tests it.
"""

import hashlib
import hmac
from collections.abc import Sequence


def sign(body: bytes, *, t: int, secrets: Sequence[str]) -> str:
    """Return the value of the signature header, with one v1 per secret."""
    signed = f"{t}.".encode() + body
    groups = [f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}" for secret in secrets]
    return ",".join([f"t={t}", *groups])
