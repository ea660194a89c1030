"""The commands `data` and `trigger`, and the commands that the README and the container file have."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from receiver import Receiver
from simulator_process import Terra
from terra_simulator.__main__ import main, parser
from test_simulator_data import connected

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - inside the container
README = Path(__file__).parents[1] / "README.md"


def command(terra: Terra, *arguments: str) -> int:
    return main(["data", "--url", terra.url, *arguments])


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
    assert main(["data", "--url", "http://127.0.0.1:1", "expire"]) == 1
    assert "no simulator responds on http://127.0.0.1:1" in capsys.readouterr().err


def trigger(terra: Terra, *arguments: str) -> int:
    return main(["trigger", *arguments, "--url", terra.url])


def test_events_are_triggered(terra: Terra, receiver: Receiver, capsys: pytest.CaptureFixture[str]) -> None:
    assert trigger(terra, "auth", "--user", "berta", "--provider", "GARMIN") == 0
    assert trigger(terra, "auth") == 0
    assert trigger(terra, "connection_error", "--user", "berta", "--set", "message=expired") == 0
    assert trigger(terra, "daily", "--set", "date=2026-07-01", "--user", "alice") == 0
    assert trigger(terra, "user_reauth") == 0

    found = [(each.type, each.event.get("user", {}).get("reference_id")) for each in receiver.arrivals]
    berta = [("auth", "berta"), ("auth", "alice"), ("connection_error", "berta")]
    assert found == [*berta, ("daily", "alice"), ("auth", "alice"), ("user_reauth", None)]
    assert receiver.arrivals[0].event["user"]["provider"] == "GARMIN"
    assert receiver.arrivals[2].event["message"] == "expired"
    assert receiver.arrivals[3].event["data"][0]["metadata"]["start_time"].startswith("2026-07-01")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert all(": delivered, 200, trace id " in each for each in lines)


def test_a_failed_webhook_sets_the_exit_status(
    terra: Terra, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.answers.append(500)
    terra.set(retry_scale=1000)
    assert trigger(terra, "auth") == 1
    assert capsys.readouterr().out.startswith("auth: pending, 500, trace id ")
    terra.set(webhook_url=None)
    assert trigger(terra, "deauth") == 1
    assert "there is no destination for it" in capsys.readouterr().err


def test_a_connection_of_the_provider_is_needed(terra: Terra, capsys: pytest.CaptureFixture[str]) -> None:
    connected(terra)
    assert trigger(terra, "deauth", "--user", "anna", "--provider", "OURA") == 1
    assert "anna has no connection of OURA: run `terra-simulator trigger auth --user anna`" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        trigger(terra, "unknown")


def commands(text: str) -> list[list[str]]:
    """Return the arguments of each `terra-simulator ...` in the shell blocks of a text, and of each in a table."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(terra-simulator [^`]+)`", text)
    return [
        shlex.split(line.partition("terra-simulator ")[2], comments=True)
        for line in lines
        if "terra-simulator " in line
    ]


def test_the_commands_of_the_readme_exist() -> None:
    found = commands(README.read_text())
    assert {each[0] for each in found} == {"serve", "trigger", "listen", "data"}
    for each in found:
        assert parser().parse_args(each)


def test_the_container_runs_the_commands_of_the_readme() -> None:
    lines = (README.parent / "Containerfile").read_text().splitlines()
    entry, default = (json.loads(line.partition(" ")[2]) for line in lines if line.startswith(("ENTRYPOINT", "CMD")))
    assert entry == ["terra-simulator"]
    assert parser().parse_args(default).host == EVERY_ADDRESS
    in_container = re.findall(r"^(?:docker|podman) run .* terra-simulator:local(.*)$", README.read_text(), re.MULTILINE)
    assert in_container
    for each in in_container:
        assert parser().parse_args(shlex.split(each) or default).host == EVERY_ADDRESS
    copied = {name for line in lines if line.startswith("COPY") for name in line.split()[1:-1]}
    assert all((README.parent / name).exists() for name in copied)


def test_the_packages_of_the_container_are_the_dependencies() -> None:
    project = tomllib.loads((README.parent / "pyproject.toml").read_text())
    lines = (README.parent / "requirements.in").read_text().splitlines()
    listed = {line for line in lines if not line.startswith(("#", "-"))}
    assert listed == {*project["project"]["dependencies"], *project["build-system"]["requires"]}
