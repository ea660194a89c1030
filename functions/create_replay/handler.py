"""POST /replays: announce the stored payloads of a user again. It exists only with DataDeliveries=keep."""

from functools import partial
from http import HTTPStatus
from uuid import uuid4

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.data.announcing import Announcement
from terra_connections.data.replay import start_replay
from terra_connections.handler import http_handler
from terra_connections.request_body import NewReplay

_pseudonyms = wiring.pseudonyms()
_start = partial(
    start_replay,
    connections=wiring.connections(),
    pseudonyms=_pseudonyms,
    queue=wiring.required_announcement_queue(),
)


def create_replay(request: Request) -> Response:
    """Send a message for each `user_id` of the user; the events follow."""
    request.require_caller().require_service_key()
    body, replay_id = NewReplay.parse(request.body), str(uuid4())
    wanted = Announcement(types=body.types, since=body.since, until=body.until, replay_id=replay_id)
    if body.reference_id is not None:
        request.log_fields["user_hash"] = _pseudonyms.in_logs(body.reference_id)
    request.log_fields["replay_id"] = replay_id
    _start(wanted, body.user_id, body.reference_id)
    return json_response(HTTPStatus.ACCEPTED, {"replay_id": replay_id})


lambda_handler = http_handler(create_replay)
