"""POST /webhooks/terra: Terra delivers events here. The response is 200 only after the whole event is stored."""

from datetime import UTC, datetime
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.handler import http_handler
from terra_connections.metrics import webhook_received
from terra_connections.webhooks.delivery import delivery, event_position
from terra_connections.webhooks.intake import store_webhook
from terra_connections.webhooks.payload import parse
from terra_connections.webhooks.signature import verify

_tolerance = wiring.signature_tolerance()
_signing_secrets = wiring.signing_secrets()
_deliveries = wiring.deliveries()
_reports = wiring.widget_reports()
_connections = wiring.connections()


def terra_webhook(request: Request) -> Response:
    """Verify the signature, parse the event, store it with its delivery, and acknowledge."""
    now, body = datetime.now(UTC), request.body
    headers = [value for name in ("x-terra-signature", "terra-signature") if (value := request.header(name))]
    proof = verify(body, headers, _signing_secrets.values(), now=now, tolerance=_tolerance)
    event = parse(body, event_position(proof, request.header("x-terra-ordering-timestamp")))
    trace_id = request.header("x-terra-trace-id")
    received = delivery(trace_id=trace_id, proof=proof, body=body, type_=event.type, now=now, tolerance=_tolerance)
    is_new = store_webhook(event, received, deliveries=_deliveries, reports=_reports, connections=_connections, now=now)
    age = now.timestamp() - proof.signed_at
    request.log_fields.update(type=event.type, duplicate=not is_new, age_s=int(age))
    webhook_received(type_=event.type, is_new=is_new, age_seconds=age, secret_name=proof.secret_name)
    return json_response(HTTPStatus.OK, {"status": "accepted" if is_new else "duplicate"})


lambda_handler = http_handler(terra_webhook)
