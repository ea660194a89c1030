"""The outline of a payload has what its facts are read from, whatever its size and however it is cut into parts."""

import json
from collections import deque
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terra_connections.data import outline
from terra_connections.data.fetch_errors import Refused
from terra_connections.data.outline import Outline
from terra_connections.data.payload import payload_from

RECORD = {
    "metadata": {"start_time": "2026-11-26T00:00:00+01:00", "summary_id": "s", "devices": [{"name": "x"}]},
    "timestamp": "2026-11-26T00:00:00+01:00",
    "heart_rate_data": {"summary": {"avg_hr_bpm": 60}, "detailed": {"hr_samples": [{"bpm": 60}] * 3}},
}
DAILY = {"type": "daily", "user": {"user_id": "u", "provider": "FITBIT"}, "data": [RECORD, RECORD], "version": "1"}


def outline_of(body: bytes, *, part: int = 7) -> object:
    found = Outline()
    for start in range(0, len(body), part):
        found.feed(body[start : start + part])
    return found.content()


def test_it_has_the_user_and_the_metadata_of_each_record_and_no_sample() -> None:
    record = {
        "metadata": {"start_time": "2026-11-26T00:00:00+01:00", "summary_id": "s", "devices": None},
        "timestamp": "2026-11-26T00:00:00+01:00",
        "heart_rate_data": None,
    }
    assert outline_of(json.dumps(DAILY).encode()) == DAILY | {"data": [record, record]}


def test_it_has_the_members_of_a_report_and_of_an_athlete() -> None:
    report = {"type": "lab_report.completed", "data": {"reference_id": "r", "report_date": "2026-11-26", "results": []}}
    assert outline_of(json.dumps(report).encode()) == report
    athlete = {"type": "athlete", "user": {"user_id": "u"}, "athlete": {"first_name": "x", "devices": [{"name": "y"}]}}
    assert outline_of(json.dumps(athlete).encode()) == athlete | {"athlete": {"first_name": "x", "devices": [None]}}


@pytest.mark.parametrize(
    "content", [DAILY, {**DAILY, "data": []}, {"type": "athlete", "user": {"user_id": "u"}, "athlete": {}}]
)
def test_the_facts_about_a_payload_are_the_same_from_its_outline(content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    assert payload_from(outline_of(body), size=1, sha256="") == payload_from(content, size=1, sha256="")


NOT_JSON = [
    b"",
    b" ",
    b"{",
    b'{"type": "daily"',
    b'{"type": "daily"} x',
    b'{"type": "daily"}{"type": "daily"}',
    b'{"type": NaN}',
    b"\x0e\x10\x00.FIT",
    b"\xff",
    b'"\xff"',
    b'{"data": ' + b"9" * 10_000 + b"}",
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
def test_a_document_that_is_not_json_has_none(body: bytes) -> None:
    assert outline_of(body, part=1000) is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)


def kept(value: object, depth: int = 0, name: str = "") -> object:
    """The outline, computed from the whole document."""
    if not isinstance(value, dict | list):
        return value
    if depth > 3 or (depth == 3 and name != "metadata"):
        return None
    if isinstance(value, list):
        return [kept(each, depth + 1) for each in value]
    return {key: kept(each, depth + 1, key) for key, each in value.items()}


@given(document=VALUES, part=st.integers(1, 50), is_record=st.booleans())
def test_it_does_not_depend_on_the_parts(document: object, part: int, *, is_record: bool) -> None:
    whole = {"data": [{"metadata": document, "samples": document}]} if is_record else document
    body = json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace")
    assert outline_of(body, part=part) == kept(json.loads(body))


def test_an_outline_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outline, "MOST_VALUES", 1000)
    found = Outline()
    found.feed(b'{"data": [{}')
    with pytest.raises(Refused, match="size"):
        deque(map(found.feed, repeat(b", {}" * 100)))
