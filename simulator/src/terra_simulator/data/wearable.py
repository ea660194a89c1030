"""What a wearable measures: activity, sleep, daily and body."""

from itertools import pairwise
from typing import Final

from terra_simulator.data.day import HOUR_S, Day, Record

_AUTOMATIC: Final = 1
_AUTOMATIC_SLEEP: Final = 2
_RUNNING: Final = 8
_LIGHT, _DEEP, _REM, _AWAKE = 4, 5, 6, 1
_NIGHT: Final = ((_LIGHT, 0.14), (_DEEP, 0.16), (_LIGHT, 0.12), (_REM, 0.1), (_AWAKE, 0.02))
"""The stages of one cycle of sleep, with their shares; they are repeated."""
_ZONES: Final = ((0, 50, 60, 0.06), (1, 60, 70, 0.2), (2, 70, 80, 0.5), (3, 80, 90, 0.2), (4, 90, 100, 0.04))


def activity(day: Day, *, samples: bool) -> Record:
    """Return the day's run."""
    run, profile, random = day.workout, day.profile, day.random("activity")
    start, end = run.start_s, run.start_s + run.duration_s
    calories = round(run.distance_m / 1000 * day.weight_kg * 1.03 + 4 * day.corrections, 1)
    heart_rate = round(profile.max_hr * 0.76)
    latitude, longitude = profile.position
    record: Record = {
        "metadata": {
            "summary_id": day.id("activity"),
            "start_time": day.at(start),
            "end_time": day.at(end),
            "type": _RUNNING,
            "upload_type": _AUTOMATIC,
            "name": "Morning run",
            "city": profile.city,
            "country": profile.country,
        },
        "active_durations_data": {
            "activity_seconds": run.duration_s,
            "moderate_intensity_seconds": round(run.duration_s * 0.7),
            "vigorous_intensity_seconds": round(run.duration_s * 0.24),
            "low_intensity_seconds": round(run.duration_s * 0.06),
        },
        "calories_data": {"net_activity_calories": calories, "total_burned_calories": round(calories * 1.12, 1)},
        "distance_data": {
            "summary": {
                "distance_meters": round(run.distance_m, 1),
                "steps": run.steps + 120 * day.corrections,
                "elevation": {"gain_actual_meters": random.randint(8, 95), "loss_actual_meters": random.randint(8, 95)},
            }
        },
        "heart_rate_data": {
            "summary": {
                "avg_hr_bpm": heart_rate,
                "max_hr_bpm": round(profile.max_hr * 0.93),
                "min_hr_bpm": profile.resting_hr + 30,
                "resting_hr_bpm": profile.resting_hr,
                "user_max_hr_bpm": profile.max_hr,
                "hr_zone_data": [
                    {
                        "zone": zone,
                        "start_percentage": low,
                        "end_percentage": high,
                        "duration_seconds": round(run.duration_s * share),
                    }
                    for zone, low, high, share in _ZONES
                ],
            }
        },
        "movement_data": {
            "avg_speed_meters_per_second": run.speed,
            "max_speed_meters_per_second": round(run.speed * 1.3, 2),
            "avg_pace_minutes_per_kilometer": round(1000 / run.speed / 60, 2),
            "avg_cadence_rpm": 82.5,
        },
        "position_data": {"start_pos_lat_lng_deg": [latitude, longitude], "end_pos_lat_lng_deg": [latitude, longitude]},
        "MET_data": {"avg_level": round(run.speed * 3.4, 1)},
        "device_data": _device(),
    }
    if samples:
        times = range(start, end, 5)
        record["heart_rate_data"]["detailed"] = {"hr_samples": day.bpm_samples(start, end, 5)}
        record["distance_data"]["detailed"] = {
            "distance_samples": [
                {"timestamp": day.at(second), "distance_meters": round((second - start) * run.speed, 1)}
                for second in times
            ]
        }
        record["movement_data"]["speed_samples"] = [
            {"timestamp": day.at(second), "speed_meters_per_second": round(random.gauss(run.speed, 0.15), 2)}
            for second in times
        ]
    return record


def sleep(day: Day, *, samples: bool) -> Record:
    """Return the night that ended on this day. A correction moves its end: the user slept five minutes longer."""
    random, profile = day.random("sleep"), day.profile
    start, end = day.slept_s, day.woke_s + 300 * day.corrections
    stages = _stages(start, end)
    seconds = {level: sum(until - since for since, until, at in stages if at == level) for _, _, level in stages}
    asleep = seconds[_LIGHT] + seconds[_DEEP] + seconds[_REM]
    latency = random.randint(4, 18) * 60
    in_bed = end - start + latency
    score = random.randint(68, 94)
    record: Record = {
        "metadata": {
            "summary_id": day.id("sleep"),
            "start_time": day.at(start),
            "end_time": day.at(end),
            "is_nap": False,
            "upload_type": _AUTOMATIC_SLEEP,
        },
        "sleep_durations_data": {
            "asleep": {
                "duration_asleep_state_seconds": asleep,
                "duration_deep_sleep_state_seconds": seconds[_DEEP],
                "duration_light_sleep_state_seconds": seconds[_LIGHT],
                "duration_REM_sleep_state_seconds": seconds[_REM],
                "num_REM_events": sum(level == _REM for _, _, level in stages),
            },
            "awake": {
                "duration_awake_state_seconds": seconds[_AWAKE],
                "num_wakeup_events": sum(level == _AWAKE for _, _, level in stages),
                "sleep_latency_seconds": latency,
            },
            "other": {"duration_in_bed_seconds": in_bed},
            "sleep_efficiency": round(100 * asleep / in_bed, 1),
        },
        "heart_rate_data": {
            "summary": {
                "avg_hr_bpm": profile.resting_hr + 2,
                "min_hr_bpm": profile.resting_hr - 4,
                "max_hr_bpm": profile.resting_hr + 17,
                "resting_hr_bpm": profile.resting_hr,
                "avg_hrv_rmssd": round(random.uniform(28, 78), 1),
            }
        },
        "respiration_data": {
            "breaths_data": {
                "avg_breaths_per_min": round(random.uniform(13, 16), 1),
                "min_breaths_per_min": 11.5,
                "max_breaths_per_min": 18.5,
                "start_time": day.at(start),
                "end_time": day.at(end),
            },
            "oxygen_saturation_data": {"avg_saturation_percentage": round(random.uniform(95, 98), 1)},
        },
        "scores": {"sleep": score},
        "readiness_data": {"readiness": min(100, score + random.randint(-9, 6))},
        "temperature_data": {"delta": round(random.uniform(-0.4, 0.4), 2)},
        "device_data": _device(),
    }
    if samples:
        record["sleep_durations_data"]["hypnogram_samples"] = [
            {"timestamp": day.at(since), "level": level} for since, _, level in stages
        ]
        record["heart_rate_data"]["detailed"] = {"hr_samples": day.bpm_samples(start, end, 60)}
        record["respiration_data"]["breaths_data"]["samples"] = [
            {"timestamp": day.at(second), "breaths_per_min": round(random.gauss(14.5, 0.8), 1)}
            for second in range(start, end, 300)
        ]
    return record


def daily(day: Day, *, samples: bool) -> Record:
    """Return the day's sums. The first delivery of a day that is not over ends at five and has fewer fields."""
    random, profile, run = day.random("daily"), day.profile, day.workout
    until, steps = day.ends_s, day.steps_until(day.ends_s)
    active_s = run.duration_s + round((steps - run.steps) / 1.7)
    active_calories = round(steps * 0.038 * day.weight_kg / 70, 1)
    basal = round(profile.basal_calories * until / (24 * HOUR_S), 1)
    record: Record = {
        "metadata": {**day.whole(), "upload_type": _AUTOMATIC},
        "active_durations_data": {
            "activity_seconds": active_s,
            "low_intensity_seconds": active_s - run.duration_s,
            "moderate_intensity_seconds": round(run.duration_s * 0.76),
            "vigorous_intensity_seconds": run.duration_s - round(run.duration_s * 0.76),
            "inactivity_seconds": max(0, until - active_s - (day.woke_s - max(0, day.slept_s))),
        },
        "calories_data": {
            "BMR_calories": basal,
            "net_activity_calories": active_calories,
            "total_burned_calories": round(basal + active_calories, 1),
        },
        "distance_data": {
            "steps": steps,
            "distance_meters": round(run.distance_m + (steps - run.steps) * profile.height_cm * 0.00415, 1),
            "floors_climbed": random.randint(3, 9) + until // (6 * HOUR_S),
        },
        "heart_rate_data": {
            "summary": {
                "avg_hr_bpm": profile.resting_hr + 12,
                "max_hr_bpm": round(profile.max_hr * 0.93),
                "min_hr_bpm": profile.resting_hr - 4,
                "resting_hr_bpm": profile.resting_hr,
            }
        },
        "device_data": _device(),
    }
    if day.revision:
        record["scores"] = {"activity": random.randint(55, 95), "recovery": random.randint(40, 95)}
        record["stress_data"] = {
            "avg_stress_level": random.randint(18, 45),
            "max_stress_level": random.randint(70, 95),
            "rest_stress_duration_seconds": random.randint(5, 9) * HOUR_S,
        }
        record["oxygen_data"] = {"avg_saturation_percentage": round(random.uniform(95, 98), 1)}
    if samples:
        times = range(0, until, 300)
        record["heart_rate_data"]["detailed"] = {"hr_samples": day.bpm_samples(0, until, 300)}
        record["distance_data"]["detailed"] = {
            "step_samples": [{"timestamp": day.at(end), "steps": day.steps_until(end)} for _, end in pairwise(times)]
        }
    return record


def body(day: Day, *, samples: bool) -> Record:
    """Return the day's measurements: weight in the morning, later blood pressure, glucose and temperature."""
    random, profile = day.random("body"), day.profile
    weight = round(day.weight_kg + 0.2 * day.corrections, 1)
    fat = random.uniform(20, 29) if profile.sex == "female" else random.uniform(13, 22)
    glucose = [round(random.gauss(102, 11)) for _ in range(24)]
    record: Record = {
        "metadata": day.whole(),
        "measurements_data": {
            "measurements": [
                {
                    "measurement_time": day.at(day.woke_s + 900),
                    "weight_kg": weight,
                    "height_cm": profile.height_cm,
                    "BMI": round(weight / (profile.height_cm / 100) ** 2, 1),
                    "BMR": round(profile.basal_calories),
                    "bodyfat_percentage": round(fat, 1),
                    "lean_mass_g": round(weight * (1 - fat / 100) * 1000),
                    "water_percentage": round(100 * 0.73 * (1 - fat / 100), 1),
                }
            ],
            "day_avg_weight_kg": weight,
        },
        "oxygen_data": {"vo2max_ml_per_min_per_kg": round(62 - 0.4 * profile.age, 1)},
        "device_data": _device(),
    }
    if day.revision:
        record["blood_pressure_data"] = {
            "blood_pressure_samples": [
                {
                    "timestamp": day.at(19 * HOUR_S),
                    "systolic_bp": random.randint(108, 132),
                    "diastolic_bp": random.randint(66, 84),
                }
            ]
        }
        record["glucose_data"] = {"day_avg_blood_glucose_mg_per_dL": round(sum(glucose) / len(glucose), 1)}
        record["temperature_data"] = {"day_avg_skin_temperature_celsius": round(random.uniform(33.2, 34.6), 1)}
        record["hydration_data"] = {"day_total_water_consumption_ml": random.randrange(1400, 2600, 50)}
    if samples:
        record["heart_data"] = {"heart_rate_data": {"detailed": {"hr_samples": day.bpm_samples(0, day.ends_s, 300)}}}
        if day.revision:
            record["glucose_data"]["blood_glucose_samples"] = [
                {"timestamp": day.at(hour * HOUR_S), "blood_glucose_mg_per_dL": value, "trend_arrow": 3}
                for hour, value in enumerate(glucose)
            ]
    return record


def _stages(start: int, end: int) -> list[tuple[int, int, int]]:
    """Divide a night into stages: start, end and level of each. They leave no gap."""
    stages = []
    whole, share_of_cycle = end - start, sum(share for _, share in _NIGHT)
    cycles = 5
    at = float(start)
    for _ in range(cycles):
        for level, share in _NIGHT:
            until = at + whole * share / share_of_cycle / cycles
            stages.append((round(at), round(until), level))
            at = until
    return stages


def _device() -> Record:
    return {"name": "Simulated watch", "manufacturer": "Terra simulator", "software_version": "1.0"}
