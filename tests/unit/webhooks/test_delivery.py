from datetime import UTC, datetime, timedelta

import pytest

from terra_connections.webhooks.delivery import Delivery, delivery, event_position
from terra_connections.webhooks.signature import Tolerance, VerifiedSignature

TOLERANCE = Tolerance(past=timedelta(hours=25), future=timedelta(minutes=5))
NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROOF = VerifiedSignature("main", "1700000000")


def record(trace_id: str | None, *, proof: VerifiedSignature = PROOF, body: bytes = b"{}") -> Delivery:
    return delivery(trace_id=trace_id, proof=proof, body=body, type_="auth", now=NOW, tolerance=TOLERANCE)


def test_a_delivery_is_known_by_its_trace_id_and_by_what_was_signed() -> None:
    trace, signed = record("abc:chunk:1").ids
    assert trace == "trace:abc:chunk:1"
    assert signed.startswith("signed:")
    assert record("other").ids[1] == signed
    assert record("abc:chunk:1", proof=VerifiedSignature("main", "1700000001")).ids[1] != signed
    assert record("abc:chunk:1", body=b"{ }").ids[1] != signed


@pytest.mark.parametrize("absent", [None, ""])
def test_without_a_trace_id_what_was_signed_is_enough(absent: str | None) -> None:
    assert len(record(absent).ids) == 1


@pytest.mark.parametrize("odd", ["x" * 10_000, "a b", "ü", "\ud800", "\x00"])
def test_an_odd_trace_id_is_still_one(odd: str) -> None:
    assert record(odd).ids[0].startswith("trace-sha256:")
    assert len(record(odd).ids[0]) < 100


def test_it_is_remembered_longer_than_its_signature_is_accepted() -> None:
    assert record("a").ttl > (NOW + TOLERANCE.past + TOLERANCE.future).timestamp()


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
def test_an_ordering_timestamp_counts_within_what_the_signature_allows(header: str | None, expected: int) -> None:
    assert event_position(PROOF, header) == expected
