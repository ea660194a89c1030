"""Health data is in the bucket only: in no log, metric, queue, event and item. A `reference_id` is in no log."""

import json
from collections.abc import Callable

from local.testing import Stack
from tests.support.cutting_proxy import failing_network
from tests.support.data import HEALTH_DATA, Bucket, daily
from tests.support.handlers import Handlers, http_event
from tests.support.terra_events import auth_event, new_user_id
from tests.support.webhooks import Webhook, signed
from tools.environment import ROOT

Make = Callable[..., Webhook]


def test_health_data_is_sent_to_s3_only_and_never_logged(
    stack: Stack, handlers: Handlers, webhook: Make, bucket: Bucket, reference_id: str
) -> None:
    user_id = new_user_id()
    report = {"reference_id": reference_id, "report_date": "2026-06-30", "results": [HEALTH_DATA]}
    pushes: list[object] = [
        auth_event(user_id, reference_id),
        daily(user_id),
        {"type": "lab_report.completed", "event_id": HEALTH_DATA, "data": report},
        {**daily(user_id), "type": "a_new_type", "user": {**daily(user_id)["user"], HEALTH_DATA: HEALTH_DATA}},
        {"type": "daily", "user": HEALTH_DATA, "data": [HEALTH_DATA]},
        f"<Observation>{HEALTH_DATA}</Observation>".encode(),
    ]
    ping: dict[str, object] = {
        "type": "s3_payload",
        "status": "success",
        "url": "https://example.com/a",
        "expires_in": 300,
    }
    with (
        failing_network(stack.dynamodb_url, "no such request") as database,
        failing_network(stack.aws_url, "no such request") as services,
    ):
        environment = {
            "AWS_ENDPOINT_URL_DYNAMODB": database.url,
            "AWS_ENDPOINT_URL_SQS": services.url,
            "AWS_ENDPOINT_URL_EVENTBRIDGE": services.url,
        }
        deliveries = [webhook(body) for body in (*pushes, {**ping, "note": HEALTH_DATA})]
        runs = [handlers.run("terra_webhook", each.event(), environment=environment) for each in deliveries]
        forged: dict[str, object] = {**deliveries[1].headers, "x-terra-signature": f"t=1,v1={signed('wrong', b'', 1)}"}
        runs.append(
            handlers.run("terra_webhook", {**deliveries[1].event(), "headers": forged}, environment=environment)
        )
        [key] = [key for key in bucket.of_user(user_id) if "/daily/" in key]
        text = (ROOT / "events" / "publish_data.json").read_text()
        records = text.replace("00000000-0000-4000-8000-000000000000", user_id)
        runs.append(handlers.run("publish_data", json.loads(records), environment=environment))
        page = json.loads((ROOT / "events" / "announce_data.json").read_text())
        page["Records"][0]["body"] = json.dumps({"user_id": user_id, "replay_id": "replay"})
        runs.append(handlers.run("announce_data", page, environment=environment))
        body = json.dumps({"reference_id": reference_id})
        for function, path in (("create_replay", "/replays"), ("erase_person", "/erasures")):
            runs.append(handlers.run(function, http_event("POST", path, body=body), environment=environment))
        requests = b"".join([*database.requests, *services.requests])
    assert [run.status for run in runs if "statusCode" in (run.result or {})] == [200] * 7 + [401, 202, 204]
    for run in runs:
        assert run.result is not None, run.error
        assert run.log
        assert HEALTH_DATA not in run.log
        assert reference_id not in run.log
        assert HEALTH_DATA not in json.dumps(run.result)
    # What must be in the requests is there: the pointer, the message of the ping, the event.
    for part in (key, ping["url"], "data_received", reference_id):
        assert str(part).encode() in requests, part
    assert HEALTH_DATA.encode() not in requests


def test_the_logs_of_the_running_stack_contain_no_health_data(stack: Stack) -> None:
    for path in [stack.output, *(stack.directory / "log").glob("*.log")]:
        assert HEALTH_DATA not in path.read_text(errors="replace"), path.name
