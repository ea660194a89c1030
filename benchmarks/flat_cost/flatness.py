"""Compares the measurements on tables of every size, and reports growth."""

import math
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

from benchmarks.flat_cost.life import Call, Measured, Trip

SLOWER_AT_MOST: Final = 2.0
"""Ratio to the p50 on the smallest tables. It detects work that grows with the table, not noise of the machine."""
ENOUGH: Final = 10
"""Calls; a median of fewer only shows the machine's noise. A sweep has few pages."""
JITTER_MS: Final = 5.0
"""Smaller differences of a p50 never count as slower."""

Trips = tuple[Trip, ...]


def trips_of(calls: Iterable[Call]) -> Trips:
    """The trips that a kind of request makes every time.

    Raises:
        ValueError: they differ between calls.
    """
    kinds = {alike(call.trips): call.trips for call in calls}
    if len(kinds) != 1:
        raise ValueError(kinds)
    return next(iter(kinds.values()))


def alike(trips: Trips) -> Trips:
    """Trips in the form to compare. The number of a read's missing keys varies a little.

    A page of a sweep looks for a tombstone of each user in it, and the number of users differs between pages of 300
    connections. So missing keys are counted in hundreds, the maximum of a read.
    """
    return tuple(trip._replace(missing=math.ceil(trip.missing / 100) * 100) for trip in trips)


def p50(calls: Iterable[Call]) -> float:
    """The median, in milliseconds."""
    return median(call.ms for call in calls)


def growth(measured: Mapping[int, Measured]) -> list[str]:
    """One line for each growth: units that differ anywhere, and a p50 that has grown beyond `SLOWER_AT_MOST`."""
    sizes = sorted(measured)
    told = []
    for what, smallest in measured[sizes[0]].calls.items():
        kinds = {alike(call.trips) for size in sizes for call in measured[size].calls[what]}
        if len(kinds) != 1:
            told.append(f"{what}: consumes different units: {sorted(kinds, key=str)}")
        was = p50(smallest)
        for size in sizes[1:]:
            now = p50(measured[size].calls[what])
            if len(smallest) >= ENOUGH and now > max(was * SLOWER_AT_MOST, was + JITTER_MS):
                told.append(f"{what}: p50 {was:.1f} ms at {sizes[0]:,} connections, {now:.1f} ms at {size:,}")
    return told
