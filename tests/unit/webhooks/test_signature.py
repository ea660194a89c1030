import hmac
import itertools
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terra_connections.errors import NotSigned
from terra_connections.webhooks.signature import Tolerance, VerifiedSignature, sign, verify

TOLERANCE = Tolerance(past=timedelta(hours=25), future=timedelta(minutes=5))
SIGNED = 12345678
VECTOR = "dca55eca8f595bd4d80250ab9609c7cbecec8e581c5c3822294f7c2ee1c99377"


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(SIGNED + seconds, UTC)


def check(*headers: str, body: bytes = b"123", seconds: float = 0, **secrets: str) -> VerifiedSignature:
    return verify(body, headers, secrets or {"main": "key"}, now=at(seconds), tolerance=TOLERANCE)


def test_terras_own_test_vector() -> None:
    assert sign(b"123", "key", "12345678") == VECTOR
    assert check(f"t=12345678,v1={VECTOR}") == VerifiedSignature("main", "12345678")


@pytest.mark.parametrize(
    "header",
    [
        f"t=12345678,v1={'0' * 64},v1={VECTOR}",
        f"t=12345678, v1={VECTOR}",
        f"t=12345678,v1={VECTOR},v0=else",
        f"t=1,v1={VECTOR},t=12345678,v1={VECTOR}",
        f"t=12345678,v1={VECTOR},t=12345678,v1={VECTOR}",
        f"t=nonsense,v1=nonsense,t=12345678,v1={VECTOR}",
    ],
)
def test_any_matching_v1_of_any_group_is_accepted(header: str) -> None:
    assert check(header).signed_at == SIGNED


@pytest.mark.parametrize(
    "header",
    [
        "",
        "t=12345678",
        f"v1={VECTOR}",
        f"v1={VECTOR},t=12345678",
        f"t=12345679,v1={VECTOR}",
        f"t=012345678,v1={VECTOR}",
        f"t=-12345678,v1={VECTOR}",
        f"t=12345678.0,v1={VECTOR}",
        f"t=１２３４５６７８,v1={VECTOR}",
        f"t=12345678,v1={VECTOR.upper()}",
        f"t=12345678,v1={VECTOR}0",
        f"t=12345678,v1={VECTOR[:-1]}",
        f"t=12345678,v1=\ud800{VECTOR}",
        f"t=12345678,v2={VECTOR}",
        f"T=12345678,V1={VECTOR}",
        f"t={'9' * 5000},v1={VECTOR}",
        "t=12345678," + "v1=0," * 100 + f"v1={VECTOR}",
    ],
)
def test_every_other_header_is_rejected(header: str) -> None:
    with pytest.raises(NotSigned):
        check(header)


@pytest.mark.parametrize(
    "header",
    [
        ",".join(f"t={SIGNED + n},v1={'0' * 64}" for n in range(-40, 40)),
        ",".join([f"t={SIGNED},v1={'0' * 64}"] * 80),
        ",".join(f"t={SIGNED + n},v1={VECTOR}" for n in range(1, 40)),
    ],
)
def test_an_unsigned_request_costs_at_most_two_hashes_of_the_body_per_secret(
    monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    counting = Mock(wraps=hmac.new)
    monkeypatch.setattr(hmac, "new", counting)
    with pytest.raises(NotSigned):
        check(header, header, main="key", next="other")
    assert counting.call_count <= 4


@pytest.mark.parametrize("header", [",".join(f"t={SIGNED + n}" for n in range(8)), f"t={SIGNED},v1=00,v0={VECTOR}"])
def test_a_header_without_a_signature_costs_no_hash(monkeypatch: pytest.MonkeyPatch, header: str) -> None:
    monkeypatch.setattr(hmac, "new", None)
    with pytest.raises(NotSigned):
        check(header)


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_two_headers_of_two_times_and_two_secrets_verify_in_every_order(order: tuple[int, ...]) -> None:
    valid, invalid = f"t={SIGNED},v1={sign(b'123', 'new', str(SIGNED))}", f"t={SIGNED + 1},v1={'0' * 64}"
    groups = [valid, invalid, "t=1,v1=" + "0" * 64, f"t={SIGNED + 2}"]
    assert check(",".join(groups[n] for n in order), old="old", new="new").secret_name == "new"
    assert check(*(groups[n] for n in order), old="old", new="new").secret_name == "new"


def test_a_request_without_a_header_or_without_a_secret_is_rejected() -> None:
    with pytest.raises(NotSigned):
        check()
    with pytest.raises(NotSigned):
        verify(b"123", [f"t=12345678,v1={VECTOR}"], {}, now=at(0), tolerance=TOLERANCE)


def test_every_active_secret_is_tried_and_the_matching_one_is_named() -> None:
    header = f"t={SIGNED},v1={sign(b'123', 'new', str(SIGNED))}"
    assert check(header, old="old", new="new").secret_name == "new"


@pytest.mark.parametrize(
    ("seconds", "proven"), [(25 * 3600, True), (25 * 3600 + 1, False), (-300, True), (-301, False)]
)
def test_the_tolerance_limits_both_past_and_future(seconds: float, *, proven: bool) -> None:
    header = f"t=12345678,v1={VECTOR}"
    if proven:
        check(header, seconds=seconds)
    else:
        with pytest.raises(NotSigned):
            check(header, seconds=seconds)


@given(
    body=st.binary(max_size=200), secret=st.text(min_size=1, alphabet=st.characters(codec="utf-8")), flip=st.integers(0)
)
def test_a_signed_body_is_accepted_and_one_changed_bit_is_rejected(body: bytes, secret: str, flip: int) -> None:
    header = f"t={SIGNED},v1={sign(body, secret, str(SIGNED))}"
    check(header, body=body, main=secret)
    changed = bytearray(body or b"\0")
    changed[flip % len(changed)] ^= 1 << flip % 8
    with pytest.raises(NotSigned):
        check(header, body=bytes(changed), main=secret)


@given(st.lists(st.text(), max_size=4))
def test_any_other_header_is_rejected_without_an_error(headers: list[str]) -> None:
    with pytest.raises(NotSigned):
        check(*headers)
