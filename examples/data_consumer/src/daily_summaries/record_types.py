"""The types of Terra's health data: what identifies a record, its day, and what a daily summary takes from it.

A record is one element of a payload's `data`. The fields are those of Terra's OpenAPI document; others are ignored.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeGuard

Json = Mapping[str, Any]
Read = Callable[[Json], object]

DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
LARGEST = 1_000_000_000
"""Numbers that are not smaller are not measurements."""
LONGEST_KEY = 900
"""Bytes; DynamoDB's limit for a sort key is 1,024."""
SUMMED = frozenset({"sleep_minutes", "workouts", "observations", "hormone_tests", "planned_workouts", "lab_reports"})
"""The measures of which a day is the sum of its records. Of the others, a day has the newest one."""
DELETED = 3
"""The status of an observation that was entered in error."""


def at(path: str) -> Read:
    """Return a function that returns the value at a path of names, or None."""

    def read(record: Json) -> object:
        value: object = record
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value

    return read


def date_of(path: str) -> Read:
    """Return a function that returns the local date of a timestamp (or a date), or None."""

    def read(record: Json) -> object:
        text = at(path)(record)
        found = DAY.match(text) if isinstance(text, str) else None
        return found[0] if found else None

    return read


def minutes_of(path: str) -> Read:
    """Return a function that returns a number of seconds in minutes, or None."""

    def read(record: Json) -> object:
        seconds = at(path)(record)
        return seconds / 60 if is_number(seconds) else None

    return read


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value can be a measurement."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


def is_key(value: object) -> TypeGuard[str]:
    """Whether a value can be a natural key."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value.encode()) <= LONGEST_KEY


def one(_record: Json) -> int:
    """Count a record."""
    return 1


def weight(record: Json) -> object:
    """Return the day's last weight, or else the average of the day."""
    measurements = at("measurements_data.measurements")(record)
    weights = [
        (str(each.get("measurement_time")), each["weight_kg"])
        for each in (measurements if isinstance(measurements, list) else [])
        if isinstance(each, dict) and is_number(each.get("weight_kg"))
    ]
    return max(weights)[1] if weights else at("measurements_data.day_avg_weight_kg")(record)


@dataclass(frozen=True)
class RecordType:
    """One type of data.

    Attributes:
        keys: the natural key within a `user_id`: the first of them that a record has.
        day: the day to which a record belongs; None if it belongs to no day.
        measures: what a summary takes from a record.
    """

    keys: tuple[Read, ...]
    day: Read
    measures: Mapping[str, Read] = field(default_factory=dict)


TYPES: Mapping[str, RecordType] = {
    "activity": RecordType((at("metadata.summary_id"),), date_of("metadata.start_time"), {"workouts": one}),
    # A sleep belongs to the day on which it ends. Some providers give it no id.
    "sleep": RecordType(
        (at("metadata.summary_id"), at("metadata.start_time")),
        date_of("metadata.end_time"),
        {"sleep_minutes": minutes_of("sleep_durations_data.asleep.duration_asleep_state_seconds")},
    ),
    "daily": RecordType(
        (date_of("metadata.start_time"),),
        date_of("metadata.start_time"),
        {
            "steps": at("distance_data.steps"),
            "distance_meters": at("distance_data.distance_meters"),
            "calories_burned": at("calories_data.total_burned_calories"),
            "active_minutes": minutes_of("active_durations_data.activity_seconds"),
            "resting_heart_rate": at("heart_rate_data.summary.resting_hr_bpm"),
        },
    ),
    "body": RecordType(
        (date_of("metadata.start_time"),),
        date_of("metadata.start_time"),
        {"weight_kg": weight, "resting_heart_rate": at("heart_data.heart_rate_data.summary.resting_hr_bpm")},
    ),
    "nutrition": RecordType(
        (date_of("metadata.start_time"),),
        date_of("metadata.start_time"),
        {"calories_eaten": at("summary.macros.calories"), "water_ml": at("summary.water_ml")},
    ),
    "menstruation": RecordType(
        (date_of("metadata.start_time"),),
        date_of("metadata.start_time"),
        {"day_in_cycle": at("menstruation_data.day_in_cycle")},
    ),
    "hormone": RecordType((at("timestamp"),), date_of("timestamp"), {"hormone_tests": one}),
    "health_observation": RecordType(
        (at("metadata.summary_id"),), date_of("metadata.start_time"), {"observations": one}
    ),
    # Terra's document has no metadata here; other sources name a summary_id.
    "planned_workout": RecordType(
        (at("metadata.summary_id"), at("planned_workout_id"), at("provider_workout_id")),
        date_of("planned_date"),
        {"planned_workouts": one},
    ),
    "athlete": RecordType((lambda _record: "athlete",), lambda _record: None),
    # The only type without a user_id: it names the reference_id.
    "lab_report.completed": RecordType((at("event_id"),), date_of("data.report_date"), {"lab_reports": one}),
}
"""The natural key of each type. docs/data.md has the same table."""


@dataclass(frozen=True)
class Record:
    """A record, reduced to what the table keeps of it.

    Attributes:
        name: its type and natural key.
        measures: None if the record was deleted at its source.
    """

    name: str
    day: str | None
    measures: Mapping[str, Decimal] | None


def records_of(type_name: str, body: object) -> Iterator[Record | None]:
    """Yield the records of a payload; None for one without a natural key."""
    if not isinstance(body, dict):
        yield None
        return
    match type_name:
        case "athlete":
            found: object = [body.get("athlete")]
        case "lab_report.completed":
            found = [body]
        case _:
            found = body.get("data")
    for each in found if isinstance(found, list) else []:
        yield record_of(type_name, each) if isinstance(each, dict) else None


def record_of(type_name: str, content: Json) -> Record | None:
    """Return a record; None if it has no natural key."""
    kind = TYPES[type_name]
    key = next((key for read in kind.keys if is_key(key := read(content))), None)
    if key is None:
        return None
    day = kind.day(content)
    is_deleted = type_name == "health_observation" and at("observation_data.status")(content) == DELETED
    measures = {name: number for name, read in kind.measures.items() if (number := rounded(read(content))) is not None}
    return Record(f"{type_name} {key}", day if isinstance(day, str) else None, None if is_deleted else measures)


def rounded(value: object) -> Decimal | None:
    """Return a number as DynamoDB stores it, with one decimal; None for everything else."""
    return Decimal(f"{value:.1f}") if is_number(value) else None
