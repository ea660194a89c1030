"""What stays the same about a user from one day to the next."""

from dataclasses import dataclass
from datetime import timedelta, timezone
from random import Random
from typing import Final

_NAMES: Final = {"female": ("Anna", "Clara", "Emma", "Mia"), "male": ("Ben", "David", "Jonas", "Tom")}
_PLACES: Final = (
    ("London", "United Kingdom", 0, (51.5033, -0.1195)),
    ("Berlin", "Germany", 1, (52.5145, 13.3501)),
    ("Boston", "United States", -5, (42.3552, -71.0662)),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """A user's constant values."""

    sex: str
    age: int
    first_name: str
    last_name: str
    city: str
    country: str
    position: tuple[float, float]
    """Latitude and longitude, in degrees, of a park of the city."""
    zone: timezone
    height_cm: float
    weight_kg: float
    resting_hr: int
    steps: int
    """On an average day."""
    cycle_days: int
    period_days: int

    @property
    def max_hr(self) -> int:
        """The estimated maximum heart rate."""
        return round(208 - 0.7 * self.age)

    @property
    def basal_calories(self) -> float:
        """The basal metabolic rate in kilocalories a day (Mifflin and St Jeor's equation)."""
        return 10 * self.weight_kg + 6.25 * self.height_cm - 5 * self.age + (5 if self.sex == "male" else -161)


def profile_of(user_id: str, seed: int) -> Profile:
    """Return the profile of a user; the same for the same seed."""
    random = Random(f"{seed}:{user_id}")  # noqa: S311 - plausible, not secret
    sex = random.choice(("female", "male"))
    height = random.gauss(167 if sex == "female" else 180, 6)
    city, country, hours, position = random.choice(_PLACES)
    return Profile(
        sex=sex,
        age=random.randint(22, 64),
        first_name=random.choice(_NAMES[sex]),
        last_name=random.choice(("Berger", "Evans", "Martin", "Walsh")),
        city=city,
        country=country,
        position=position,
        zone=timezone(timedelta(hours=hours)),
        height_cm=round(height, 1),
        weight_kg=round(random.uniform(20.5, 27.5) * (height / 100) ** 2, 1),
        resting_hr=random.randint(50, 66),
        steps=random.randint(6500, 12500),
        cycle_days=random.randint(26, 31),
        period_days=random.randint(4, 6),
    )
