"""The command that lets a running simulator send data."""

import pytest

from receiver import Receiver
from simulator_process import Terra
from terra_simulator import data_command
from test_simulator_data import connected


def command(terra: Terra, *arguments: str) -> int:
    return data_command.main(["--url", terra.url, *arguments])


def test_days_corrections_values_and_sizes_are_sent(
    terra: Terra, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    anna, berta = connected(terra), connected(terra, "berta")
    assert command(terra, "send", "sleep", "--reference-id", "anna", "--date", "2026-07-01", "--samples") == 0
    assert command(terra, "send", "daily", "--corrections", "1") == 0
    assert command(terra, "send", "daily", "--values", "100,120,100", "--field", "distance_data.steps") == 0
    assert command(terra, "send", "health_observation", "--status", "3", "--user-id", anna) == 0
    assert command(terra, "send", "body", "--size", "100000", "--days", "2") == 0

    users = [arrival.event["user"]["user_id"] for arrival in receiver.arrivals]
    assert users == [anna, *[berta] * 4, anna, berta]
    assert receiver.arrivals[0].event["data"][0]["heart_rate_data"]["detailed"]
    assert [each.event["data"][0]["distance_data"]["steps"] for each in receiver.arrivals[2:5]] == [100, 120, 100]
    assert len(receiver.arrivals[-1].body) == 100_000
    assert capsys.readouterr().out.startswith("sleep: delivered, 200, trace id ")


def test_a_period_is_requested_and_settings_are_changed(
    terra: Terra, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    connected(terra)
    settings = ("webhook_delivery=ping", "chunk_days=100", 'large_request_order=["chunks"]')
    assert command(terra, "set", *settings) == 0
    assert command(terra, "request", "daily", "2026-04-01", "2026-06-29", "--reference-id", "anna") == 0
    assert command(terra, "expire") == 0

    (arrival,) = receiver.arrivals
    assert terra.browser.get(arrival.event["url"]).status_code == 400
    printed = capsys.readouterr().out
    assert 'webhook_delivery="ping"' in printed
    assert "s3_payload of daily: delivered, 200" in printed
    assert "1 URLs have expired." in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("send", "auth"), "type must be all or one of"),
        (("send", "daily", "--reference-id", "missing"), "missing has no connection"),
        (("send", "daily", "--user-id", "missing"), "no such user"),
        (("set", "nothing"), "must be NAME=VALUE"),
        (("set", "payload_fault=none_of_these"), "Input should be"),
    ],
)
def test_errors_are_one_line(
    terra: Terra, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    connected(terra)
    assert command(terra, *arguments) == 1
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_an_absent_simulator_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert data_command.main(["--url", "http://127.0.0.1:1", "expire"]) == 1
    assert "no simulator responds on http://127.0.0.1:1" in capsys.readouterr().err
