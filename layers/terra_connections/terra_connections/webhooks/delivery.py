"""One webhook delivery: by which keys it is known, when it was, and how long that is remembered."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from terra_connections.connections.facts import Position
from terra_connections.webhooks.signature import Proof, Tolerance

_READABLE_TRACE_ID = re.compile(r"[\x21-\x7e]{1,256}")
_ORDERING_TIMESTAMP = re.compile(r"[0-9]{1,15}", re.ASCII)
_RETRY_SPAN = timedelta(hours=25)
"""Terra retries for a little over a day. Should it sign each retry anew, `t` is later than the event by as much."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is recorded of a delivery: nothing personal.

    Attributes:
        ids: its keys. Either one present means that the delivery was taken before.
        type: the event's type, or `malformed`.
        received_at: unix milliseconds.
        ttl: unix seconds at which the record may go: later than its signature is accepted.
    """

    ids: tuple[str, ...]
    type: str
    received_at: int
    ttl: int


def delivery(
    *, trace_id: str | None, proof: Proof, body: bytes, type_: str, now: datetime, tolerance: Tolerance
) -> Delivery:
    """A delivery as it is recorded.

    The trace id is the same on every retry, but it is not signed: whoever has captured a body can send it again under
    another one. So a delivery is also known by what was signed.
    """
    ids = [_trace_key(trace_id)] if trace_id else []
    signed = hashlib.sha256(proof.timestamp.encode() + b"." + body).hexdigest()
    remembered = tolerance.past + tolerance.future + timedelta(days=1)
    return Delivery(
        ids=(*ids, f"signed:{signed}"),
        type=type_,
        received_at=int(now.timestamp() * 1000),
        ttl=int((now + remembered).timestamp()),
    )


def position(proof: Proof, ordering_timestamp: str | None) -> Position:
    """When an event was, for ordering: its ordering timestamp, within what the signature allows.

    X-Terra-Ordering-Timestamp (unix milliseconds, stamped once at emission) is not signed and can be missing. It never
    counts past the second in which the event was signed, and not at all where no retry of Terra's can be so late: else
    anyone who delivers a captured disconnect first could place it before the connection that it ends.
    """
    signed_at = proof.signed_at * 1000
    if ordering_timestamp is not None and _ORDERING_TIMESTAMP.fullmatch(ordering_timestamp.strip()):
        ordered_at = int(ordering_timestamp)
        if ordered_at >= signed_at - _RETRY_SPAN.total_seconds() * 1000:
            return Position(min(ordered_at, signed_at + 999))
    return Position(signed_at)


def _trace_key(trace_id: str) -> str:
    """Kept readable for whoever looks a delivery up; hashed where it is longer than a key should be, or odd."""
    if _READABLE_TRACE_ID.fullmatch(trace_id):
        return f"trace:{trace_id}"
    return f"trace-sha256:{hashlib.sha256(trace_id.encode('utf-8', 'surrogatepass')).hexdigest()}"
