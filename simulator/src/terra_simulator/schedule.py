"""The retry schedule of a failed webhook.

Terra's documentation: anything but a 2xx within about 8 seconds is a failure; 10 retries, doubling from 30 seconds,
never more than 8 hours apart.
"""

from typing import Final

RETRIES: Final = 10
FIRST_DELAY_S: Final = 30.0
LONGEST_DELAY_S: Final = 8 * 3600.0


def seconds_before_retry(attempts: int, *, scale: float) -> float | None:
    """Return how long to wait after so many failed attempts, or None if Terra gives up.

    Args:
        attempts: The number of attempts so far, the first one included.
        scale: The factor for Terra's delays; below 1 is faster than Terra.
    """
    if attempts > RETRIES:
        return None
    return min(FIRST_DELAY_S * 2.0 ** (attempts - 1), LONGEST_DELAY_S) * scale
