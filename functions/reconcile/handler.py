"""On a schedule: start a sweep, which reconciles the connections with Terra."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from aws_lambda_powertools.logging import Logger

from terra_connections import wiring
from terra_connections.reconciliation.start import start_sweep

_sweeps = wiring.sweeps()
_queue = wiring.sweep_queue()
_log = Logger()


def lambda_handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Start a sweep, unless one is running. Its id is the event's id, so that a retry does not start another one."""
    sweep_id = str(event.get("id") or uuid4())
    has_started = start_sweep(sweep_id, sweeps=_sweeps, queue=_queue, now=datetime.now(UTC))
    _log.info("reconcile", sweep_id=sweep_id, outcome="started" if has_started else "another_runs")
    return {"sweep_id": sweep_id, "has_started": has_started}
