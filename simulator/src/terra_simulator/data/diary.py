"""What a user enters or plans: nutrition, menstruation, hormones, observations and workouts."""

from typing import Final

from terra_simulator.data.day import HOUR_S, Day, Record

_COUNT: Final = 10
_MENU: Final = (
    # name, meal type, hour, protein, carbohydrates, fat and fibre in grams
    ("Oatmeal with berries", 1, 7.75, 14, 62, 11, 9),
    ("Lentil soup with bread", 3, 12.5, 27, 78, 14, 16),
    ("Apple", 4, 16, 0.5, 25, 0.3, 4),
    ("Salmon with rice and vegetables", 5, 19.25, 38, 71, 24, 8),
)
_PERIOD, _FOLLICULAR, _FERTILE, _LUTEAL = 1, 2, 3, 5
_LIGHT_FLOW, _MEDIUM_FLOW = 2, 3
FINAL, AMENDED, ENTERED_IN_ERROR = 1, 2, 3
_SYMPTOM, _LAB_AND_METRICS, _STATE_OF_MIND = 1, 5, 6
QUANTITY, _CODE = 1, 4


def nutrition(day: Day, *, samples: bool) -> Record:
    """Return the day's meals; their sum is the summary's. A correction adds what was forgotten: more of the soup."""
    del samples
    random, meals = day.random("nutrition"), list[Record]()
    for number, (name, kind, hour, *grams) in enumerate(_MENU):
        portion = round(random.uniform(0.8, 1.25), 2) + (0.25 * day.corrections if number == 1 else 0)
        protein, carbohydrates, fat, fibre = (round(each * portion, 1) for each in grams)
        meals.append(
            {
                "id": day.id(f"meal:{number}"),
                "name": name,
                "type": kind,
                "timestamp": day.at(hour * HOUR_S),
                "quantity": {"unit": _COUNT, "amount": portion},
                "macros": {
                    "calories": round(4 * protein + 4 * carbohydrates + 9 * fat, 1),
                    "protein_g": protein,
                    "carbohydrates_g": carbohydrates,
                    "fat_g": fat,
                    "fiber_g": fibre,
                },
                "micros": {"sodium_mg": round(420 * portion), "iron_mg": round(2.4 * portion, 1)},
            }
        )
    names = ("calories", "protein_g", "carbohydrates_g", "fat_g", "fiber_g")
    return {
        "metadata": day.whole(),
        "meals": meals,
        "drink_samples": [
            {"timestamp": day.at(10 * HOUR_S), "drink_name": "Water", "drink_volume": 500, "drink_unit": 8}
        ],
        "summary": {
            "macros": {name: round(sum(meal["macros"][name] for meal in meals), 1) for name in names},
            "water_ml": random.randrange(1400, 2600, 50),
        },
    }


def menstruation(day: Day, *, samples: bool) -> Record:
    """Return the day's place in the cycle. A correction makes the period a day longer."""
    profile = day.profile
    start = (day.date.toordinal() + sum(day.user_id.encode())) % profile.cycle_days
    period = profile.period_days + day.corrections
    ovulation = profile.cycle_days - 14
    if start < period:
        phase, phase_ends = _PERIOD, period
    elif start < ovulation - 5:
        phase, phase_ends = _FOLLICULAR, ovulation - 5
    elif start <= ovulation:
        phase, phase_ends = _FERTILE, ovulation + 1
    else:
        phase, phase_ends = _LUTEAL, profile.cycle_days
    data: Record = {
        "day_in_cycle": start + 1,
        "current_phase": phase,
        "days_until_next_phase": phase_ends - start,
        "period_length_days": period,
        "cycle_length_days": profile.cycle_days,
        "predicted_cycle_length_days": profile.cycle_days,
        "period_start_date": day.at(-start * 24 * HOUR_S),
        "last_updated_time": day.at(8 * HOUR_S),
        "is_predicted_cycle": False,
    }
    if samples and phase == _PERIOD:
        flow = _MEDIUM_FLOW if start <= 1 else _LIGHT_FLOW
        data["menstruation_flow"] = [{"timestamp": day.at(8 * HOUR_S), "flow": flow}]
    return {"metadata": day.whole(), "menstruation_data": data}


def hormone(day: Day, *, samples: bool) -> Record:
    """Return a urine test of the morning, as it is around ovulation."""
    del samples
    random = day.random("hormone")
    return {
        "timestamp": day.at(7 * HOUR_S),
        "lh_mIU_per_ml": round(random.uniform(3, 38) + 0.5 * day.corrections, 1),
        "e3g_ng_per_ml": round(random.uniform(90, 260), 1),
        "pdg_ug_per_ml": round(random.uniform(1, 11), 1),
        "fsh_mIU_per_ml": round(random.uniform(3, 12), 1),
    }


def health_observation(day: Day, *, samples: bool, status: int = FINAL) -> Record:
    """Return what the user noted at noon: a headache, a dose of insulin, or a mood.

    Args:
        day: the day.
        samples: it has none.
        status: 1 final, 2 amended (it replaces the earlier one), 3 entered in error (the earlier one is to be deleted).
    """
    del samples
    random = day.random("observation")
    kind = random.choice(("headache", "insulin_delivery", "state_of_mind"))
    data: Record = {"observation_type": kind, "status": status}
    if kind == "headache":
        severity = random.randint(2, 3)
        data |= {"category": _SYMPTOM, "severity": severity + (status == AMENDED), "value": {"value_type": 0}}
        data["codes"] = [{"system": "healthkit", "code": "HKCategoryTypeIdentifierHeadache"}]
    elif kind == "insulin_delivery":
        dose = random.randint(3, 9) + (2 if status == AMENDED else 0)
        data |= {"category": _LAB_AND_METRICS, "value": {"value_type": QUANTITY, "quantity": dose, "unit": "IU"}}
        data["codes"] = [{"system": "healthkit", "code": "HKQuantityTypeIdentifierInsulinDelivery"}]
    else:
        mood = "pleasant" if status == AMENDED else "neutral"
        data |= {"category": _STATE_OF_MIND, "value": {"value_type": _CODE, "code": mood}}
        data["codes"] = [{"system": "healthkit", "code": "HKStateOfMind"}]
    return {
        "metadata": {"summary_id": day.id("observation"), "start_time": day.at(12 * HOUR_S)},
        "observation_data": data,
    }


def planned_workout(day: Day, *, samples: bool) -> Record:
    """Return a run that is planned for this day. A correction makes it five minutes longer."""
    del samples
    warm_up, main = 600, 1800 + 300 * day.corrections
    seconds = warm_up + main
    return {
        "planned_workout_id": day.id("planned_workout"),
        "provider_workout_id": day.id("provider_workout"),
        "planned_date": day.date.isoformat(),
        "is_external": True,
        "created_at": day.at(-48 * HOUR_S),
        "last_updated_at": day.at(-24 * HOUR_S),
        "details": {
            "metadata": {
                "id": day.id("provider_workout"),
                "name": "Tempo run",
                "type": 8,
                "planned_date": day.date.isoformat(),
                "estimated_duration_seconds": seconds,
                "estimated_distance_meters": round(seconds * day.workout.speed),
            },
            "steps": [
                _step(1, "Warm up", warm_up, round(day.profile.max_hr * 0.65)),
                _step(2, "Tempo", main, round(day.profile.max_hr * 0.82)),
            ],
        },
    }


def _step(order: int, name: str, seconds: int, bpm: int) -> Record:
    return {
        "order": order,
        "type": 0,
        "name": name,
        "durations": [{"duration_type": 0, "seconds": seconds}],
        "targets": [{"target_type": 2, "hr_bpm_low": bpm - 5, "hr_bpm_high": bpm + 5}],
    }
