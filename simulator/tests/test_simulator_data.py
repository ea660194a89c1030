"""Generated data: what is sent for each type, corrections, sizes, and other formats than JSON."""

import asyncio
import datetime as dt
import json
from typing import Any

import pytest

from receiver import Arrival, Receiver
from simulator_process import SIGNING_SECRET, Terra
from terra_simulator import outbox
from terra_simulator.clock import Clock
from terra_simulator.data import bodies
from terra_simulator.data.day import Day
from terra_simulator.data.fit import crc
from terra_simulator.destinations import Destinations
from terra_simulator.settings import Settings
from terra_simulator.signature import sign

ORDERING = "X-Terra-Ordering-Timestamp"
TRACE = "X-Terra-Trace-Id"
USER = {"user_id": "7c8e", "provider": "GARMIN", "reference_id": "anna"}
DATE = dt.date(2026, 7, 1)


def connected(terra: Terra, reference_id: str = "anna", **fields: object) -> str:
    body = {"reference_id": reference_id, "silent": True, **fields}
    return str(terra.control("POST", "/users", body)["user"]["user_id"])


def send(terra: Terra, user_id: str, **fields: object) -> list[dict[str, Any]]:
    deliveries: list[dict[str, Any]] = terra.control("POST", f"/users/{user_id}/data", fields)["deliveries"]
    return deliveries


def record(arrival: Arrival) -> Any:  # noqa: ANN401 - JSON
    return arrival.event["data"][0]


def positions(arrivals: list[Arrival]) -> list[int]:
    return [int(arrival.headers[ORDERING]) for arrival in arrivals]


@pytest.mark.parametrize("event_type", bodies.DATA_TYPES)
def test_values_are_a_function_of_seed_user_and_date(event_type: str) -> None:
    def body(user_id: str = "7c8e", date: dt.date = DATE, seed: int = 0) -> object:
        return bodies.of_days(event_type, USER, [Day(user_id, date, seed=seed)], samples=True)

    assert body() == body()
    assert (
        len({json.dumps(each) for each in (body(), body("other"), body(date=DATE.replace(day=2)), body(seed=1))}) == 4
    )


@pytest.mark.parametrize("number", range(40))
def test_the_values_of_a_day_are_plausible_and_agree(number: int) -> None:
    day = Day(f"user-{number}", DATE + dt.timedelta(days=number))
    found = {
        name: bodies.record(name, day, samples=True) for name in ("activity", "body", "daily", "nutrition", "sleep")
    }

    daily, run = found["daily"], found["activity"]
    assert 2500 < daily["distance_data"]["steps"] < 30_000
    assert run["distance_data"]["summary"]["steps"] < daily["distance_data"]["steps"]
    assert run["distance_data"]["summary"]["distance_meters"] < daily["distance_data"]["distance_meters"]
    calories = daily["calories_data"]
    assert calories["total_burned_calories"] == pytest.approx(
        calories["BMR_calories"] + calories["net_activity_calories"], abs=0.1
    )
    assert 1300 < calories["total_burned_calories"] < 4500
    counted = [sample["steps"] for sample in daily["distance_data"]["detailed"]["step_samples"]]
    assert counted == sorted(counted)
    assert counted[-1] <= daily["distance_data"]["steps"]
    durations = found["sleep"]["sleep_durations_data"]
    asleep = durations["asleep"]
    stages = [asleep[f"duration_{stage}_sleep_state_seconds"] for stage in ("deep", "light", "REM")]
    assert sum(stages) == asleep["duration_asleep_state_seconds"]
    times = found["sleep"]["metadata"]
    night = dt.datetime.fromisoformat(times["end_time"]) - dt.datetime.fromisoformat(times["start_time"])
    assert asleep["duration_asleep_state_seconds"] + durations["awake"]["duration_awake_state_seconds"] == night.seconds
    assert 5 < night.seconds / 3600 < 9
    assert 80 < durations["sleep_efficiency"] < 100
    assert 15 < found["body"]["measurements_data"]["measurements"][0]["BMI"] < 32
    bpm = [sample["bpm"] for sample in daily["heart_rate_data"]["detailed"]["hr_samples"]]
    assert min(bpm) > 35
    assert max(bpm) < 200
    summary = found["nutrition"]["summary"]["macros"]
    assert summary["calories"] == pytest.approx(sum(meal["macros"]["calories"] for meal in found["nutrition"]["meals"]))
    assert daily["metadata"]["start_time"].endswith(("T00:00:00.000000+00:00", "T00:00:00.000000+01:00", "-05:00"))


def test_every_type_is_sent_and_signed(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)

    send(terra, user_id, type="all", date="2026-07-01")

    assert [arrival.type for arrival in receiver.arrivals] == list(bodies.DATA_TYPES)
    for arrival in receiver.arrivals:
        assert arrival.signature == sign(arrival.body, t=arrival.t, secrets=[SIGNING_SECRET])
        if arrival.type in bodies.LAB_REPORTS:
            assert "user" not in arrival.event
            assert arrival.event["data"]["reference_id"] == "anna"
        else:
            assert arrival.event["user"]["user_id"] == user_id
    assert positions(receiver.arrivals) == sorted(set(positions(receiver.arrivals)))


def test_only_destinations_that_admit_the_type_get_it(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    token = terra.control("POST", "/admin_tokens", {})["token"]
    path = "/api/v3/admin/environments/test-dev/unified-api/destinations"
    headers = {"Authorization": f"Bearer {token}"}
    with Receiver() as other:
        body = {"config": {"url": other.url}, "event_types": ["sleep", "lab_report"]}
        created = terra.browser.post(path, json=body, headers=headers)
        assert created.status_code == 201
        send(terra, user_id, type="all")

        assert len(receiver.arrivals) == len(bodies.DATA_TYPES)
        assert [arrival.type for arrival in other.arrivals] == ["sleep", *bodies.LAB_REPORTS]
        secret = created.json()["signing_secret"]
        assert all(a.signature == sign(a.body, t=a.t, secrets=[secret]) for a in other.arrivals)


@pytest.mark.parametrize("event_type", ["daily", "body"])
def test_a_correction_of_today_is_a_superset_with_a_later_position(
    terra: Terra, receiver: Receiver, event_type: str
) -> None:
    user_id = connected(terra)
    send(terra, user_id, type=event_type)
    send(terra, user_id, type=event_type, corrections=2)

    first, whole, corrected = receiver.arrivals
    assert record(first).keys() < record(whole).keys()
    assert record(whole).keys() == record(corrected).keys()
    assert len({record(each)["metadata"]["start_time"] for each in receiver.arrivals}) == 1
    if event_type == "daily":
        steps = [record(each)["distance_data"]["steps"] for each in receiver.arrivals]
        assert steps == sorted(set(steps))
    assert positions(receiver.arrivals) == sorted(set(positions(receiver.arrivals)))
    assert len({each.headers[TRACE] for each in receiver.arrivals}) == 3


@pytest.mark.parametrize("event_type", sorted(set(bodies.DATA_TYPES) - {"lab_report.failed", "route"}))
def test_a_correction_changes_the_values_and_keeps_the_key(terra: Terra, receiver: Receiver, event_type: str) -> None:
    user_id = connected(terra)
    send(terra, user_id, type=event_type, date="2026-07-01")
    send(terra, user_id, type=event_type, date="2026-07-01", corrections=1)
    first, corrected = receiver.arrivals

    assert first.body != corrected.body
    keys = [key_of(each) for each in (first, corrected)]
    # A corrected laboratory report is another event.
    assert (keys[0] == keys[1]) is (event_type != "lab_report.completed")


def key_of(arrival: Arrival) -> object:
    event = arrival.event
    if arrival.type == "athlete":
        return event["user"]["user_id"]
    if "event_id" in event:
        return event["event_id"]
    found = event["data"][0]
    keys = {"hormone": "timestamp", "planned_workout": "planned_workout_id"}
    if arrival.type in keys:
        return found[keys[arrival.type]]
    return found["metadata"].get("summary_id", found["metadata"]["start_time"])


def test_an_observation_is_amended_and_retracted_under_its_key(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    for fields in ({}, {"status": 2}, {"status": 3}):
        send(terra, user_id, type="health_observation", **fields)

    assert [record(each)["observation_data"]["status"] for each in receiver.arrivals] == [1, 2, 3]
    assert len({key_of(each) for each in receiver.arrivals}) == 1
    first, amended, _ = (record(each)["observation_data"] for each in receiver.arrivals)
    assert first | {"status": 2} != amended


@pytest.mark.parametrize("event_type", sorted(bodies.FIELDS))
def test_a_value_is_corrected_and_corrected_back(terra: Terra, receiver: Receiver, event_type: str) -> None:
    user_id = connected(terra)
    send(terra, user_id, type=event_type, values=[100, 120, 100])

    first, second, third = receiver.arrivals
    if event_type != "health_observation":  # whose status says which one is a correction
        assert first.body == third.body
    assert first.body != second.body
    assert len({each.headers[TRACE] for each in receiver.arrivals}) == 3
    assert positions(receiver.arrivals) == sorted(set(positions(receiver.arrivals)))
    assert b"120" in second.body


def test_the_field_of_a_sequence_can_be_named(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    send(terra, user_id, values=[7.5], field="calories_data.net_activity_calories")

    assert record(receiver.arrivals[0])["calories_data"]["net_activity_calories"] == 7.5
    rejected = {"values": [1], "field": "nothing.here"}
    assert "no field" in terra.control("POST", f"/users/{user_id}/data", rejected, expect=400)["error"]


@pytest.mark.parametrize("size", [10_000_000, 700_001, 60_000])
def test_a_body_has_exactly_the_requested_size(terra: Terra, receiver: Receiver, size: int) -> None:
    user_id = connected(terra)
    send(terra, user_id, size=size)

    (arrival,) = receiver.arrivals
    assert len(arrival.body) == size
    dates = [each["metadata"]["start_time"] for each in arrival.event["data"]]
    assert dates == sorted(set(dates))
    assert size - len(arrival.body.rstrip(b" }")) < 60_000


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "auth"},
        {"size": 10},
        {"size": 1000, "values": [1]},
        {"type": "athlete", "size": 100_000},
        {"type": "all", "values": [1]},
        {"date": "yesterday"},
        {"typo": 1},
    ],
)
def test_invalid_requests_for_data_are_rejected(terra: Terra, receiver: Receiver, fields: dict[str, object]) -> None:
    user_id = connected(terra)
    assert terra.control("POST", f"/users/{user_id}/data", fields, expect=400)["error"]
    terra.control("POST", "/users/unknown/data", {}, expect=404)
    assert receiver.arrivals == []


def test_several_days_are_in_one_webhook(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    send(terra, user_id, type="sleep", date="2026-07-03", days=3, samples=True)

    records = receiver.arrivals[0].event["data"]
    assert [each["metadata"]["end_time"][:10] for each in records] == ["2026-07-01", "2026-07-02", "2026-07-03"]
    assert records[0]["heart_rate_data"]["detailed"]["hr_samples"]


def test_the_format_fit_makes_binary_files_of_activities(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    terra.set(output_format="fit")
    (delivery,) = send(terra, user_id, type="activity", samples=True)
    send(terra, user_id, type="sleep")

    activity, sleep = receiver.arrivals
    assert activity.body[8:12] == b".FIT"
    assert int.from_bytes(activity.body[4:8], "little") == len(activity.body) - 14 - 2
    assert crc(activity.body) == 0
    assert activity.signature == sign(activity.body, t=activity.t, secrets=[SIGNING_SECRET])
    assert (delivery["type"], sleep.type) == ("activity", "sleep")


def test_the_format_fhir_makes_bundles(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    terra.set(output_format="fhir")
    send(terra, user_id, type="daily", date="2026-07-01")
    terra.control("POST", f"/users/{user_id}/events", {"type": "connection_error"})

    bundle, error = receiver.arrivals
    assert (bundle.event["resourceType"], "user" in bundle.event) == ("Bundle", False)
    steps = bundle.event["entry"][0]["resource"]
    assert steps["code"]["coding"][0]["code"] == "55423-8"
    assert steps["valueQuantity"]["value"] > 1000
    assert error.type == "connection_error"


def test_a_delivery_of_data_moves_the_time_of_the_newest_data(terra: Terra) -> None:
    user_id = connected(terra)
    send(terra, user_id, type="lab_report.completed")  # which is about no connection
    assert terra.user_info(user_id)["user"]["most_recent_data_at"] is None
    send(terra, user_id)
    first = terra.user_info(user_id)["user"]["most_recent_data_at"]
    send(terra, user_id)

    assert dt.datetime.fromisoformat(first) < dt.datetime.fromisoformat(
        terra.user_info(user_id)["user"]["most_recent_data_at"]
    )


def test_finished_deliveries_are_dropped_when_their_bodies_take_too_much_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "LARGEST_LOG", 2500)

    async def kept() -> list[str | None]:
        settings = Settings(public_url="http://127.0.0.1")
        sender = outbox.Outbox(
            lambda: settings, Destinations, environment_secret="s", clock=Clock(), on_change=lambda: None
        )
        for number in range(5):
            sender.emit([outbox.Webhook(type=str(number), body=b"x" * 1000)])
        found = [delivery.type for delivery in sender.deliveries()]
        await sender.close()
        return found

    assert asyncio.run(kept()) == ["3", "4"]
