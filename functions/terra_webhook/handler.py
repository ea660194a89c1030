"""POST /webhooks/terra: Terra delivers events. 200 is said only once all that an event changes is durable."""

from datetime import UTC, datetime
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.connections.facts import revocations
from terra_connections.handler import door
from terra_connections.metrics import delivery_taken
from terra_connections.webhooks import payload as event
from terra_connections.webhooks.delivery import delivery, position
from terra_connections.webhooks.signature import verify

_tolerance = wiring.settings().tolerance
_signing_secrets = wiring.signing_secrets()
_deliveries = wiring.deliveries()
_sessions = wiring.sessions()
_connections = wiring.connections()


def terra_webhook(request: Request) -> Response:
    """Prove the sender, read the event, keep both in one transaction, then acknowledge."""
    now, body = datetime.now(UTC), request.body
    headers = [value for name in ("x-terra-signature", "terra-signature") if (value := request.header(name))]
    proof = verify(body, headers, _signing_secrets.values(), now=now, tolerance=_tolerance)
    told = event.parse(body, position(proof, request.header("x-terra-ordering-timestamp")))
    trace_id = request.header("x-terra-trace-id")
    taken = delivery(trace_id=trace_id, proof=proof, body=body, type_=told.type, now=now, tolerance=_tolerance)
    known = _connections.record(
        told.facts,
        together_with=_deliveries.writes(taken),
        login=told.report.widget_session_id if told.report else None,
        of_login=_sessions.writes(told.report, now=now),
    )
    is_new = known is not None
    if not is_new:
        # What came first may have been a copy with forged headers: no disconnect is lost by that.
        _connections.record(revocations(told.facts))
    age = now.timestamp() - proof.signed_at
    request.notes.update(type=told.type, duplicate=not is_new, age_s=int(age))
    delivery_taken(type_=told.type, is_new=is_new, age_seconds=age, secret_name=proof.secret_name)
    return json_response(HTTPStatus.OK, {"status": "taken" if is_new else "duplicate"})


lambda_handler = door(terra_webhook)
