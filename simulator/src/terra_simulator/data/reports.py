"""What is not a day of a wearable: the athlete's profile, laboratory reports, and a type that is not documented."""

from typing import Final

from terra_simulator.data.day import HOUR_S, Day, Record

_TESTS: Final = (
    # key, name, LOINC code, unit, normal range
    ("hemoglobin", "Hemoglobin", "718-7", "g/dL", 12.0, 16.5),
    ("ferritin", "Ferritin", "2276-4", "ng/mL", 20.0, 250.0),
    ("glucose", "Glucose", "2345-7", "mg/dL", 70.0, 99.0),
    ("cholesterol", "Total cholesterol", "2093-3", "mg/dL", 120.0, 200.0),
)


def athlete(day: Day) -> Record:
    """Return the profile. A correction is a birthday."""
    profile = day.profile
    return {
        "first_name": profile.first_name,
        "last_name": profile.last_name,
        "age": profile.age + day.corrections,
        "date_of_birth": f"{day.date.year - profile.age}-01-01",
        "sex": profile.sex,
        "gender": profile.sex,
        "city": profile.city,
        "country": profile.country,
        "email": f"{profile.first_name.lower()}.{profile.last_name.lower()}@example.com",
        "provider_user_id": day.id("provider_user"),
    }


def completed_report(day: Day, reference_id: str | None) -> Record:
    """Return the body of `lab_report.completed`; it names a reference_id, but no user. A correction has another id."""
    random = day.random("lab")
    results = []
    for key, name, code, unit, low, high in _TESTS:
        value = round(random.uniform(low * 0.9, high * 1.1), 1)
        flag = "low" if value < low else "high" if value > high else "normal"
        results.append(
            {
                "source": {"name": name, "value": str(value), "units": unit, "collection_date": day.date.isoformat()},
                "biomarker": {"key": key, "display_name": name, "loinc_code": code, "panel_id": 1},
                "measurement": {"type": "numeric", "numeric": value, "units": unit, "ucum_code": unit},
                "interpretation": {
                    "flag": flag,
                    "source": "report",
                    "applied_range": {"lower": low, "upper": high},
                },
                "reference_ranges": [{"lower": low, "upper": high}],
            }
        )
    data = {
        **_session(day, reference_id),
        "report_date": day.date.isoformat(),
        "report_locale": "en-GB",
        "results_count": len(results),
        "results": results,
        "panels": [{"id": 1, "name": "Blood"}],
    }
    return _report(day, "lab_report.completed", data)


def failed_report(day: Day, reference_id: str | None) -> Record:
    """Return the body of `lab_report.failed`."""
    error = {"code": "file_unreadable", "message": "The uploaded file could not be read.", "retriable": False}
    return _report(day, "lab_report.failed", {**_session(day, reference_id), "error": error})


def route(day: Day) -> Record:
    """Return a record of a type that Terra does not document, as a future version may send it."""
    latitude, longitude = day.profile.position
    points = [[round(latitude + 0.0004 * number, 4), longitude] for number in range(12)]
    start = day.workout.start_s
    return {
        "metadata": {
            "summary_id": day.id("route"),
            "start_time": day.at(start),
            "end_time": day.at(start + day.workout.duration_s),
        },
        "points_lat_lng_deg": points + points[::-1],
        "distance_meters": round(day.workout.distance_m, 1),
    }


def _session(day: Day, reference_id: str | None) -> Record:
    session = {"session_id": str(int(day.id("lab").replace("-", "")[:15], 16))}
    return session if reference_id is None else {**session, "reference_id": reference_id}


def _report(day: Day, event_type: str, data: Record) -> Record:
    at = day.at(15 * HOUR_S)
    return {
        "type": event_type,
        "event_id": f"evt_{day.id(f'{event_type}:{day.corrections}')}",
        "occurred_at": at,
        "upload_id": f"upl_{day.id('upload').rpartition('-')[2]}",
        "data": data,
    }
