"""Idempotency keys: a claim ensures that only one request with a key is processed."""

from dataclasses import dataclass
from datetime import timedelta

CLAIM_LEASE = timedelta(seconds=30)
"""The claim of a failed request expires after this time. No request runs longer."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of a request on an idempotency key.

    Attributes:
        claim_id: the key of the stored item.
        token: random; distinguishes this request's claim from a later one on the same key.
        body_hash: the hash of the request's body.
    """

    claim_id: str
    token: str
    body_hash: str
