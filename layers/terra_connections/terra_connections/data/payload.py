"""The facts about a payload that are announced: its type, its user, its size and its days, and none of its health data.

Formats: Terra's OpenAPI document, "webhooks" (2026.07 and 2026.10). A payload has `user` and `data`, a list of records
with `metadata.start_time`; `athlete` has `athlete` instead of `data`; a lab report has no `user`, and `data` with
`reference_id` and `report_date`. Nothing is required of a body: an environment can send other formats than JSON.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from terra_connections.ids import ReferenceId, UserId, reference_id_from, user_id_from

UNKNOWN_TYPE = "unknown"
"""The type of a body that is not JSON, or names no type that can be a part of a key."""

_TYPE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
_PROVIDER = re.compile(r"[A-Za-z0-9_]{2,64}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?![0-9])", re.ASCII)
_MIDNIGHT = "T00:00:00"


@dataclass(frozen=True, slots=True)
class Payload:
    """The facts about one body.

    Attributes:
        type: Terra's type, or `unknown`.
        user_id: that of its user, if it names one.
        reference_id: that of a report, which names no `user_id`.
        records: the number of its records.
        first_day: the day of its first record.
        last_day: the day of its last record.
        bytes: the size of the body.
        sha256: the hash of the body.
    """

    type: str
    is_json: bool
    user_id: UserId | None
    reference_id: ReferenceId | None
    provider: str | None
    records: int
    first_day: str | None
    last_day: str | None
    bytes: int
    sha256: str


def payload_from(content: object, *, size: int, sha256: str) -> Payload:
    """Return the facts about a body. No content makes it raise.

    Args:
        content: the body as JSON, or its outline (`data.outline`); None if it is not JSON.
        size: the number of its bytes.
        sha256: the hash of its bytes.
    """
    root = _object(content)
    user, type_ = _object(root.get("user")), root.get("type")
    user_id = user_id_from(user.get("user_id"))
    records = _records(root)
    days = [day for record in records for day in _days(record)]
    provider = user.get("provider")
    return Payload(
        type=type_ if isinstance(type_, str) and _TYPE.fullmatch(type_) else UNKNOWN_TYPE,
        is_json=content is not None,
        user_id=user_id,
        reference_id=None if user_id else reference_id_in(content),
        provider=provider.upper() if isinstance(provider, str) and _PROVIDER.fullmatch(provider) else None,
        records=len(records),
        first_day=min(days, default=None),
        last_day=max(days, default=None),
        bytes=size,
        sha256=sha256,
    )


def reference_id_in(content: object) -> ReferenceId | None:
    """Return the `reference_id` of a report: it is in `data`; other types have it in `user`, or beside it."""
    root = _object(content)
    places = (root.get("data"), root.get("user"), root)
    return next((found for place in places if (found := reference_id_from(_object(place).get("reference_id")))), None)


def _records(root: Mapping[str, Any]) -> list[Any]:
    data = root.get("data", root.get("athlete"))
    if isinstance(data, list):
        return data
    return [data] if isinstance(data, dict) else []


def _days(record: object) -> Iterator[str]:
    """Yield the days that a record names. An end at midnight belongs to the day before."""
    fields = _object(record)
    metadata = _object(fields.get("metadata"))
    starts = (metadata.get("start_time"), *(fields.get(name) for name in ("timestamp", "planned_date", "report_date")))
    start = next((day for text in starts if (day := _day(text))), None)
    if start is None:
        return
    yield start
    end = metadata.get("end_time")
    last = _day(end)
    if last is not None and last > start:
        is_midnight = str(end)[10:19] == _MIDNIGHT
        yield (date.fromisoformat(last) - timedelta(days=1)).isoformat() if is_midnight else last


def _day(text: object) -> str | None:
    if not isinstance(text, str) or not _DAY.match(text):
        return None
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        return None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
