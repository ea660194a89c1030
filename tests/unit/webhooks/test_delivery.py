from datetime import UTC, datetime, timedelta

import pytest

from terra_connections.webhooks.delivery import Delivery, delivery, event_position
from terra_connections.webhooks.signature import Tolerance, VerifiedSignature

TOLERANCE = Tolerance(past=timedelta(hours=25), future=timedelta(minutes=5))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROOF = VerifiedSignature("main", "1700000000")


def delivered(trace_id: str | None, *, proof: VerifiedSignature = PROOF, body: bytes = b"{}") -> Delivery:
    return delivery(trace_id=trace_id, proof=proof, body=body, type_="auth", now=NOW, tolerance=TOLERANCE)


def test_a_delivery_is_identified_by_its_trace_id_and_by_its_signed_content() -> None:
    trace, signed = delivered("abc:chunk:1").ids
    assert trace == "trace:abc:chunk:1"
    assert signed.startswith("signed:")
    assert delivered("other").ids[1] == signed
    assert delivered("abc:chunk:1", proof=VerifiedSignature("main", "1700000001")).ids[1] != signed
    assert delivered("abc:chunk:1", body=b"{ }").ids[1] != signed


@pytest.mark.parametrize("absent", [None, ""])
def test_a_delivery_without_a_trace_id_is_identified_by_its_signed_content(absent: str | None) -> None:
    assert len(delivered(absent).ids) == 1


@pytest.mark.parametrize("trace_id", ["x" * 10_000, "a b", "ü", "\ud800", "\x00"])
def test_an_unusual_trace_id_is_hashed(trace_id: str) -> None:
    assert delivered(trace_id).ids[0].startswith("trace-sha256:")
    assert len(delivered(trace_id).ids[0]) < 100


def test_a_delivery_is_stored_longer_than_its_signature_is_accepted() -> None:
    assert delivered("a").ttl > (NOW + TOLERANCE.past + TOLERANCE.future).timestamp()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("1699999999500", 1699999999500),
        (" 1699999999500 ", 1699999999500),
        ("1700000000999", 1700000000999),
        ("1700000001000", 1700000000999),
        ("999999999999999", 1700000000999),
        ("1699910000000", 1699910000000),
        ("1699909999999", 1700000000000),
        ("0", 1700000000000),
        (None, 1700000000000),
        ("", 1700000000000),
        ("-1", 1700000000000),
        ("1.7e12", 1700000000000),
        ("9" * 5000, 1700000000000),
        ("１", 1700000000000),
    ],
)
def test_an_ordering_timestamp_is_limited_by_the_signature(header: str | None, expected: int) -> None:
    assert event_position(PROOF, header) == expected
