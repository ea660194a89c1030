"""Sign a webhook as Terra does.

Terra's documentation: the header's value is `t=<unix seconds>,v1=<lowercase hex>[,v1=...]`, and v1 is
HMAC-SHA256 over "<t>." followed by the raw bytes of the body. While a secret is being replaced there are two v1.
This is the simulator's own code on purpose: a receiver's mistake must not be repeated by the sender it is tested with.
"""

import hashlib
import hmac
from collections.abc import Sequence


def sign(body: bytes, *, t: int, secrets: Sequence[str]) -> str:
    """Return the value of the signature header, with one v1 per secret."""
    signed = f"{t}.".encode() + body
    groups = [f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}" for secret in secrets]
    return ",".join([f"t={t}", *groups])
