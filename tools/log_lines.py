"""Log lines as text for a terminal: one line for each request, without metrics and without constant fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDTH: Final = 200
HIDDEN: Final = frozenset(
    {
        "location",
        "timestamp",
        "service",
        "function_name",
        "function_arn",
        "function_memory_size",
        "cold_start",
        "function_request_id",
        "request_id",
        "xray_trace_id",
        "sampling_rate",
        "level",
        "message",
    }
)
"""Fields of Powertools' Logger that are not shown."""
IN_PLACE: Final = frozenset({"status", "ms", "user_hash"})
"""Fields that the line of a request shows at a fixed place."""


def record_of(line: str) -> dict[str, Any] | None:
    """Return the JSON object that a line ends with; None if it has none."""
    _, brace, rest = line.partition("{")
    try:
        found = json.loads(brace + rest) if brace else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def is_request(record: Mapping[str, Any]) -> bool:
    """Return whether it is the line that the handler of a route writes for each request."""
    return {"request_id", "status", "ms"} <= record.keys()


def is_metric(record: Mapping[str, Any]) -> bool:
    """Return whether it is a metric (CloudWatch's embedded metric format)."""
    return "_aws" in record


def details(record: Mapping[str, Any], without: frozenset[str] = frozenset()) -> str:
    """Return the remaining fields, as name=value."""
    hidden = HIDDEN | without
    return " ".join(f"{name}={value}" for name, value in record.items() if name not in hidden and value is not None)


def request_line(route: str, status: int, milliseconds: int, *more: str) -> str:
    """Return the line of a request: `POST /sessions 201 20 ms alice`, with further parts after the user."""
    return printable(" ".join([route, str(status), f"{milliseconds} ms", *filter(None, more)]))


def shorten(line: str) -> str:
    """Return a line of a function in short; empty for a metric."""
    record = record_of(line)
    if record is None:
        return printable(line)
    if is_metric(record):
        return ""
    head = line.partition("{")[0]
    level = "" if record.get("level", "INFO") == "INFO" else f"{record['level']} "
    return printable(f"{head}{level}{record.get('message', '')} {details(record)}".rstrip())


def printable(text: str) -> str:
    """Return a text that fits a line of a terminal and cannot control it: requests contain any characters."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text[:WIDTH])
