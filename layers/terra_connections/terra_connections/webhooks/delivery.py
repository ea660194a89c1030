"""One webhook delivery: its deduplication keys, its position, and how long its record is kept."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from terra_connections.connections.facts import Position
from terra_connections.webhooks.signature import Tolerance, VerifiedSignature

_READABLE_TRACE_ID = re.compile(r"[\x21-\x7e]{1,256}")
_ORDERING_TIMESTAMP = re.compile(r"[0-9]{1,15}", re.ASCII)
_RETRY_SPAN = timedelta(hours=25)
"""Terra retries for a little over a day. If it signs each retry again, `t` is later than the event by up to that."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The record of a delivery, without personal data.

    Attributes:
        ids: its keys. If one of them exists, the delivery is a duplicate.
        signed: the hash of what was signed: `t` and the body.
        type: the event's type, or `malformed`.
        received_at: in Unix milliseconds.
        ttl: the expiry of the record, in Unix seconds: later than that of its signature.
    """

    ids: tuple[str, ...]
    signed: str
    type: str
    received_at: int
    ttl: int


def delivery(
    *, trace_id: str | None, proof: VerifiedSignature, body: bytes, type_: str, now: datetime, tolerance: Tolerance
) -> Delivery:
    """Return the record of a delivery.

    The trace id is the same on every retry, but it is not signed: an attacker can replay a captured body with another
    trace id. Deliveries are therefore also deduplicated by the signed content.
    """
    ids = [_trace_key(trace_id)] if trace_id else []
    signed = hashlib.sha256(proof.timestamp.encode() + b"." + body).hexdigest()
    remembered = tolerance.past + tolerance.future + timedelta(days=1)
    return Delivery(
        ids=(*ids, f"signed:{signed}"),
        signed=signed,
        type=type_,
        received_at=int(now.timestamp() * 1000),
        ttl=int((now + remembered).timestamp()),
    )


def event_position(proof: VerifiedSignature, ordering_timestamp: str | None) -> Position:
    """Return the position of an event: its ordering timestamp, within the limits of the signature.

    X-Terra-Ordering-Timestamp (Unix milliseconds, set once when the event is emitted) is not signed and can be missing.
    It is capped at the second of the signature, and ignored if it is earlier than any retry of Terra allows. Otherwise
    an attacker who delivers a captured disconnect first could place it before the connection that it ends.
    """
    signed_at = proof.signed_at * 1000
    if ordering_timestamp is not None and _ORDERING_TIMESTAMP.fullmatch(ordering_timestamp.strip()):
        ordered_at = int(ordering_timestamp)
        if ordered_at >= signed_at - _RETRY_SPAN.total_seconds() * 1000:
            return Position(min(ordered_at, signed_at + 999))
    return Position(signed_at)


def _trace_key(trace_id: str) -> str:
    """Return the key of a trace id: readable for operators, or hashed if it is too long or has unusual characters."""
    if _READABLE_TRACE_ID.fullmatch(trace_id):
        return f"trace:{trace_id}"
    return f"trace-sha256:{hashlib.sha256(trace_id.encode('utf-8', 'surrogatepass')).hexdigest()}"
