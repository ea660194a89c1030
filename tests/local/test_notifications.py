"""Events are sent to the demo app and to NOTIFY_URL: also to one that fails first, is slow, or is down for a while."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import httpx
import pytest

from local import messages, notifications
from local.gateway.http_server import listen
from local.notifications import KEY_HEADER, Receiver
from local.processes import StackError
from tests.support.terra_events import auth_event, new_user_id
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from local.testing import Stack
    from tests.support.terra import Terra

KEY = "key-of-this-test"


class Endpoint:
    """Answers with these statuses in order, then with 204; a status below 0 is a time without an answer."""

    def __init__(self, statuses: Sequence[int] = (), port: int = 0) -> None:
        self.received: list[dict[str, Any]] = []
        endpoint, left = self, list(statuses)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                endpoint.received.append({"key": self.headers[KEY_HEADER], "path": self.path, "body": body})
                status = left.pop(0) if left else 204
                if status < 0:
                    time.sleep(-status)
                    return
                self.send_response(status)
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/events"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def bodies(self) -> list[str]:
        return [request["body"] for request in self.received]


@contextmanager
def delivering(stack: Stack, url: str) -> Iterator[tuple[Callable[[str], None], list[str]]]:
    """Deliver from a queue of its own to a URL; return a function that adds an event, and the printed lines."""
    client = messages.services("", stack.aws_url).queues()
    receiver = Receiver("the receiver", f"Events{uuid4().hex[:8]}", url)
    queue = client.create_queue(QueueName=receiver.queue)["QueueUrl"]
    lines: list[str] = []
    started, ended = threading.Event(), []

    async def run() -> None:
        work = asyncio.create_task(notifications.deliver(stack.aws_url, receiver, KEY, lines.append))
        ended.append((asyncio.get_running_loop(), work))
        started.set()
        await asyncio.wait([work])
        assert work.cancelled(), work.exception()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    started.wait()
    try:
        yield lambda body: void(client.send_message(QueueUrl=queue, MessageBody=body)), lines
    finally:
        [(loop, work)] = ended
        loop.call_soon_threadsafe(work.cancel)
        thread.join()
        client.delete_queue(QueueUrl=queue)
        client.close()


def void(_: object) -> None:
    """Drop a result."""


def test_an_event_is_sent_once_with_the_key(stack: Stack) -> None:
    with Endpoint() as endpoint, delivering(stack, endpoint.url) as (send, lines):
        send('{"detail": "ü"}')
        eventually(lambda: endpoint.received)
        send("second")
        eventually(lambda: len(endpoint.received) == 2)
        assert endpoint.received[0] == {"key": KEY, "path": "/events", "body": '{"detail": "ü"}'}
    assert endpoint.bodies == ['{"detail": "ü"}', "second"]
    assert lines == []


def test_an_endpoint_that_fails_first_gets_the_event_again(stack: Stack) -> None:
    with Endpoint([503, 429]) as endpoint, delivering(stack, endpoint.url) as (send, lines):
        send("event")
        eventually(lambda: len(lines) == 2)
    assert endpoint.bodies == ["event"] * 3
    assert lines == [
        "[notifications] the receiver does not accept events: status 503. Each is retried for a day.",
        "[notifications] the receiver accepts events again.",
    ]


def test_a_redirect_is_not_followed(stack: Stack) -> None:
    with Endpoint([307]) as endpoint, delivering(stack, endpoint.url) as (send, lines):
        send("event")
        eventually(lambda: len(lines) == 2)
    assert {request["path"] for request in endpoint.received} == {"/events"}
    assert "status 307" in lines[0]


def test_an_endpoint_that_is_slow_with_one_event_gets_the_others(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifications, "TIMEOUT", 2.0)
    with Endpoint([-6]) as endpoint, delivering(stack, endpoint.url) as (send, lines):
        for number in range(3):
            send(f"event {number}")
        eventually(lambda: set(endpoint.bodies) == {"event 0", "event 1", "event 2"} and len(endpoint.bodies) == 4)
        eventually(lambda: len(lines) == 2)
    assert "no response within 2 s" in lines[0]


def test_an_endpoint_that_is_down_gets_the_events_when_it_is_up(stack: Stack) -> None:
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with delivering(stack, f"http://127.0.0.1:{port}/events") as (send, lines):
        send("event")
        eventually(lambda: lines)
        time.sleep(3)  # further attempts print nothing
        [line] = lines
        assert line.startswith("[notifications] the receiver does not accept events: ")
        with Endpoint(port=port) as endpoint:
            eventually(lambda: len(lines) == 2)
            assert endpoint.bodies == ["event"]


# --- which receivers --------------------------------------------------------------------------------------------------


def test_the_demo_and_the_variable_s_url_are_receivers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_URL", raising=False)
    assert [each.url for each in notifications.receivers("http://127.0.0.1:5000")] == ["http://127.0.0.1:5000/events"]
    monkeypatch.setenv("NOTIFY_URL", "https://app.example.com/terra")
    assert [each.name for each in notifications.receivers("http://127.0.0.1:5000")] == ["the demo app", "NOTIFY_URL"]


@pytest.mark.parametrize(
    "url",
    ["app.example.com", "http://app.example.com/", "https://user:secret@app.example.com/", "https://a.example/?secret"],
)
def test_an_unusable_url_is_reported_without_its_value(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("NOTIFY_URL", url)
    with pytest.raises(StackError, match=r"^NOTIFY_URL is not an address [^\n]*$") as error:
        notifications.check()
    assert "secret" not in str(error.value)


# --- the demo app -----------------------------------------------------------------------------------------------------


def test_the_demo_app_shows_the_events_that_it_receives(stack: Stack, terra: Terra, reference_id: str) -> None:
    [response] = terra.deliver(auth_event(new_user_id(), reference_id))
    assert response["status"] == 200

    def notified() -> list[str]:
        timeline = httpx.get(
            f"{stack.demo_url}/timeline.json", params={"reference_id": reference_id}, timeout=30
        ).json()
        return [event["title"] for event in timeline["events"] if event["way"] == "API → app"]

    assert eventually(notified) == ["event connected"]


@pytest.mark.parametrize("headers", [{}, {KEY_HEADER: "wrong"}, {KEY_HEADER: ""}])
def test_the_demo_app_rejects_events_without_the_key(stack: Stack, headers: dict[str, str]) -> None:
    event = json.dumps({"detail": {"event_id": "evt_forged", "reference_id": "ada", "position": 1, "type": "erased"}})
    assert httpx.post(f"{stack.demo_url}/events", headers=headers, content=event, timeout=30).status_code == 401
    found = httpx.get(f"{stack.demo_url}/timeline.json", params={"reference_id": "ada"}, timeout=30)
    assert "evt_forged" not in found.text
