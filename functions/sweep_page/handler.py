"""From the queue of a sweep: work one step of it - a page of our connections, of Terra's, or of candidates."""

from datetime import UTC, datetime

from terra_connections import metrics, wiring
from terra_connections.queue_door import Notes, queue_door
from terra_connections.reconciliation.sweep import Limit, Outcome, Step
from terra_connections.reconciliation.worker import Sweeper

_sweeper = Sweeper(
    terra=wiring.terra(),
    connections=wiring.connections(),
    sweeps=wiring.sweeps(),
    queue=wiring.sweep_queue(),
    limit=Limit(percent=float(wiring.settings().sweep_revokes_below_percent)),
    on_drift=metrics.drift_undone,
)


def sweep_page(body: str, notes: Notes) -> None:
    """Do the step that the message names, and count how a sweep ends."""
    step = Step.parse(body)
    notes.update(sweep_id=step.sweep_id, task=step.task, segment=step.segment, number=step.number)
    report = _sweeper.work(step, now=datetime.now(UTC))
    notes.update(outcome=report.outcome, **report.counts)
    if report.outcome in (Outcome.FINISHED, Outcome.REFUSED):
        metrics.sweep_ended(report.outcome)


lambda_handler = queue_door(sweep_page)
