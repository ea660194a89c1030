"""Tests of the back end in flask_receiver.py, with the fixture `terra` of the simulator's pytest plugin."""

import threading
from collections.abc import Iterator

import httpx
import pytest
from werkzeug.serving import make_server

from flask_receiver import create_app
from terra_simulator.testing import Terra


@pytest.fixture
def back_end(terra: Terra) -> Iterator[httpx.Client]:
    app = create_app(
        api_url=terra.api_url, dev_id=terra.dev_id, api_key=terra.api_key, signing_secret=terra.signing_secret
    )
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    terra.send_to(f"{url}/terra")
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        yield client
    server.shutdown()


def test_a_user_connects(terra: Terra, back_end: httpx.Client) -> None:
    started = back_end.post("/connect/alice/GARMIN").json()
    assert back_end.get("/users/alice").json()["connections"] == {}

    terra.login(started["auth_url"])  # the user allows it in a browser

    assert back_end.get("/users/alice").json()["connections"] == {"GARMIN": "connected"}
    assert terra.deliveries("auth")[0].status == 200


def test_the_latest_event_counts_in_any_order(terra: Terra, back_end: httpx.Client) -> None:
    with terra.reorder():
        alice = terra.connect("alice", "GARMIN")
        terra.trigger("deauth", alice)

    assert [each.type for each in terra.deliveries()] == ["auth", "deauth"]
    assert back_end.get("/users/alice").json()["connections"] == {"GARMIN": "disconnected"}


def test_half_a_year_arrives_in_chunks(terra: Terra, back_end: httpx.Client) -> None:
    terra.connect("alice", "GARMIN")
    terra.reorder("shuffled")
    terra.duplicate()

    terra.chunks(43)

    assert len(terra.deliveries("daily")) == 2 * 43
    assert back_end.get("/users/alice").json()["days"] == 43


def test_a_lost_webhook_is_sent_again_by_nothing(terra: Terra, back_end: httpx.Client) -> None:
    with terra.lose():
        terra.connect("alice", "GARMIN")

    terra.time.advance(days=2)

    assert [each.state for each in terra.deliveries("auth")] == ["lost"]
    assert back_end.get("/users/alice").json()["connections"] == {}


def test_a_failed_webhook_is_retried_after_thirty_seconds(terra: Terra, back_end: httpx.Client) -> None:
    terra.set(signing_secret="another")
    (rejected,) = terra.connect("alice", "GARMIN").deliveries
    assert (rejected.state, rejected.status) == ("pending", 401)
    terra.set(signing_secret=terra.signing_secret)

    terra.time.advance(seconds=30)

    assert [(each.state, each.attempts) for each in terra.deliveries("auth")] == [("delivered", 2)]
    assert back_end.get("/users/alice").json()["connections"] == {"GARMIN": "connected"}
