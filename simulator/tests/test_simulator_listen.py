"""`terra-simulator listen`: webhooks are printed and forwarded, and at the end its destination is removed."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from admin_client import DESTINATIONS, Admin
from receiver import Receiver
from simulator_process import SIGNING_SECRET, SOURCES, Terra, running
from terra_simulator.__main__ import main
from terra_simulator.signature import sign


@contextmanager
def listening(terra: Terra, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-W", "error", "-m", "terra_simulator", "listen", "--url", terra.url, *arguments]
    with subprocess.Popen(
        command, env={"PYTHONPATH": str(SOURCES)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def ended(process: "subprocess.Popen[str]", signal_number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
    process.send_signal(signal_number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def destinations(admin: Admin) -> list[Any]:
    found: list[Any] = admin.call("GET", DESTINATIONS)["data"]
    return found


def connect(terra: Terra, reference_id: str) -> list[Any]:
    found: list[Any] = terra.control("POST", "/users", {"reference_id": reference_id})["deliveries"]
    return found


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_webhooks_are_forwarded_and_the_destination_is_removed(
    terra: Terra, admin: Admin, ending: signal.Signals
) -> None:
    before = destinations(admin)
    with Receiver() as back_end, listening(terra, "--forward-to", back_end.url) as process:
        assert line(process) == f"Webhooks of {terra.url} are forwarded to {back_end.url}. Ctrl-C ends it.\n"
        assert len(destinations(admin)) == len(before) + 1
        back_end.answers.append(503)

        deliveries = connect(terra, "anna")

        forwarded = next(each for each in deliveries if each["destination_id"] != before[0]["id"])
        assert forwarded["attempts"][0]["status"] == 503
        assert forwarded["attempts"][0]["answer"] == "answered 503"
        first, second = back_end.wait_for(2)  # Terra tries again
        assert first.body == second.body
        assert first.signature == sign(first.body, t=first.t, secrets=[SIGNING_SECRET])
        assert first.headers["X-Terra-Trace-Id"] == forwarded["trace_id"]
        assert first.headers["Host"] in back_end.url
        assert line(process)[8:].startswith("  auth  anna  503 (")
        assert line(process)[8:].startswith("  auth  anna  200 (")
        assert ended(process, ending) == (0, "")

    assert destinations(admin) == before
    assert len(terra.control("GET", "/deliveries")) == 2


def test_only_the_chosen_types_are_printed_with_their_bodies(terra: Terra, admin: Admin) -> None:
    with listening(terra, "--events", "deauth", "--json", "--own-secret") as process:
        secret = line(process).removeprefix("Signing secret: ").strip()
        assert len(secret) == 64
        assert line(process).startswith(f"Webhooks of {terra.url} are printed.")
        assert admin.call("GET", DESTINATIONS)["data"][1]["event_types"] == ["deauth"]
        user_id = terra.connect("anna")
        terra.control("POST", f"/users/{user_id}/events", {"type": "deauth"})

        assert line(process)[8:] == "  deauth  anna  printed\n"
        assert [line(process) for _ in range(2)] == ["{\n", '  "type": "deauth",\n']
        assert ended(process) == (0, "")


def test_an_absent_back_end_is_reported_and_the_webhook_is_retried(terra: Terra) -> None:
    terra.set(webhook_url=None, retry_scale=1000)
    with listening(terra, "--forward-to", "http://127.0.0.1:1/") as process:
        line(process)
        (delivery,) = connect(terra, "anna")

        assert (delivery["state"], delivery["attempts"][0]["status"]) == ("pending", 502)
        assert "auth  anna  no response (" in line(process)
        assert ended(process) == (0, "")


def test_it_ends_with_the_simulator() -> None:
    with ExitStack() as stack:
        with running() as terra:
            process = stack.enter_context(listening(terra))
            line(process)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert f"no simulator responds on {terra.url}" in errors
    assert "Traceback" not in errors


def test_errors_of_listen_are_one_line(terra: Terra, capsys: pytest.CaptureFixture[str]) -> None:
    with listening(terra, "--events", "unknown") as process:
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (1, "terra-simulator: event_types: unknown event type unknown\n")
    assert main(["data", "--url", f"{terra.url}/elsewhere", "expire"]) == 1
    assert "is not a simulator" in capsys.readouterr().err
