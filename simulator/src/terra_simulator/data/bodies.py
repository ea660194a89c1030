"""Webhooks that carry data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from terra_simulator.data import diary, reports, wearable
from terra_simulator.data.day import Day, Record
from terra_simulator.events import SCHEMA_VERSION, Body
from terra_simulator.outbox import as_bytes

_RECORDS: Final[Mapping[str, Callable[..., Record]]] = {
    "activity": wearable.activity,
    "body": wearable.body,
    "daily": wearable.daily,
    "health_observation": diary.health_observation,
    "hormone": diary.hormone,
    "menstruation": diary.menstruation,
    "nutrition": diary.nutrition,
    "planned_workout": diary.planned_workout,
    "sleep": wearable.sleep,
}
LAB_REPORTS: Final = ("lab_report.completed", "lab_report.failed")
UNKNOWN: Final = "route"
"""A type that Terra does not document."""
RECORD_TYPES: Final = (*sorted(_RECORDS), UNKNOWN)
"""The types with a list of records."""
DATA_TYPES: Final = (*sorted(_RECORDS), "athlete", *LAB_REPORTS, UNKNOWN)

FIELDS: Final = {
    "activity": "distance_data.summary.steps",
    "athlete": "age",
    "body": "measurements_data.measurements.0.weight_kg",
    "daily": "distance_data.steps",
    "health_observation": "observation_data.value.quantity",
    "hormone": "lh_mIU_per_ml",
    "lab_report.completed": "results.0.measurement.numeric",
    "menstruation": "menstruation_data.day_in_cycle",
    "nutrition": "summary.macros.calories",
    "planned_workout": "details.metadata.estimated_duration_seconds",
    "route": "distance_meters",
    "sleep": "sleep_durations_data.asleep.duration_asleep_state_seconds",
}
"""The field of each type's record that a correction changes, unless the test names another."""


def record(event_type: str, day: Day, *, samples: bool = False, status: int | None = None) -> Record:
    """Return a day's record of a type with `data`."""
    if event_type == UNKNOWN:
        return reports.route(day)
    more = {"status": status} if status is not None and event_type == "health_observation" else {}
    return _RECORDS[event_type](day, samples=samples, **more)


def of_records(event_type: str, user: Mapping[str, object], records: Sequence[Record]) -> Body:
    """Return the body of a data event."""
    return {"type": event_type, "user": dict(user), "version": SCHEMA_VERSION, "data": list(records)}


def of_days(
    event_type: str,
    user: Mapping[str, object],
    days: Sequence[Day],
    *,
    samples: bool = False,
    status: int | None = None,
) -> Body:
    """Return the body of an event of any type of data, about these days; what has no days is about the last one.

    Args:
        event_type: one of DATA_TYPES.
        user: Terra's schema `TerraUser`.
        days: at least one.
        samples: whether records have detailed samples.
        status: of a health observation.
    """
    reference_id = user.get("reference_id")
    owner = None if reference_id is None else str(reference_id)
    if event_type == "athlete":
        return {
            "type": event_type,
            "user": dict(user),
            "version": SCHEMA_VERSION,
            "athlete": reports.athlete(days[-1]),
        }
    if event_type in LAB_REPORTS:
        report = reports.completed_report if event_type == LAB_REPORTS[0] else reports.failed_report
        return report(days[-1], owner)
    records = [record(event_type, day, samples=samples, status=status) for day in days]
    return of_records(event_type, user, records)


def set_value(body: Body, path: str, value: float) -> None:
    """Set a field of a body's last record, such as `distance_data.steps`.

    Raises:
        KeyError: With the path, if there is no such place.
    """
    place: Any = body.get("athlete") or body["data"]
    if isinstance(place, list):
        place = place[-1]
    *steps, last = path.split(".")
    try:
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[last] = value
        if "value_type" in place:
            place["value_type"] = diary.QUANTITY
    except (LookupError, TypeError, ValueError):
        raise KeyError(path) from None


def of_size(event_type: str, user: Mapping[str, object], day_before: Callable[[int], Day], size: int) -> bytes:
    """Return a body of exactly this many bytes: as many days with samples as fit, and then spaces.

    Args:
        event_type: a type with `data`.
        user: Terra's schema `TerraUser`.
        day_before: returns the day so many days before the last one.
        size: in bytes.

    Raises:
        ValueError: When not even one day fits.
    """
    records: list[bytes] = []
    left = size - len(as_bytes(of_records(event_type, user, [])))
    while len(new := as_bytes(record(event_type, day_before(len(records)), samples=True))) <= left:
        records.append(new)
        left -= len(new) + 1
    if not records:
        message = f"a day of {event_type} is larger than {size} bytes"
        raise ValueError(message)
    body = as_bytes(of_records(event_type, user, [])).removesuffix(b"]}") + b",".join(reversed(records)) + b"]"
    return body + b" " * (size - len(body) - 1) + b"}"
