"""Idempotency keys: the right to be the one request of a key."""

from dataclasses import dataclass
from datetime import timedelta

CLAIM_LEASE = timedelta(seconds=30)
"""A claim whose request died is free again after this; no request lives longer."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to be the one request of an idempotency key.

    Attributes:
        claim_id: the key that it is stored under.
        token: random; tells this request's claim from that of one which took over.
        body_hash: what the key stands for.
    """

    claim_id: str
    token: str
    body_hash: str
