"""GET /backfills/{backfill_id}: get the state of a backfill. It exists only with DataDeliveries=keep."""

from datetime import UTC, datetime
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.data.backfill import as_json
from terra_connections.errors import NotFound
from terra_connections.handler import http_handler
from terra_connections.ids import session_id_from

_backfills = wiring.backfills()
_receipts = wiring.receipts()


def get_backfill(request: Request) -> Response:
    """Return the state of each type of each connection."""
    caller, now = request.require_caller(), datetime.now(UTC)
    backfill_id = session_id_from(request.path("backfill_id"))
    backfill = _backfills.find(backfill_id, now=now) if backfill_id else None
    if backfill is None or not caller.can_access(backfill.reference_id):
        message = "There is no such backfill."
        raise NotFound(message)
    request.log_fields["backfill_id"] = backfill.backfill_id
    progress = _backfills.progress(backfill)
    received = _receipts.read(accepted.reference for each in progress for accepted in each.accepted)
    return json_response(HTTPStatus.OK, as_json(backfill, progress, received, now=now))


lambda_handler = http_handler(get_backfill)
