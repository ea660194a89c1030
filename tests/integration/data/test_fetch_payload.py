"""Ping mode: the URL is in its queue before the webhook is acknowledged; the payload is fetched once, and kept."""

import gzip
import hashlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from local.testing import Stack
from tests.support.fetching import NO_RECEIPTS, Fetching, event_of, fetching, outcomes
from tests.support.handlers import Handlers, aws_error, kill
from tests.support.payload_server import PayloadServer, payload_server, response
from tests.support.terra_events import new_user_id
from tests.support.webhooks import Webhook, now_s

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Make = Callable[..., Webhook]
SEND, WRITE = "sqs.SendMessage", "dynamodb.TransactWriteItems"


class Site:
    """Payloads by their names. A name that it does not have has expired."""

    def __init__(self) -> None:
        self.responses: dict[str, bytes] = {}
        self.server: PayloadServer

    def serve(self, connection: socket.socket, _is_stopped: threading.Event) -> None:
        name = self.server.requests[-1].split(b" ")[1].decode().rpartition("/")[2]
        expired = response(b"<Code>ExpiredToken</Code>", status="400 Bad Request")
        connection.sendall(self.responses.get(name, expired))

    def put(self, content: object) -> str:
        """Publish a payload and return its name."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        name = uuid4().hex
        self.responses[name] = response(body)
        return name


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    with payload_server(site.serve, is_tls=False) as server:
        site.server = server
        yield site


@pytest.fixture(scope="module")
def fetches(handlers: Handlers, dynamodb: "DynamoDBClient", stack: Stack, site: Site) -> Iterator[Fetching]:
    with fetching(handlers, dynamodb, stack, f"http://127.0.0.1:{site.server.port}/payloads/") as found:
        yield found


def ping(fetches: Fetching, name: str, **more: object) -> dict[str, Any]:
    return {"type": "s3_payload", "status": "success", "url": fetches.prefix + name, "expires_in": 300, **more}


def daily(user_id: str, steps: int = 1) -> dict[str, Any]:
    metadata = {"start_time": "2026-11-25T00:00:00+01:00", "end_time": "2026-11-26T00:00:00+01:00"}
    record = {"metadata": metadata, "distance_data": {"steps": steps, "detailed": {"step_samples": [{"steps": 1}]}}}
    return {"type": "daily", "user": {"user_id": user_id, "provider": "fitbit"}, "data": [record]}


def test_the_url_is_in_the_queue_before_the_transaction_in_two_calls(fetches: Fetching, webhook: Make) -> None:
    user_id = new_user_id()
    delivery = webhook(ping(fetches, "x", user={"user_id": user_id}), ordering=(now_s() - 5) * 1000)
    run = fetches.handlers.run("terra_webhook", delivery.event(), environment=fetches.environment)
    assert (run.status, run.json) == (200, {"status": "accepted"})
    assert run.trips == [SEND, WRITE]
    assert fetches.pointers() == []
    [message] = map(json.loads, fetches.messages())
    assert message["url"] == fetches.prefix + "x"
    assert message["delivery"]["user_id"] == user_id
    assert message["delivery"]["position"] == delivery.ordering
    assert message["delivery"]["trace_id"] == delivery.trace_id


def test_a_ping_whose_url_is_not_in_the_queue_is_not_acknowledged(fetches: Fetching, webhook: Make) -> None:
    event = webhook(ping(fetches, "x")).event()
    refusal = aws_error(f"{SEND}*:before", "InternalError", status=500)
    run = fetches.handlers.run("terra_webhook", event, refusal, environment=fetches.environment)
    assert run.error or run.status >= 500
    assert WRITE not in run.trips
    assert fetches.messages() == []


def test_a_crash_at_any_step_loses_no_payload_and_announces_it_under_one_event_id(
    fetches: Fetching, webhook: Make, site: Site
) -> None:
    """Also if Terra signs its retries again, and if the URL has expired when the second message is received."""
    user_id, t = new_user_id(), now_s() - 60
    body = ping(fetches, name := site.put(daily(user_id)))
    first, again = (webhook(body, t=each, ordering=(t - 1) * 1000) for each in (t, t + 30))
    for point in (f"{SEND}:after", f"{WRITE}:after"):
        assert fetches.handlers.run(
            "terra_webhook", first.event(), kill(point), environment=fetches.environment
        ).was_killed
    assert fetches.handlers.run("terra_webhook", again.event(), environment=fetches.environment).status == 200
    messages = sorted(fetches.messages(), key=signed_at)
    assert [signed_at(each) - t for each in messages] == [0, 0, 30]

    crashed = fetches.handlers.run(
        "fetch_payload", event_of(messages[0]), kill("dynamodb.PutItem:before"), environment=fetches.environment
    )
    assert crashed.was_killed
    assert outcomes(fetches.fetch(messages[2])) == ["fetched"]
    del site.responses[name]
    assert outcomes(fetches.fetch(*messages[:2])) == ["known", "known"]
    assert fetches.s3.list_objects_v2(Bucket=fetches.bucket, Prefix=f"p/{user_id}/")["KeyCount"] == 1
    [pointer] = [each for each in fetches.pointers() if each.get("user_id") == user_id]
    assert (pointer["type"], pointer["records"], pointer["provider"]) == ("daily", 1, "FITBIT")
    assert (pointer["first_day"], pointer["last_day"]) == ("2026-11-25", "2026-11-25")
    assert fetches.dead() == []


def signed_at(message: str) -> int:
    return int(json.loads(message)["delivery"]["signed_at"])


FETCH_POINTS = [
    "dynamodb.GetItem:before",
    "dynamodb.GetItem:after",
    "s3.PutObject:before",
    "s3.PutObject:after",
    "dynamodb.PutItem:before",
    "dynamodb.PutItem:after",
    "return",
]


@pytest.mark.parametrize("point", FETCH_POINTS)
def test_after_a_crash_of_a_fetch_its_message_is_received_again_and_the_payload_is_kept_once(
    fetches: Fetching, webhook: Make, site: Site, point: str
) -> None:
    user_id = new_user_id()
    [message] = ordered(fetches, webhook, ping(fetches, site.put(daily(user_id))))
    rules = (kill(point), NO_RECEIPTS)
    run = fetches.handlers.run("fetch_payload", event_of(message), *rules, environment=fetches.environment)
    assert run.was_killed
    assert run.points == FETCH_POINTS[: FETCH_POINTS.index(point) + 1]
    is_recorded = point in FETCH_POINTS[-2:]
    assert outcomes(fetches.fetch(message)) == ["known" if is_recorded else "fetched"]
    [pointer] = [each for each in fetches.pointers() if each.get("user_id") == user_id]
    listed = fetches.s3.list_objects_v2(Bucket=fetches.bucket, Prefix=f"p/{user_id}/")["Contents"]
    assert [each["Key"] for each in listed] == [pointer["key"]]


def ordered(fetches: Fetching, webhook: Make, *pings: dict[str, Any]) -> list[str]:
    """Deliver pings, and return their messages."""
    for each in pings:
        run = fetches.handlers.run("terra_webhook", webhook(each).event(), environment=fetches.environment)
        assert run.status == 200
    return fetches.messages()


def test_each_payload_is_kept_as_it_came_and_what_no_retry_can_fetch_is_in_the_dead_letter_queue(
    fetches: Fetching, webhook: Make, site: Site
) -> None:
    user_id, other = new_user_id(), new_user_id()
    large = daily(user_id) | {"padding": [uuid4().hex for _ in range(500_000)]}
    report = {"type": "lab_report.completed", "event_id": "e", "data": {"reference_id": f"lab-{user_id}"}}
    contents = [json.dumps(large).encode(), b"\x0e\x10\x00.FIT", json.dumps(report).encode()]
    kept = [site.put(content) for content in contents]
    failing, moved = site.put(b""), site.put(b"")
    site.responses[failing] = response(b"", status="503 Slow Down")
    site.responses[moved] = response(b"", status="302 Found", headers={"location": "http://169.254.169.254/"})
    named = {"user": {"user_id": user_id}}
    messages = ordered(
        fetches,
        webhook,
        ping(fetches, kept[0], **named),
        ping(fetches, kept[1], **named),
        ping(fetches, kept[2]),
        ping(fetches, "gone", **named),
        ping(fetches, site.put(daily(other)), **named),
        ping(fetches, moved),
        ping(fetches, "x") | {"url": "http://169.254.169.254/latest/"},
        ping(fetches, failing),
    )
    run = fetches.fetch(*messages, "not a message")

    assert sorted(outcomes(run)) == sorted(
        ["fetched", "fetched", "fetched", "expired", "other_user", "redirect", "url", "server_error", "not_a_fetch"]
    )
    assert run.result is not None
    assert len(run.result["batchItemFailures"]) == 1  # the 503
    dead = dict(fetches.dead())
    assert set(dead) == {"expired", "other_user", "redirect", "url", "not_a_fetch"}
    assert json.loads(dead["expired"])["url"].endswith("gone")
    # Nothing of a URL, of a body or of a user is logged.
    assert not any(word in run.log for word in ("http:", user_id, other, "payloads/", "lab-"))

    pointers = {each["sha256"]: each for each in fetches.pointers()}
    for content, prefix in zip(contents, (f"p/{user_id}/daily/", f"p/{user_id}/unknown/", "r/"), strict=True):
        pointer = pointers[hashlib.sha256(content).hexdigest()]
        stored = fetches.object(pointer["key"])
        assert pointer["key"].startswith(prefix)
        assert gzip.decompress(stored["Body"].read()) == content
        assert (pointer["bytes"], stored["Metadata"]["sha256"]) == (len(content), pointer["sha256"])
        assert stored["Metadata"]["event-id"] == pointer["event_id"]
    assert not any(other in each["key"] for each in fetches.pointers())


def test_a_payload_that_is_stored_twice_is_announced_twice(fetches: Fetching, webhook: Make, site: Site) -> None:
    """So that the publisher sees it again: its user may have been erased in between."""
    user_id = new_user_id()
    [message] = ordered(fetches, webhook, ping(fetches, site.put(daily(user_id))))
    running = fetches.handlers.start(
        "fetch_payload",
        event_of(message),
        {"at": "dynamodb.PutItem:before", "do": "pause"},
        environment=fetches.environment,
    )
    with running:
        running.until_paused()
        assert outcomes(fetches.fetch(message)) == ["fetched"]
        running.resume()
        assert outcomes(running.end()) == ["fetched"]
    pointers = [each for each in fetches.pointers() if each.get("user_id") == user_id]
    assert len(pointers) == 2
    assert len({each["event_id"] for each in pointers}) == len({each["key"] for each in pointers}) == 1


def test_an_upload_that_fails_leaves_nothing_and_is_retried(fetches: Fetching, webhook: Make, site: Site) -> None:
    user_id = new_user_id()
    large = daily(user_id) | {"padding": [uuid4().hex for _ in range(700_000)]}
    [message] = ordered(fetches, webhook, ping(fetches, site.put(large)))
    refusal = aws_error("s3.UploadPart*:before", "InternalError", status=500)
    run = fetches.handlers.run(
        "fetch_payload", event_of(message), refusal, NO_RECEIPTS, environment=fetches.environment
    )
    assert run.result is not None
    assert len(run.result["batchItemFailures"]) == 1
    assert fetches.s3.list_objects_v2(Bucket=fetches.bucket, Prefix=f"p/{user_id}/")["KeyCount"] == 0
    assert not fetches.s3.list_multipart_uploads(Bucket=fetches.bucket).get("Uploads")
    assert outcomes(fetches.fetch(message)) == ["fetched"]
