"""Schedules: the events that EventBridge sends to a function, and their intervals."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from local.gateway.triggers import ScheduleTrigger

_RATE: Final = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")


def rate(expression: str) -> timedelta | None:
    """The interval of a schedule, if it is a rate."""
    found = _RATE.fullmatch(expression.strip())
    return timedelta(**{f"{found[2]}s": int(found[1])}) if found else None


def event(trigger: ScheduleTrigger, account: str, region: str, now: datetime | None = None) -> Any:  # noqa: ANN401 - JSON
    """The event of one run: the schedule's own input, or EventBridge's default without one."""
    if trigger.input is not None:
        return json.loads(trigger.input)
    moment = (now or datetime.now(UTC)).isoformat(timespec="seconds").replace("+00:00", "Z")
    is_rule = trigger.kind == "Schedule"
    where = f"events:{region}:{account}:rule/" if is_rule else f"scheduler:{region}:{account}:schedule/default/"
    return {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events" if is_rule else "aws.scheduler",
        "account": account,
        "time": moment,
        "region": region,
        "resources": [f"arn:aws:{where}{trigger.name}"],
        "detail": {} if is_rule else "{}",
    }
