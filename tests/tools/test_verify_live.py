"""`make verify-live` at the simulator: real processes, requests and signatures, in both answers of each question."""

import io
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from simulator_process import API_KEY, DEV_ID, Terra, running
from tests.support.processes import kill_with_descendants
from tests.support.waiting import eventually
from tools.environment import ROOT, without_aws
from tools.verify_live.__main__ import main
from tools.verify_live.facts import QUESTIONS
from tools.verify_live.scratch import MARKER

SCOPES = [
    "connections:read",
    "destinations:read",
    "destinations:write",
    "events:read",
    "events:write",
    "testdata:write",
]
ADMIN = f"/api/v3/admin/environments/{DEV_ID}"
DESTINATIONS = f"{ADMIN}/unified-api/destinations"
ROW = re.compile(r"\| `(\w+)` \| [^|]+ \| ([^|]+) \| ([^|]*) \|")


@dataclass
class Result:
    status: int
    out: str
    err: str
    sheet: str

    @property
    def answers(self) -> dict[str, str]:
        return {key: answer for key, answer, _ in ROW.findall(self.sheet)}

    @property
    def details(self) -> dict[str, str]:
        return {key: detail for key, _, detail in ROW.findall(self.sheet)}


@dataclass
class Live:
    """The command, and the account that it is run against."""

    terra: Terra
    folder: Path
    port: int
    environment: dict[str, str]
    token: str = ""

    def authorize(self, *scopes: str, **more: object) -> None:
        self.token = self.terra.control("POST", "/admin_tokens", {"scopes": list(scopes), **more})["token"]
        self.environment["TERRA_ADMIN_TOKEN"] = self.token

    def command(self, *options: str) -> list[str]:
        command = [sys.executable, "-m", "tools.verify_live", "--dev-id", DEV_ID, "--port", str(self.port)]
        command += ["--receiver-url", f"http://127.0.0.1:{self.port}", "--facts", str(self.sheet_file)]
        # The simulator's first retry is after three seconds.
        return [*command, "--within", "120", "--patience", "2", "--yes", *options]

    def start(self, *options: str, stdin: int = subprocess.DEVNULL) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command(*options),
            cwd=ROOT,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def sheet_file(self) -> Path:
        return self.folder / "facts.md"

    def finish(self, process: "subprocess.Popen[str]") -> Result:
        try:
            out, err = process.communicate(timeout=300)
        finally:
            kill_with_descendants(process)
        sheet = self.sheet_file.read_text() if self.sheet_file.exists() else ""
        for secret in (self.token, API_KEY):
            assert secret not in out + err + sheet
        assert err.count("\n") <= 1, err
        return Result(process.returncode, out, err, sheet)

    def run(self, *options: str) -> Result:
        return self.finish(self.start(*options))

    def error(self, *options: str) -> str:
        result = self.run(*options)
        assert (result.status, result.sheet) == (1, ""), result.out + result.err
        assert self.left() == []
        return result.err

    def settle(self, *options: str) -> Result:
        """Run the command successfully; nothing is left."""
        result = self.run(*options)
        self.check_success(result)
        return result

    def check_success(self, result: Result) -> None:
        assert (result.status, result.err) == (0, ""), result.out + result.err
        assert self.left() == []
        assert not re.search(r"[0-9a-f]{8}-|[0-9a-f]{16}|[0-9]{10}", result.sheet)
        for delivery in self.terra.control("GET", "/deliveries"):
            for name in ("event_id", "trace_id", "destination_id"):
                assert str(delivery[name]) not in result.sheet + result.out

    def admin(self, method: str, path: str) -> Any:  # noqa: ANN401 - JSON
        token = self.terra.control("POST", "/admin_tokens", {"scopes": SCOPES})["token"]
        response = self.terra.browser.request(method, path, headers={"authorization": f"Bearer {token}"})
        assert response.is_success, response.text
        return response.json()

    def left(self) -> list[str]:
        """Return what of the command's is at Terra."""
        urls = [each["url"] for each in self.admin("GET", DESTINATIONS)["data"]]
        users = [str(each["reference_id"]) for each in self.terra.control("GET", "/users")]
        return [each for each in (*urls, *users) if MARKER in each]

    def until_prints(self, process: "subprocess.Popen[str]", text: str) -> str:
        """Wait for a line, and return everything until then."""
        assert process.stdout is not None
        printed = ""
        while text not in printed:
            line = process.stdout.readline()
            assert line, printed + (process.stderr.read() if process.stderr else "")
            printed += line
        return printed


@pytest.fixture(scope="module")
def simulator() -> Iterator[Terra]:
    with running() as terra:
        yield terra


@pytest.fixture
def live(simulator: Terra, tmp_path: Path) -> Iterator[Live]:
    simulator.control("POST", "/reset")
    simulator.set(retry_scale=0.1, payload_expires_in_s=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **without_aws(),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "layers" / "terra_connections"))),
        "TERRA_API_URL": f"{simulator.url}/api/v2",
        "TERRA_API_KEY": API_KEY,
    }
    live = Live(simulator, tmp_path, port, environment)
    live.authorize(*SCOPES, "keys:write")
    yield live
    simulator.control("POST", "/reset")


# -- the questions -----------------------------------------------------------------------------------------------------

FIRST: Mapping[str, object] = {}
FIRST_ANSWERS = {
    "signature_values": "1",
    "signature_time_on_retry": "fresh",
    "trace_id_on_retry": "the same",
    "ordering_timestamp_on_retry": "the same",
    "signature_time_on_resend": "fresh",
    "trace_id_on_resend": "a new one",
    "ordering_timestamp_on_resend": "the same",
    "rotation_response": "with the new secret",
    "rotation_overlap": "the new secret",
    "retry_after_rotation": "the new secret",
    "events_path": "`/events`",
    "admin_rate_limit": "not settled",
    "synthetic_auth": "no",
    "synthetic_mark": "provider SYNTHETIC",
    "ping": "`s3_payload`",
    "ping_host": "`127.0.0.1`, path `/payloads/...`",
    "ping_expires_in": "1 s",
    "ping_after_expiry": "400",
    "ping_ordering_timestamp": "yes",
    "ping_auth": "not settled",
    "widget_path": "`/api/widget/session`",
    "widget_status": "201",
    "widget_expires_in": "86400 s",
    "widget_unknown_provider": "201 with `warnings`",
    "userinfo_by_reference": "an array",
    "userinfo_unknown_reference": "200, an empty list",
    "subscriptions": "`results` at the top",
    "subscriptions_max_page": "the number of pages",
    "mobile_token": "200, expires in 180 s",
    "data_token": "not settled",
}
SECOND: Mapping[str, object] = {
    "refresh_t_on_retry": False,
    "refresh_t_on_resend": False,
    "resend_trace_id": "same",
    "refresh_ordering_on_resend": True,
    "rotation_overlap_s": 60,
    "signs_retries_anew": False,
    "destination_vocabulary": "groups",
    "admin_rate_limit": 1000,
    "synthetic_auth": True,
    "payload_expires_in_s": 600,
    "ping_ordering_header": False,
    "pings_auth_events": True,
    "version": "july",
    "widget_paths": ["/widget/session", "/api/v2/auth/generateWidgetSession"],
    "userinfo_reference_shape": "object",
    "unknown_reference": "not_found",
}
SECOND_ANSWERS = {
    "signature_values": "1",
    "signature_time_on_retry": "kept",
    "signature_time_on_resend": "kept",
    "trace_id_on_resend": "the same",
    "ordering_timestamp_on_resend": "a new one",
    "rotation_overlap": "the new secret and the old secret",
    "retry_after_rotation": "the old secret",
    "admin_rate_limit": "1000",
    "synthetic_auth": "yes",
    "ping_host": "`localhost`, path `/payloads/...`",
    "ping_expires_in": "600 s",
    "ping_after_expiry": "not settled",
    "ping_ordering_timestamp": "no",
    "ping_auth": "yes",
    "widget_path": "`/widget/session`, `/api/v2/auth/generateWidgetSession`",
    "widget_status": "200",
    "widget_expires_in": "900 s",
    "widget_unknown_provider": "400 without `warnings`",
    "userinfo_by_reference": "an object with `users`",
    "userinfo_unknown_reference": "404",
    "subscriptions": "`results` in `data`",
    "subscriptions_max_page": "the index of the last page",
}
THIRD: Mapping[str, object] = {
    "admin_version": "october",
    "synthetic_auth": True,
    "subscriptions_shape": "users",
    "widget_paths": ["/widget/api/session"],
    "widget_status": 200,
    "ordering_header": False,
}
THIRD_ANSWERS = {
    "rotation_response": "not settled",
    "events_path": "`/webhook-events`",
    "synthetic_auth": "yes",
    "ping_auth": "no",
    "subscriptions": "an object with `users`",
    "subscriptions_max_page": "not settled",
    "widget_path": "`/widget/api/session`",
    "widget_status": "200",
    "widget_expires_in": "86400 s",
    "ordering_timestamp_on_retry": "absent",
}


@pytest.mark.parametrize(
    ("settings", "expected"), [(FIRST, FIRST_ANSWERS), (SECOND, SECOND_ANSWERS), (THIRD, THIRD_ANSWERS)]
)
def test_each_answer_of_terra_is_recognized(
    live: Live, settings: Mapping[str, object], expected: Mapping[str, str]
) -> None:
    live.terra.set(**settings)
    if settings is SECOND:
        live.terra.set(payload_url=live.terra.url.replace("127.0.0.1", "localhost") + "/payloads")

    result = live.settle()

    assert result.answers.keys() == QUESTIONS.keys()
    found = {key: result.answers[key] for key in expected}
    assert found == expected, result.sheet
    assert re.fullmatch("[0-9]+ s", result.answers["first_retry_after"])


def test_event_types_are_asked_one_by_one(live: Live) -> None:
    live.terra.set(destination_vocabulary="groups")
    result = live.settle()
    assert result.answers["event_types"].startswith("auth, activity, athlete, ")
    assert "s3_payload" in result.answers["event_types"]
    assert "auth_cancelled" in result.details["event_types"]
    assert "unified_api.sleep.updated" in result.details["event_types"]


def test_a_narrow_token_and_no_api_key_leave_questions_open(live: Live) -> None:
    live.authorize(*SCOPES)
    del live.environment["TERRA_API_KEY"]

    result = live.run()

    assert (result.status, result.err) == (0, ""), result.out + result.err
    assert "questions about the REST API, the widget and mobile tokens stay open" in result.out
    assert result.answers["signature_time_on_retry"] == "fresh"
    assert result.details["rotation_overlap"] == "The Admin token lacks the scope keys:write."
    for key in ("widget_path", "userinfo_by_reference", "mobile_token", "bound_token"):
        assert (result.answers[key], result.details[key]) == ("not settled", "TERRA_API_KEY is not set.")
    # The Admin API cannot remove a connection: the next run with an API key does.
    assert live.left() == [f"{MARKER}-synthetic"]
    (user,) = live.admin("GET", f"{ADMIN}/synthetic-users")["data"]
    assert user["status"] == "stopped"


def test_a_data_token_shows_which_endpoints_accept_it(live: Live) -> None:
    live.terra.set(data_token="terra_dt_of_a_test")
    live.terra.control("POST", "/faults", {"path": "/api/widget/session", "kind": "legacy", "status": 403})
    live.environment["TERRA_API_KEY"] = "terra_dt_of_a_test"
    result = live.settle()
    assert result.answers["data_token"] == "userInfo: yes, subscriptions: yes, auth/tokens: yes, the widget: 403"
    assert result.answers["widget_path"] == "not settled"


def test_a_login_gives_a_token_that_is_revoked_at_the_end(live: Live) -> None:
    live.terra.set(device_login_interval_s=0)
    del live.environment["TERRA_ADMIN_TOKEN"]
    terminal, terminal_end = pty.openpty()
    try:
        process = live.start("--rotate", stdin=terminal_end)
        printed = live.until_prints(process, "enter the code")
        code = re.findall(r"TERRA-\w{4}-\w{4}", printed)[-1]
        live.terra.control("POST", f"/admin_logins/{code}", {"decision": "approved"})
        result = live.finish(process)
    finally:
        os.close(terminal)
        os.close(terminal_end)

    live.check_success(result)
    assert result.answers["rotation_overlap"] == "the new secret"
    assert "terra_at_" not in printed + result.out
    assert [each["status"] for each in live.terra.control("GET", "/requests?path=/tokens/self")] == [204]


# -- the questions that need a person ----------------------------------------------------------------------------------


def cancel(live: Live, page: str, decision: str) -> None:
    """Choose a provider in the widget, decide, and follow the redirect, as a browser does."""
    login = live.terra.browser.post(page, data={"provider": "FITBIT"}).headers["location"]
    target = live.terra.browser.post(login, data={"decision": decision}).headers["location"]
    assert httpx.get(target, trust_env=False, timeout=60).text.startswith("Recorded.")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {},
            {
                "bound_token": "the token's",
                "failure_redirect": "reason, reference_id, resource, user_id",
                "cancelled_event": "`auth_cancelled`: type, status, flow_id, reason, reference_id",
            },
        ),
        (
            {"bound_tokens": "ignored", "cancel_reason": None, "cancel_shape": "old", "redirect_omits": ["resource"]},
            {
                "bound_token": "the one of the SDK",
                "failure_redirect": "reference_id, user_id",
                "cancelled_event": "`auth`: type, status, message, reason, provider, reference_id, widget_session_id, "
                "user",
            },
        ),
    ],
)
def test_a_person_settles_redirects_and_bound_tokens(
    live: Live, settings: Mapping[str, object], expected: Mapping[str, str]
) -> None:
    live.terra.set(**settings, redirect_order=["resource", "user_id", "reference_id"])
    process = live.start("--login", "--sdk", "--person-within", "200", "--within", "250")
    printed = live.until_prints(process, "initConnection")

    page = re.findall(r"open (http://\S+) in a browser", printed)[0]
    cancel(live, page, "allow")
    file = live.sheet_file.with_name("mobile-token")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = file.read_text()
    assert token not in printed
    live.terra.control("POST", "/users", {"token": token, "reference_id": f"{MARKER}-sdk"})
    eventually(lambda: not file.exists(), within=60)
    cancel(live, page, "deny")

    result = live.finish(process)
    live.check_success(result)
    assert {key: result.answers[key] for key in expected} == expected
    assert result.answers["success_redirect"].endswith("user_id, reference_id")


def test_without_a_person_these_questions_are_not_settled(live: Live) -> None:
    result = live.settle("--login", "--sdk", "--person-within", "1")
    assert result.details["failure_redirect"] == "No login was cancelled within 1 s."
    assert result.details["bound_token"] == "No device was connected within 1 s."
    assert not live.sheet_file.with_name("mobile-token").exists()


# -- interruptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_removes_everything(live: Live, ending: signal.Signals) -> None:
    live.terra.set(retry_scale=1000)
    process = live.start("--within", "300")
    live.until_prints(process, "waiting for Terra's deliveries")
    command = " ".join(psutil.Process(process.pid).cmdline())
    assert live.token not in command
    assert API_KEY not in command
    assert len(live.left()) == 5
    process.send_signal(ending)

    result = live.finish(process)

    assert (result.status, result.err) == (130, "")
    assert "Interrupted." in result.out
    assert live.left() == []
    assert result.answers["widget_status"] == "201"
    assert result.details["signature_time_on_retry"] == "Terra sent no retry in time."


def test_the_next_run_removes_what_a_killed_one_has_left(live: Live) -> None:
    live.terra.set(retry_scale=1000)
    with live.start("--within", "300") as process:
        live.until_prints(process, "waiting for Terra's deliveries")
        kill_with_descendants(process)
    live.terra.set(retry_scale=0.1)
    assert len(live.left()) == 5

    shown = live.run("--dry-run")
    assert "remove what an earlier run has left: 4 destinations, 1 synthetic user, 1 connection" in shown.out
    assert len(live.left()) == 5
    assert live.settle().answers["signature_time_on_retry"] == "fresh"


@pytest.mark.parametrize(
    ("path", "method", "line"),
    [
        ("/api/v2/subscriptions", "GET", "Terra's API cannot be reached at "),
        ("/events/generate", "POST", "Terra's Admin API cannot be reached at "),
        ("/synthetic-users", "POST", "Terra's Admin API cannot be reached at "),
    ],
)
def test_a_network_that_fails_in_the_middle_is_one_line(live: Live, path: str, method: str, line: str) -> None:
    # The call takes effect, and only its response is lost.
    fault = {"path": path, "method": method, "kind": "disconnect", "stage": "after"}
    live.terra.control("POST", "/faults", fault)

    result = live.run()

    assert result.status == 1
    assert result.err.startswith(line)
    assert live.left() == []
    assert "event_types" in result.answers


def test_what_cannot_be_removed_is_stated_and_removed_by_the_next_run(live: Live) -> None:
    fault = {"path": "/unified-api/destinations/*", "method": "DELETE", "kind": "problem", "status": 500}
    live.terra.control("POST", "/faults", fault)
    result = live.run()
    assert result.status == 1
    assert "Not everything was removed: run the command again, which removes the rest." in result.out

    live.terra.control("DELETE", "/faults")
    live.settle()


# -- bad input ---------------------------------------------------------------------------------------------------------


def without(name: str) -> Callable[[Live], list[str]]:
    def prepare(live: Live) -> list[str]:
        del live.environment[name]
        return []

    return prepare


def with_token(token: str) -> Callable[[Live], list[str]]:
    def prepare(live: Live) -> list[str]:
        live.environment["TERRA_ADMIN_TOKEN"] = token
        return []

    return prepare


def authorized(*scopes: str, **more: object) -> Callable[[Live], list[str]]:
    def prepare(live: Live) -> list[str]:
        live.authorize(*scopes, **more)
        return []

    return prepare


def with_variable(name: str, value: str) -> Callable[[Live], list[str]]:
    def prepare(live: Live) -> list[str]:
        live.environment[name] = value
        return []

    return prepare


def with_options(*options: str) -> Callable[[Live], list[str]]:
    return lambda _: list(options)


BAD: dict[str, tuple[Callable[[Live], list[str]], str]] = {
    "no token": (without("TERRA_ADMIN_TOKEN"), "TERRA_ADMIN_TOKEN is not set, and without a terminal"),
    "an unknown token": (with_token("terra_at_unknown"), "Terra rejects the Admin token: it is unknown"),
    "a data token": (with_token("terra_dt_x"), "TERRA_ADMIN_TOKEN is not a token of Terra's Admin API"),
    "an expired token": (authorized(*SCOPES, expires_in_s=0), "Terra rejects the Admin token: it has expired."),
    "too few scopes": (authorized(*SCOPES[1:]), "The Admin token lacks the scopes connections:read"),
    "another environment": (
        authorized(*SCOPES, dev_ids=["other"]),
        f"The Admin token does not reach the environment {DEV_ID}, only other",
    ),
    "an unknown environment": (
        with_options("--dev-id", "unknown"),
        "The Admin token does not reach the environment unknown: compare the dev-id",
    ),
    "no environment": (with_options("--dev-id", ""), "DEV_ID is missing: name a test environment"),
    "a wrong API key": (
        with_variable("TERRA_API_KEY", "wrong"),
        f"Terra does not list the users of the environment {DEV_ID}",
    ),
    "an Admin token as API key": (with_variable("TERRA_API_KEY", "terra_at_x"), "is a token of Terra's Admin API"),
    "no Admin API": (
        with_variable("TERRA_ADMIN_URL", "http://127.0.0.1:9/api/v3/admin"),
        "Terra's Admin API cannot be reached at http://127.0.0.1:9/api/v3/admin",
    ),
    "no receiver": (
        with_options("--receiver-url", ""),
        "RECEIVER_URL is missing: Terra must reach this machine's port",
    ),
    "an open receiver": (with_options("--receiver-url", "http://example.com"), "RECEIVER_URL must be an https address"),
    "an invalid receiver": (
        with_options("--receiver-url", "https://example.com:port"),
        "RECEIVER_URL is not an address",
    ),
    "a tunnel to nowhere": (with_options("--receiver-url", "http://127.0.0.1:9"), "does not lead to port"),
    "an invalid port": (with_options("--port", "70000"), "RECEIVER_PORT=70000 is not a port: write a number from 1 to"),
    "no port": (with_options("--port", "x"), "RECEIVER_PORT=x is not a port: write a number from 1 to"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_that_says_what_to_do(
    live: Live, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare, line = BAD[case]
    options = prepare(live)
    for name in ("TERRA_ADMIN_TOKEN", "TERRA_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in live.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    status = main(live.command(*options)[3:])

    printed = capsys.readouterr()
    assert (status, live.sheet_file.exists(), live.left()) == (1, False, [])
    assert line in printed.err
    assert printed.err.count("\n") == 1
    assert live.token not in printed.out + printed.err


def test_a_used_port_is_one_line(live: Live) -> None:
    with socket.create_server(("127.0.0.1", live.port)):
        assert f"Port {live.port} on 127.0.0.1 cannot be used" in live.error()


def test_nothing_is_created_without_a_confirmation(
    live: Live, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in live.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    arguments = [each for each in live.command()[3:] if each != "--yes"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("Nothing was changed, because there is no terminal to ask on.")
    assert live.left() == []
