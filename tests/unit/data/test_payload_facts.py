"""The facts about a payload, whatever its body is."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terra_connections.connections.facts import Position
from terra_connections.data.delivery import DataDelivery, Key
from terra_connections.data.payload import Payload, payload_from
from terra_connections.webhooks.payload import parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("type", "user", "user_id", "data", "metadata", "start_time", "end_time", "reference_id")),
            inner,
        )
    ),
    max_leaves=12,
)


def facts_of(content: object) -> Payload:
    body = json.dumps(content).encode()
    return payload_from(content, size=len(body), sha256=hashlib.sha256(body).hexdigest())


def record(start: str, end: str | None = None) -> dict[str, Any]:
    return {"metadata": {"start_time": start, **({"end_time": end} if end else {})}}


def days_of(*records: object) -> tuple[str | None, str | None]:
    found = facts_of({"type": "daily", "data": list(records)})
    return found.first_day, found.last_day


@given(JSON)
def test_no_content_makes_it_raise_and_every_payload_has_a_key(content: object) -> None:
    payload = facts_of(content)
    delivery = DataDelivery.of(
        payload,
        signed="0" * 64,
        signed_at=1,
        position=Position(1000),
        pseudonym="p" if payload.reference_id else None,
        trace_id=None,
        terra_reference=None,
    )
    parts = Key.parse(delivery.key)
    assert parts is not None
    assert (parts.type, parts.user_id, parts.time) == (payload.type, payload.user_id, 1000)
    assert DataDelivery.from_metadata(delivery.key, delivery.as_metadata()) == delivery
    assert DataDelivery.from_values(delivery.as_values()) == delivery


@given(st.binary(max_size=200))
def test_no_body_makes_the_parser_raise(body: bytes) -> None:
    event = parse(body, Position(0))
    payload_from(event.content, size=len(body), sha256="")


@pytest.mark.parametrize(
    ("records", "days"),
    [
        ([], (None, None)),
        (
            [record("2026-11-02T00:00:00.000000+01:00", "2026-11-03T00:00:00.000000+01:00")],
            ("2026-11-02", "2026-11-02"),
        ),
        ([record("2026-11-02T22:30:00+00:00", "2026-11-03T06:30:00+00:00")], ("2026-11-02", "2026-11-03")),
        ([record("2026-11-05T08:00:00Z"), record("2026-11-01T08:00:00Z")], ("2026-11-01", "2026-11-05")),
        ([{"timestamp": "2026-05-07T08:00:00+02:00"}], ("2026-05-07", "2026-05-07")),
        ([{"planned_date": "2026-05-08"}], ("2026-05-08", "2026-05-08")),
        ([record("2026-13-45T00:00:00Z"), record("not a day"), 7, None], (None, None)),
    ],
)
def test_the_days_are_those_of_the_records(records: list[object], days: tuple[str | None, str | None]) -> None:
    assert days_of(*records) == days


def test_the_records_of_each_shape_are_counted() -> None:
    assert facts_of({"type": "sleep", "data": [{}, {}]}).records == 2
    assert facts_of({"type": "athlete", "athlete": {}}).records == 1
    report = facts_of({"type": "lab_report.completed", "data": {"reference_id": "ada", "report_date": "2026-06-30"}})
    assert (report.records, report.reference_id, report.first_day) == (1, "ada", "2026-06-30")
    assert facts_of([1]).records == 0


WITHOUT_DATA = (
    *("auth", "auth_cancelled", "deauth", "user_reauth", "access_revoked", "connection_error", "permission_change"),
    *("healthcheck", "processing", "rate_limit_hit", "google_no_datasource", "s3_payload"),
    *("large_request_processing", "large_request_sending"),
)
DATA = (
    *("activity", "athlete", "body", "daily", "health_observation", "hormone", "menstruation", "nutrition"),
    *("planned_workout", "sleep", "lab_report.completed", "lab_report.failed", "a_type_of_the_future"),
)


@pytest.mark.parametrize("type_", WITHOUT_DATA + DATA)
def test_every_type_that_is_not_known_to_be_without_data_is_a_payload(type_: str) -> None:
    event = parse(json.dumps({"type": type_}).encode(), Position(0))
    assert event.has_data == (type_ in DATA)
    assert event.is_data_delivery == (type_ in DATA or type_ == "s3_payload")


@pytest.mark.parametrize("body", [b"\x00fit", b"[]", b"{}", b'{"type": 7}', b'{"type": "a/b"}', b"null"])
def test_a_body_without_a_type_is_a_payload(body: bytes) -> None:
    assert parse(body, Position(0)).has_data


def test_an_empty_body_is_none() -> None:
    assert not parse(b"", Position(0)).has_data
