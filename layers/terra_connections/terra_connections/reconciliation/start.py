"""The start of a sweep."""

from datetime import datetime

from terra_connections.reconciliation.store import SweepStore
from terra_connections.reconciliation.sweep import first_steps
from terra_connections.step_queue import StepQueue


def start_sweep(sweep_id: str, *, sweeps: SweepStore, queue: StepQueue, now: datetime) -> bool:
    """Start a sweep, unless another one is running. Starting the same one again sends its messages again.

    Returns:
        Whether this sweep is running.
    """
    begun = sweeps.start(sweep_id, parts=len(first_steps(sweep_id)), now=now)
    if begun is None:
        return False
    for step in first_steps(sweep_id, checks_quiet=begun.is_first_of_day):
        queue.send(step)
    return True
