"""POST /webhooks/terra: Terra delivers events here. The response is 200 only after the whole event is stored."""

from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.handler import http_handler
from terra_connections.metrics import data_discarded, login_counted, webhook_received
from terra_connections.webhooks.delivery import delivery, event_position
from terra_connections.webhooks.intake import store_webhook
from terra_connections.webhooks.payload import parse
from terra_connections.webhooks.signature import verify

_tolerance = wiring.signature_tolerance()
_signing_secrets = wiring.signing_secrets()
_data = wiring.data_intake()
_store = partial(
    store_webhook,
    deliveries=wiring.deliveries(),
    reports=wiring.widget_reports(),
    connections=wiring.connections(),
    on_connected=partial(login_counted, "connected"),
)


def terra_webhook(request: Request) -> Response:
    """Verify the signature, parse the event, store it with its delivery, and acknowledge."""
    now, body = datetime.now(UTC), request.body
    headers = [value for name in ("x-terra-signature", "terra-signature") if (value := request.header(name))]
    proof = verify(body, headers, _signing_secrets.values(), now=now, tolerance=_tolerance)
    position = event_position(proof, request.header("x-terra-ordering-timestamp"))
    event, trace_id = parse(body, position), request.header("x-terra-trace-id")
    received = delivery(trace_id=trace_id, proof=proof, body=body, type_=event.type, now=now, tolerance=_tolerance)
    pointers = []
    if _data is not None and event.is_data_delivery:
        reference = request.header("terra-reference")
        keep = partial(_data.keep, proof=proof, position=position, trace_id=trace_id, terra_reference=reference)
        pointers = keep(event, body, received)
    elif _data is not None:
        pointers = _data.expect(event, now=now)
    is_new = _store(event, received, now=now, together_with=pointers)
    if _data is None and is_new and event.is_data_delivery:
        data_discarded()
    age = now.timestamp() - proof.signed_at
    request.log_fields.update(type=event.type, duplicate=not is_new, age_s=int(age))
    webhook_received(type_=event.type, is_new=is_new, age_seconds=age, secret_name=proof.secret_name)
    return json_response(HTTPStatus.OK, {"status": "accepted" if is_new else "duplicate"})


lambda_handler = http_handler(terra_webhook)
