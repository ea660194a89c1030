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
    command = [sys.executable, "-m", "terra_simulator", "--dev-id", "x", *arguments]
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
    assert ended.stderr.startswith(f"Terra simulator: port {port} on 127.0.0.1 cannot be used")
    assert ended.stderr.count("\n") == 1


def test_a_missing_secret_is_reported_in_one_line() -> None:
    ended = run("--port", "0", environment={"TERRA_SIMULATOR_API_KEY": "a"})

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "Terra simulator: the environment variable TERRA_SIMULATOR_SIGNING_SECRET is not set\n"


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
    command = [sys.executable, "-m", "terra_simulator", "--port", "0", "--dev-id", "dev", "--https-port", "0"]
    missing = ["--certificate", str(tmp_path / "none.pem"), "--certificate-key", str(tmp_path / "none.key")]
    for more, message in (([], "--https-port needs --certificate"), (missing, "cannot be read")):
        result = subprocess.run([*command, *more], env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
