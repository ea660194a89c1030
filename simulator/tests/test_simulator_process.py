import json
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from receiver import Receiver
from simulator_process import SOURCES, Terra, running


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_users_and_undelivered_webhooks_survive_a_restart(
    tmp_path: Path, receiver: Receiver, ending: signal.Signals
) -> None:
    state = tmp_path / "terra" / "state.json"
    receiver.answers.append(500)
    with running("--state", str(state), "--webhook-url", receiver.url) as terra:
        connected = terra.connect("anna")
        (first,) = receiver.wait_for(1)
        begun = terra.authenticate("anna", "OURA")
        widget = terra.back_end.post("/api/widget/session").json()
        wait_for_attempt(terra)
        terra.process.send_signal(ending)
        assert terra.process.wait(30) == (0 if ending is signal.SIGTERM else -ending)

    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert [path.name for path in state.parent.iterdir()] == ["state.json"]
    with running("--state", str(state), "--webhook-url", receiver.url, "--retry-scale", "0.001") as terra:
        assert terra.user_info(connected)["is_authenticated"] is True
        assert terra.user_info(begun["user_id"])["is_authenticated"] is False
        terra.control("POST", "/retry_now")
        again = receiver.wait_for(2)[1]
        assert again.body == first.body
        assert again.headers["X-Terra-Trace-Id"] == first.headers["X-Terra-Trace-Id"]
        assert again.headers["X-Terra-Ordering-Timestamp"] == first.headers["X-Terra-Ordering-Timestamp"]
        token = begun["auth_url"].rsplit("/", 1)[1]
        assert terra.decide(f"/login/{token}").status_code == 200
        assert terra.browser.get(f"/widget/session/{widget['session_id']}").status_code == 200


def wait_for_attempt(terra: Terra) -> None:
    deadline = time.monotonic() + 30
    while not terra.control("GET", "/deliveries")[0]["attempts"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_queued_webhooks_stay_queued_after_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    options = ("--state", str(tmp_path / "state.json"), "--webhook-url", receiver.url)
    with running(*options) as terra:
        terra.control("POST", "/hold")
        terra.connect()
    with running(*options) as terra:
        assert terra.control("GET", "/deliveries")[0]["state"] == "held"
        terra.control("POST", "/release")
    assert len(receiver.arrivals) == 1


def test_stopping_does_not_wait_for_running_calls() -> None:
    with running() as terra, socket.create_connection(("127.0.0.1", int(terra.url.rsplit(":", 1)[1]))) as busy:
        terra.control("POST", "/faults", {"path": "/integrations", "kind": "slow", "delay_s": 60})
        busy.sendall(b"GET /api/v2/integrations HTTP/1.1\r\nHost: x\r\n\r\n")
        while not terra.control("GET", "/requests"):
            time.sleep(0.02)
        terra.process.send_signal(signal.SIGTERM)
        assert terra.process.wait(45) == 0


def run(*arguments: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "terra_simulator", "serve", "--dev-id", "x", *arguments]
    return subprocess.run(
        command,
        env={"PYTHONPATH": str(SOURCES), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


SECRETS = {"TERRA_SIMULATOR_API_KEY": "a", "TERRA_SIMULATOR_SIGNING_SECRET": "b"}


def test_a_port_in_use_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ended = run("--port", str(port), environment=SECRETS)

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"terra-simulator: port {port} on 127.0.0.1 cannot be used")
    assert ended.stderr.count("\n") == 1


def test_without_secrets_the_defaults_apply_and_are_printed() -> None:
    command = [sys.executable, "-m", "terra_simulator", "serve", "--port", "0"]
    for environment, shown in (
        ({}, "  dev-id test-dev, API key test-api-key, signing secret test-signing-secret\n"),
        ({"TERRA_SIMULATOR_API_KEY": "secret"}, "  dev-id test-dev, signing secret test-signing-secret\n"),
    ):
        with subprocess.Popen(
            command, env={"PYTHONPATH": str(SOURCES), **environment}, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("Terra simulator on http://127.0.0.1:")
            assert process.stdout.readline() == shown
            process.terminate()


def test_it_ends_when_standard_input_ends() -> None:
    command = [sys.executable, "-m", "terra_simulator", "serve", "--port", "0", "--stop-with-stdin"]
    ended = subprocess.run(
        command,
        env={"PYTHONPATH": str(SOURCES)},
        input="line\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lose", "2"), "webhook_loss: Input should be less than or equal to 1"),
        (("--duplicate", "0"), "webhook_copies: Input should be greater than or equal to 1"),
        (("--host", "192.0.2.1"), "port 0 on 192.0.2.1 cannot be used"),
        (("--time", "2026-07-01T12:00:00"), "add Z or another offset from UTC"),
        (("--port", "70000"), "port 70000 on 127.0.0.1 cannot be used"),
    ],
)
def test_invalid_options_are_reported_without_a_traceback(arguments: tuple[str, ...], message: str) -> None:
    ended = run("--port", "0", *arguments, environment={})

    assert ended.returncode in {1, 2}
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_faults_of_the_command_line_apply_to_every_webhook(receiver: Receiver) -> None:
    with running("--webhook-url", receiver.url, "--duplicate", "--reorder", "0.5", "--seed", "1") as terra:
        for number in range(10):
            terra.connect(f"user-{number}")
        arrivals = receiver.wait_for(20)
        users = [each.event["user"]["reference_id"] for each in arrivals]
        assert sorted(users) == sorted([f"user-{number}" for number in range(10)] * 2)
        assert users != sorted(users)

    with running("--webhook-url", receiver.url, "--lose") as terra:
        for number in range(200):
            terra.control("POST", "/users", {"reference_id": f"user-{number}"})
        assert 0 < len(terra.control("GET", "/deliveries?state=lost")) < 60


def test_another_name_of_this_machine_is_accepted_if_the_public_url_has_it() -> None:
    with running("--public-url", "http://terra:4102", "--host", "0.0.0.0") as terra:  # noqa: S104
        for host, status in (("terra:4102", 200), ("127.0.0.1", 200), ("evil.example", 403)):
            assert terra.browser.get("/_control/health", headers={"Host": host}).status_code == status
            assert terra.browser.get("/", headers={"Host": host}).status_code == status


@pytest.mark.parametrize("content", [{"users": 7}, {"people": {}}], ids=["invalid", "of an earlier version"])
def test_an_unreadable_state_is_reported_in_one_line_and_kept(tmp_path: Path, content: object) -> None:
    state = tmp_path / "state.json"
    state.write_text(json.dumps(content))

    ended = run("--port", "0", "--state", str(state), environment=SECRETS)

    assert ended.returncode == 1
    assert "remove it" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert json.loads(state.read_text()) == content


def test_it_listens_on_127_0_0_1_only() -> None:
    with running() as terra, pytest.raises(OSError, match=r"refused|assign|timed out"):
        # Linux routes all of 127/8 to itself: a server on every interface would respond here.
        socket.create_connection(("127.0.0.2", int(terra.url.rsplit(":", 1)[1])), timeout=2)


def test_https_needs_a_certificate_that_can_be_read(tmp_path: Path) -> None:
    environment = {
        "PYTHONPATH": str(SOURCES),
        "TERRA_SIMULATOR_API_KEY": "key",
        "TERRA_SIMULATOR_SIGNING_SECRET": "secret",
    }
    command = [sys.executable, "-m", "terra_simulator", "serve", "--port", "0", "--dev-id", "dev", "--https-port", "0"]
    missing = ["--certificate", str(tmp_path / "none.pem"), "--certificate-key", str(tmp_path / "none.key")]
    for more, message in (([], "--https-port needs --certificate"), (missing, "cannot be read")):
        result = subprocess.run([*command, *more], env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
