"""Destinations whose delivery is `ping`: URLs of payloads, over HTTP and HTTPS, their end, and what can be wrong."""

import gzip
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from receiver import Arrival, Receiver
from simulator_process import SIGNING_SECRET, Terra, running
from terra_simulator.signature import sign
from test_simulator_data import connected, send

DESTINATIONS = "/api/v3/admin/environments/test-dev/unified-api/destinations"
USUAL_KEYS = {"type", "status", "url", "expires_in"}


@pytest.fixture
def pinged(terra: Terra) -> Terra:
    terra.set(webhook_delivery="ping")
    return terra


def ping(terra: Terra, receiver: Receiver, **fields: object) -> Arrival:
    """Send data to the destination and return the webhook."""
    send(terra, connected(terra), **{"type": "daily", "date": "2026-07-01", **fields})
    return receiver.arrivals[-1]


def test_data_are_announced_by_a_url_and_other_events_are_inline(pinged: Terra, receiver: Receiver) -> None:
    user_id = pinged.connect()
    receiver.wait_for(1)
    for event_type in ("sleep", "athlete", "lab_report.completed", "route"):
        send(pinged, user_id, type=event_type)
    pinged.control("POST", f"/users/{user_id}/events", {"type": "deauth"})

    auth, *pings, deauth = receiver.arrivals
    assert (auth.type, deauth.type) == ("auth", "deauth")
    assert {each.type for each in pings} == {"s3_payload"}
    assert all(each.event.keys() == USUAL_KEYS for each in pings)
    assert all(each.event["status"] == "success" for each in pings)
    assert all(each.event["expires_in"] == 300 for each in pings)
    assert all(each.signature == sign(each.body, t=each.t, secrets=[SIGNING_SECRET]) for each in pings)
    payloads = [pinged.browser.get(each.event["url"]) for each in pings]
    assert [each.json()["type"] for each in payloads] == ["sleep", "athlete", "lab_report.completed", "route"]
    assert {each.headers["content-type"] for each in payloads} == {"application/json"}
    listed = pinged.control("GET", "/deliveries?type=s3_payload")
    assert [each["event_type"] for each in listed] == ["sleep", "athlete", "lab_report.completed", "route"]
    assert [each["fetches"] for each in pinged.control("GET", "/payloads")] == [1, 1, 1, 1]
    assert pinged.control("GET", "/requests?method=GET")[0]["path"].startswith("/payloads/")


def test_a_payload_is_the_body_that_another_destination_gets_inline(pinged: Terra, receiver: Receiver) -> None:
    token = pinged.control("POST", "/admin_tokens", {})["token"]
    with Receiver() as other:
        body = {"config": {"url": other.url, "delivery": "push"}}
        created = pinged.browser.post(DESTINATIONS, json=body, headers={"Authorization": f"Bearer {token}"})
        assert created.status_code == 201
        arrival = ping(pinged, receiver, samples=True)

        assert pinged.browser.get(arrival.event["url"]).content == other.arrivals[0].body
        position = "X-Terra-Ordering-Timestamp"
        assert arrival.headers[position] == other.arrivals[0].headers[position]


def test_chunks_are_pinged_and_announcements_are_not(pinged: Terra, receiver: Receiver) -> None:
    period = {"start_date": "2026-04-01", "end_date": "2026-06-29"}
    reference = pinged.control("POST", f"/users/{connected(pinged)}/requests", period)["answer"]["reference"]

    assert [each.type for each in receiver.arrivals] == [
        "large_request_processing",
        "large_request_sending",
        *["s3_payload"] * 3,
    ]
    chunks = receiver.arrivals[2:]
    assert [each.headers["X-Terra-Trace-Id"] for each in chunks] == [f"{reference}:chunk:{n}" for n in range(3)]
    assert sum(len(pinged.browser.get(each.event["url"]).json()["data"]) for each in chunks) == 90


def test_a_url_expires(pinged: Terra, receiver: Receiver) -> None:
    pinged.set(payload_expires_in_s=0.4)
    url = ping(pinged, receiver).event["url"]
    assert pinged.browser.get(url).status_code == 200
    time.sleep(0.5)

    late = pinged.browser.get(url)
    assert (late.status_code, "<Code>ExpiredToken</Code>" in late.text) == (400, True)


def test_the_url_of_a_retry_and_of_a_repeated_webhook_is_the_first_one(pinged: Terra, receiver: Receiver) -> None:
    receiver.answers.append(500)
    (delivery,) = send(pinged, connected(pinged))
    receiver.wait_for(2)
    pinged.control("POST", f"/deliveries/{delivery['delivery_id']}/again", {})

    assert len({each.body for each in receiver.arrivals}) == 1
    assert len(receiver.arrivals) == 3
    assert pinged.browser.get(receiver.arrivals[0].event["url"]).status_code == 200


def test_a_url_is_valid_only_with_its_signature_and_its_path(pinged: Terra, receiver: Receiver) -> None:
    url = ping(pinged, receiver).event["url"]

    for wrong in (url[:-1], url.partition("?")[0], url.replace("/daily-", "/sleep-")):
        assert pinged.browser.get(wrong).status_code == 403
    assert pinged.browser.get(url).status_code == 200


def test_faults_of_the_storage_can_be_requested(pinged: Terra, receiver: Receiver) -> None:
    url = ping(pinged, receiver).event["url"]
    pinged.control("POST", "/faults", {"path": "/payloads/*", "kind": "status", "status": 503, "times": 1})

    assert [pinged.browser.get(url).status_code for _ in range(2)] == [503, 200]


def test_a_payload_may_be_of_another_user(pinged: Terra, receiver: Receiver) -> None:
    url = ping(pinged, receiver).event["url"]
    right = pinged.browser.get(url).json()
    pinged.set(payload_fault="wrong_user")

    wrong = pinged.browser.get(url).json()
    assert wrong["user"]["user_id"] != right["user"]["user_id"]
    assert wrong["data"] == right["data"]


def test_a_payload_may_redirect(pinged: Terra, receiver: Receiver) -> None:
    pinged.set(payload_fault="redirect")
    response = pinged.browser.get(ping(pinged, receiver).event["url"])

    assert (response.status_code, response.headers["location"][:23]) == (302, "http://169.254.169.254/")
    pinged.set(payload_redirect_to="http://127.0.0.1:9001/")
    assert pinged.browser.get(receiver.arrivals[0].event["url"]).headers["location"] == "http://127.0.0.1:9001/"


def received(url: str, *, chunk: int = 1_000_000) -> tuple[int, int]:
    """Return the sizes of a payload as it is transferred and unpacked, without keeping it."""
    unpacked = 0
    with httpx.stream("GET", url, trust_env=False, timeout=60) as response:
        for block in response.iter_bytes(chunk):
            unpacked += len(block)
        return response.num_bytes_downloaded, unpacked


def test_a_gzip_bomb_is_small_until_it_is_unpacked(pinged: Terra, receiver: Receiver) -> None:
    pinged.set(payload_fault="gzip_bomb", payload_bytes=200_000_000)
    transferred, unpacked = received(ping(pinged, receiver).event["url"])

    assert unpacked == 200_000_000
    assert transferred < 2_000_000


def test_a_large_payload_has_exactly_its_size_and_is_json(pinged: Terra, receiver: Receiver) -> None:
    pinged.set(payload_fault="large", payload_bytes=100_000_000)
    url = ping(pinged, receiver).event["url"]
    assert received(url) == (100_000_000, 100_000_000)
    pinged.set(payload_bytes=50_001)

    small = pinged.browser.get(url)
    assert len(small.content) == int(small.headers["content-length"]) == 50_001
    assert small.json()["type"] == "daily"


def test_a_slow_payload_comes_byte_by_byte(pinged: Terra, receiver: Receiver) -> None:
    pinged.set(payload_fault="slow", payload_pause_s=0.3)
    url = ping(pinged, receiver).event["url"]
    with httpx.stream("GET", url, trust_env=False, timeout=30) as response:
        blocks = response.iter_raw()
        started = time.monotonic()
        assert [len(next(blocks)) for _ in range(3)] == [1, 1, 1]
        assert time.monotonic() - started > 0.4
    pinged.set(payload_pause_s=0)
    assert pinged.browser.get(url).json()["type"] == "daily"


def test_a_payload_may_be_cut(pinged: Terra, receiver: Receiver) -> None:
    pinged.set(payload_fault="truncated")
    with pytest.raises(httpx.HTTPError):
        pinged.browser.get(ping(pinged, receiver).event["url"])


def test_a_binary_payload_is_served_as_it_is(pinged: Terra, receiver: Receiver) -> None:
    pinged.set(output_format="fit")
    url = ping(pinged, receiver, type="activity").event["url"]

    assert pinged.browser.get(url).content[8:12] == b".FIT"
    for fault in ("wrong_user", "large"):
        pinged.set(payload_fault=fault, payload_bytes=1000)
        assert pinged.browser.get(url).status_code == 200


def test_the_beginning_of_the_urls_can_be_set(pinged: Terra, receiver: Receiver) -> None:
    pinged.set(payload_url="https://terra-payload-bucket.s3.eu-west-2.amazonaws.com/payloads")

    url = ping(pinged, receiver).event["url"]
    assert url.startswith("https://terra-payload-bucket.s3.eu-west-2.amazonaws.com/payloads/")
    here = f"{pinged.url}/payloads{url.partition('/payloads')[2]}"
    assert pinged.browser.get(here).json()["type"] == "daily"


def test_pings_and_their_payloads_survive_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    options = ("--state", str(tmp_path / "state.json"), "--webhook-url", receiver.url)
    with running(*options) as terra:
        terra.set(webhook_delivery="ping", payload_url=None)
        terra.control("POST", "/hold")
        send(terra, connected(terra))
    with running(*options) as terra:
        (delivery,) = terra.control("GET", "/deliveries")
        path = delivery["body"]["url"].partition("/payloads")[2]
        assert terra.browser.get(f"/payloads{path}").json()["type"] == "daily"
        assert terra.control("GET", "/settings")["webhook_delivery"] == "ping"


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Terra, trustme.CA]]:
    folder, authority = tmp_path_factory.mktemp("certificate"), trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    paths = ("--certificate", str(folder / "certificate.pem"), "--certificate-key", str(folder / "key.pem"))
    with running("--https-port", "0", *paths) as terra:
        yield terra, authority


def test_payloads_are_served_over_https_with_the_given_certificate(
    secure: tuple[Terra, trustme.CA], receiver: Receiver
) -> None:
    terra, authority = secure
    terra.set(webhook_url=receiver.url, webhook_delivery="ping")
    url = ping(terra, receiver).event["url"]
    assert url.startswith("https://127.0.0.1:")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with httpx.Client(verify=trusting, trust_env=False) as client:
        assert client.get(url).json()["type"] == "daily"
        assert client.get(httpx.URL(url).join("/_control/health")).status_code == 404
        terra.control("POST", "/payloads/expire")
        assert client.get(url).status_code == 400
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)
    terra.set(payload_url=None)
    assert ping(terra, receiver).event["url"].startswith(f"{terra.url}/payloads/")


def test_a_bomb_unpacks_to_json(pinged: Terra, receiver: Receiver) -> None:
    pinged.set(payload_fault="gzip_bomb", payload_bytes=100_000)
    with httpx.stream("GET", ping(pinged, receiver).event["url"], trust_env=False) as response:
        packed = b"".join(response.iter_raw())

    body: Any = json.loads(gzip.decompress(packed))
    assert body["type"] == "daily"
