"""The view: a user's days, computed from the table."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from daily_summaries.record_types import SUMMED
from daily_summaries.table import Item, Table


@dataclass
class Connection:
    """One wearable account of a user: all its `user_id`s, if it was reconnected, and its days.

    Attributes:
        days: the measures of each day, the oldest day first.
    """

    connection_id: str
    provider: str
    user_ids: list[str] = field(default_factory=list)
    days: dict[str, dict[str, Decimal]] = field(default_factory=dict)


def connections_of(table: Table, reference_id: str) -> list[Connection]:
    """Return a user's connections. Their days are not added up: two wearables count the same steps."""
    found: dict[str, Connection] = {}
    records: dict[str, list[Item]] = {}
    for user_id, user, of_user_id in table.users_of(reference_id):
        connection_id = user["connection_id"] or user_id
        connection = found.setdefault(connection_id, Connection(connection_id, user["provider"]))
        connection.user_ids.append(user_id)
        records.setdefault(connection_id, []).extend(of_user_id)
    for connection_id, connection in found.items():
        connection.days = days(records[connection_id])
    return [found[connection_id] for connection_id in sorted(found)]


def days(records: Iterable[Item]) -> dict[str, dict[str, Decimal]]:
    """Return the summary of each day. Of a record that is stored under two `user_id`s, the newest one counts."""
    newest: dict[str, Item] = {}
    for item in sorted(records, key=version_of):
        newest[item["record"]] = item
    found: dict[str, dict[str, Decimal]] = {}
    for item in sorted(newest.values(), key=version_of):
        if item.get("is_deleted") or not item["day"]:
            continue
        day = found.setdefault(item["day"], {})
        for name, value in item["measures"].items():
            day[name] = day.get(name, Decimal(0)) + value if name in SUMMED else value
    return dict(sorted(found.items()))


def version_of(item: Item) -> Any:  # noqa: ANN401 - text, with a total order
    """Return a record's version, for sorting."""
    return item["version"], item["record"]
