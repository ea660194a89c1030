"""A day of a user: the facts that its records share."""

import uuid
from dataclasses import dataclass
from datetime import date as Date  # noqa: N812 - `date` is the name of the field
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any, Final

from terra_simulator.data.profile import Profile, profile_of

Record = dict[str, Any]

HOUR_S: Final = 3600
DAY_S: Final = 24 * HOUR_S
_AFTERNOON_S: Final = 17 * HOUR_S
"""How far the first delivery of a day goes that is not over."""
_STEPS_BY_HOUR: Final = (0, 0, 0, 0, 0, 0, 1, 5, 8, 6, 5, 5, 8, 7, 5, 5, 6, 9, 10, 8, 5, 4, 2, 1)
_STEPS_BEFORE: Final = (0, *accumulate(_STEPS_BY_HOUR))
"""The sum of the shares of the hours before each hour."""
_NAMESPACE: Final = uuid.UUID("5f1bb2a4-7d0c-4a58-9df1-0f6c1e9b2d37")


@dataclass(frozen=True, slots=True)
class Workout:
    """The day's run."""

    start_s: int
    duration_s: int
    speed: float
    """In metres per second."""

    @property
    def distance_m(self) -> float:
        """Its length."""
        return self.duration_s * self.speed

    @property
    def steps(self) -> int:
        """Its steps: about 165 a minute."""
        return round(self.duration_s * 165 / 60)


class Day:
    """One day of one user.

    Args:
        user_id: the connection.
        date: in the user's time zone.
        seed: other seeds give other values.
        revision: 0 is the first delivery of a day that is not over, 1 the whole day; each further one is a correction.
    """

    def __init__(self, user_id: str, date: Date, *, seed: int = 0, revision: int = 1) -> None:
        self.user_id = user_id
        self.date = date
        self.seed = seed
        self.revision = revision
        self.profile: Profile = profile_of(user_id, seed)
        self.midnight = datetime(date.year, date.month, date.day, tzinfo=self.profile.zone)
        self._date, self._offset = date.isoformat(), self.midnight.isoformat()[-6:]
        random = self.random("day")
        self.slept_s = random.randint(-90, 30) * 60
        """When the user fell asleep, in seconds since midnight; negative is the evening before."""
        self.woke_s = self.slept_s + random.randint(370, 500) * 60
        self.workout = Workout(
            start_s=random.randint(9 * 60, 11 * 60) * 60,
            duration_s=random.randint(28, 65) * 60,
            speed=round(random.uniform(2.5, 3.4), 2),
        )
        self.steps_without_workout = round(self.profile.steps * random.uniform(0.6, 1.2))
        self.weight_kg = round(self.profile.weight_kg + random.uniform(-0.6, 0.6), 1)

    @property
    def ends_s(self) -> int:
        """How far the day goes that is known, in seconds."""
        return DAY_S if self.revision else _AFTERNOON_S

    @property
    def corrections(self) -> int:
        """How often the whole day was corrected."""
        return max(0, self.revision - 1)

    def random(self, purpose: str) -> Random:
        """Return the random numbers of one purpose, which stay the same from one revision to the next."""
        return Random(f"{self.seed}:{self.user_id}:{self.date}:{purpose}")  # noqa: S311 - plausible, not secret

    def at(self, seconds: float) -> str:
        """Return a time of the day as Terra writes it: with microseconds and an offset."""
        if 0 <= seconds < DAY_S and seconds == int(seconds):
            minutes, second = divmod(int(seconds), 60)
            hour, minute = divmod(minutes, 60)
            return f"{self._date}T{hour:02}:{minute:02}:{second:02}.000000{self._offset}"
        return (self.midnight + timedelta(seconds=seconds)).isoformat(timespec="microseconds")

    def id(self, purpose: str) -> str:
        """Return the id of one of its records, which a correction keeps."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.seed}:{self.user_id}:{self.date}:{purpose}"))

    def whole(self) -> Record:
        """Return the metadata of a record of the whole day."""
        return {"start_time": self.at(0), "end_time": self.at(DAY_S)}

    def steps_until(self, seconds: float) -> int:
        """Return the steps since midnight; corrections add some that another device counted."""
        hour, rest = divmod(min(seconds, DAY_S), HOUR_S)
        share = _STEPS_BEFORE[int(hour)] + (_STEPS_BY_HOUR[int(hour)] * rest / HOUR_S if rest else 0)
        walked = self.steps_without_workout * share / _STEPS_BEFORE[-1]
        ran = self.workout.steps * min(1, max(0, (seconds - self.workout.start_s) / self.workout.duration_s))
        return round(walked + ran) + 120 * self.corrections

    def bpm_at(self, seconds: float, random: Random) -> int:
        """Return a heart rate: asleep, at rest, walking or running."""
        profile, workout = self.profile, self.workout
        if workout.start_s <= seconds < workout.start_s + workout.duration_s:
            base = profile.max_hr * 0.76
        elif self.slept_s <= seconds < self.woke_s or seconds >= DAY_S + self.slept_s:
            base = profile.resting_hr + 2
        else:
            base = profile.resting_hr + 14 + 2 * _STEPS_BY_HOUR[int(seconds // HOUR_S) % 24]
        return round(random.gauss(base, 3))

    def bpm_samples(self, start_s: float, end_s: float, step_s: float) -> list[Record]:
        """Return heart rates at regular intervals."""
        random = self.random(f"bpm:{start_s}")
        times = [start_s + number * step_s for number in range(int((end_s - start_s) / step_s))]
        return [{"timestamp": self.at(second), "bpm": self.bpm_at(second, random)} for second in times]
