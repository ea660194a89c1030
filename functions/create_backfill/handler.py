"""POST /backfills: request past data of a user's connections. It exists only with DataDeliveries=keep."""

from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from uuid import uuid4

from terra_connections import settings, wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.data.backfill import Backfill, as_json
from terra_connections.data.backfill_start import find_targets, period_of, start_backfill
from terra_connections.data_types import REQUESTED
from terra_connections.handler import http_handler
from terra_connections.request_body import NewBackfill

_pseudonyms = wiring.pseudonyms()
_targets = partial(find_targets, connections=wiring.connections())
_start = partial(start_backfill, backfills=wiring.backfills(), queue=wiring.backfill_queue())
_limits = wiring.user_limits("backfills")
_window_days = settings.backfill_window_days()


def create_backfill(request: Request) -> Response:
    """Store the backfill and send its first messages; the requests to Terra follow."""
    now, body = datetime.now(UTC), NewBackfill.parse(request.body)
    period = period_of(body.first, body.to, now_s=now.timestamp())
    caller = request.require_caller()
    reference_id, targets = _targets(caller, user_id=body.user_id, reference_id=body.reference_id)
    request.log_fields["user_hash"] = _pseudonyms.in_logs(reference_id)
    _limits.count(reference_id, now=now)
    at, types = int(now.timestamp() * 1000), body.types or REQUESTED
    backfill = Backfill(str(uuid4()), reference_id, tuple(targets), types, period, _window_days, at)
    _start(backfill)
    request.log_fields["backfill_id"] = backfill.backfill_id
    location = {"location": f"/backfills/{backfill.backfill_id}"}
    return json_response(HTTPStatus.ACCEPTED, as_json(backfill, (), {}, now=now), headers=location)


lambda_handler = http_handler(create_backfill)
