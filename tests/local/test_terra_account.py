"""The local stack with a Terra other than the simulator: accepted and rejected settings, and a session at a stub."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local import terra_account, testing
from local.processes import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIMULATOR = "http://127.0.0.1:4000"
REAL = {
    "TERRA_API_URL": "https://access.tryterra.co/api/v2",
    "TERRA_WIDGET_URL": "https://access.tryterra.co/api/widget/session",
    "TERRA_DEV_ID": "testingElliott",
    "TERRA_API_KEY": "a-key-of-terra",
}


@pytest.fixture(autouse=True)
def _no_other_terra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in terra_account.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> terra_account.TerraAccount:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return terra_account.read(SIMULATOR, dev_id="local-dev", api_key="own-key", signing_secret="own-secret")


def test_the_simulator_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    account = read(monkeypatch)
    assert account.is_simulator
    assert (account.api_url, account.widget_url) == (f"{SIMULATOR}/api/v2", f"{SIMULATOR}/api/widget/session")
    assert (account.dev_id, account.api_key, account.signing_secret) == ("local-dev", "own-key", "own-secret")


def test_each_variable_replaces_only_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    account = read(monkeypatch, TERRA_API_KEY="terra_dt_abc", TERRA_DEV_ID="")
    assert account.is_simulator
    assert (account.dev_id, account.api_key, account.signing_secret) == ("local-dev", "terra_dt_abc", "own-secret")


def test_the_real_terra_is_not_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    account = read(monkeypatch, **REAL)
    assert not account.is_simulator
    assert (account.api_url, account.signing_secret) == (REAL["TERRA_API_URL"], "own-secret")
    assert account.urls_here == []


@pytest.mark.parametrize("missing", ["TERRA_WIDGET_URL", "TERRA_DEV_ID", "TERRA_API_KEY"])
def test_another_terra_requires_all_of_its_settings(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    with pytest.raises(StackError, match=f"needs {missing}, too"):
        read(monkeypatch, **{name: value for name, value in REAL.items() if name != missing})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TERRA_API_URL", "access.tryterra.co/api/v2"),
        ("TERRA_API_URL", "http://access.tryterra.co/api/v2"),
        ("TERRA_API_URL", "https://user:pass-word@access.tryterra.co/api/v2"),
        ("TERRA_API_URL", "https://access.tryterra.co/api/v2?x=pass-word"),
        ("TERRA_API_URL", "https:///api/v2"),
        ("TERRA_API_URL", "https://[half"),
        ("TERRA_API_URL", "http://127.0.0.1:99999"),
        ("TERRA_WIDGET_URL", "ftp://127.0.0.1/pass-word"),
        ("TERRA_DEV_ID", "pass word"),
        ("TERRA_API_KEY", "pass-word\n"),
        ("TERRA_API_KEY", "\u201cpass-word\u201d"),
        ("TERRA_SIGNING_SECRET", "pass word"),
    ],
)
def test_an_invalid_value_is_reported_by_the_name_of_its_variable_only(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(StackError) as error:
        read(monkeypatch, **{name: value})
    assert str(error.value).startswith(f"{name} ")
    assert "\n" not in str(error.value)
    assert "pass" not in str(error.value)


# -- a session ---------------------------------------------------------------------------------------------------------


@contextmanager
def stub() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A stub of Terra that accepts every login, and the requests that it received."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received.append({"path": self.path, "headers": headers, "body": json.loads(body)})
            url = "https://widget.example.com/w" if "widget" in self.path else "https://login.example.com/l"
            response = {"status": "success", "session_id": "w-1", "url": url, "user_id": "u-1", "auth_url": url}
            content = json.dumps(response).encode()
            self.send_response(201)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()


def test_a_session_is_created_at_the_configured_terra(tmp_path: Path) -> None:
    secrets = {"TERRA_API_KEY": "terra_dt_stub0123456789", "TERRA_SIGNING_SECRET": "stub-secret-0123456789"}
    with stub() as (url, received):
        variables = {
            "TERRA_API_URL": f"{url}/v2/",
            "TERRA_WIDGET_URL": f"{url}/widget",
            "TERRA_DEV_ID": "stub-dev",
            **secrets,
        }
        with testing.running_stack(directory=tmp_path / "stack", variables=variables) as stack:
            service = {"authorization": f"Bearer {stack.service_key}"}
            login = httpx.post(
                f"{stack.api_url}/sessions",
                json={"reference_id": "ada", "resource": "FITBIT"},
                headers=service,
                timeout=30,
            )
            widget = httpx.post(f"{stack.api_url}/sessions", json={"reference_id": "ada"}, headers=service, timeout=30)
            output = stack.output.read_text()
            description = (stack.directory / "stack.json").read_text()
    assert (login.status_code, login.json()["auth_url"]) == (201, "https://login.example.com/l")
    assert (widget.status_code, widget.json()["auth_url"]) == (201, "https://widget.example.com/w")
    assert [call["path"] for call in received] == ["/v2/auth/authenticateUser?resource=FITBIT", "/widget"]
    for call in received:
        assert call["headers"]["dev-id"] == "stub-dev"
        assert call["headers"]["authorization"] == f"Bearer {secrets['TERRA_API_KEY']}"
        assert "x-api-key" not in call["headers"]
        assert call["body"]["auth_success_redirect_url"].startswith(stack.api_url)
    assert f"{url}/v2   (dev-id stub-dev" in output
    for secret in secrets.values():
        assert secret not in output + description


def test_an_invalid_value_ends_the_start_with_one_line(tmp_path: Path) -> None:
    process = testing.launch(tmp_path, variables={"TERRA_API_URL": "http://terra.example.com"})
    assert process.wait(60) == 1
    lines = (tmp_path / "output.txt").read_text().splitlines()
    assert lines[-1].startswith("TERRA_API_URL is not an address that can be used")
