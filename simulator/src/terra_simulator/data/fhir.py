"""A data event in the format FHIR, for environments whose output it is: a Bundle of Observations, without Terra's user.

Terra's documentation says that the output follows the standard's resources and does not show one. Codes are LOINC's.
"""

from typing import Any, Final

from terra_simulator.data.day import Record
from terra_simulator.events import Body

_CODES: Final = {
    "activity": (("distance_data.summary.steps", "55423-8", "Number of steps", "{steps}"),),
    "body": (("measurements_data.measurements.0.weight_kg", "29463-7", "Body weight", "kg"),),
    "daily": (
        ("distance_data.steps", "55423-8", "Number of steps", "{steps}"),
        ("heart_rate_data.summary.avg_hr_bpm", "8867-4", "Heart rate", "/min"),
    ),
    "nutrition": (("summary.macros.calories", "9052-2", "Calorie intake total", "kcal"),),
    "sleep": (("sleep_durations_data.asleep.duration_asleep_state_seconds", "93832-4", "Sleep duration", "s"),),
}


def as_fhir(body: Body) -> Body:
    """Return the bundle of a data event."""
    event_type, records = str(body["type"]), body.get("data")
    user: Any = body.get("user") or {}
    found = [
        _observation(each, record, str(user.get("user_id")))
        for record in (records if isinstance(records, list) else [])
        for each in _CODES.get(event_type, ())
    ]
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": each} for each in found]}


def _observation(about: tuple[str, str, str, str], record: Record, user_id: str) -> Record:
    path, code, display, unit = about
    value: Any = record
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    times = record["metadata"]
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": display}]},
        "subject": {"identifier": {"value": user_id}},
        "effectivePeriod": {"start": times["start_time"], "end": times["end_time"]},
        "valueQuantity": {"value": value, "system": "http://unitsofmeasure.org", "code": unit},
    }
