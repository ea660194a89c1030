"""The demo's server and the data that it shows about a user. tests/browser covers the page itself."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from local.demo.connections import ENDED_BY
from local.demo.curl import curl
from local.demo.items import connection_status, described, session_status
from local.demo.timeline import (
    API_TO_TERRA,
    CALLS,
    TERRA_TO_API,
    VERIFIED_ANYWAY,
    Event,
    calls_of_terra,
    in_order,
    requests,
    webhooks,
)
from terra_connections.connections.facts import Kind
from tools.environment import ROOT

if TYPE_CHECKING:
    from local.testing import Stack

STATIC = ROOT / "local" / "demo" / "static"


def test_the_policy_allows_only_own_scripts_and_their_requests(stack: Stack) -> None:
    for path in ("/", "/connected"):
        policy = httpx.get(stack.demo_url + path).headers["content-security-policy"]
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == "'self'"
        assert rules["connect-src"] == f"'self' {stack.api_url} {stack.oidc_issuer}"


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1"])
def test_another_host_is_redirected_to_the_origin_that_the_api_allows(stack: Stack, host: str) -> None:
    headers = {"host": host.format(port=urlsplit(stack.demo_url).port)}
    for path in ("/", "/timeline.json?reference_id=ada"):
        response = httpx.get(stack.demo_url + path, headers=headers)
        assert (response.status_code, response.headers["location"]) == (307, stack.demo_url + path)


def test_the_timeline_of_an_unknown_user_is_empty(stack: Stack) -> None:
    response = httpx.get(f"{stack.demo_url}/timeline.json", params={"reference_id": "unknown/ü"}, timeout=30)
    assert response.json() == {"events": [], "items": {"Sessions": [], "Connections": []}}
    assert httpx.get(f"{stack.demo_url}/timeline.json").status_code == 400


def test_the_app_is_short_and_independent_of_the_timeline() -> None:
    names = {path.name for path in STATIC.glob("*.js")} - {"api-reference.js", "timeline.js"}
    assert {"api.js", "app.js", "connected.js", "connections.js", "data.js"} <= names
    for name in names:
        source = (STATIC / name).read_text()
        assert len(source.splitlines()) <= 150
        assert "timeline" not in source
        assert "innerHTML" not in source


def test_the_component_is_served_from_its_own_folder(stack: Stack) -> None:
    served = httpx.get(f"{stack.demo_url}/component/terra-connect.js").raise_for_status()
    assert served.headers["content-type"].startswith("text/javascript")
    assert served.text == (ROOT / "clients" / "component" / "terra-connect.js").read_text()


def test_logos_are_loaded_from_terra_s_hosts_only(stack: Stack) -> None:
    policy = httpx.get(stack.demo_url).headers["content-security-policy"]
    assert "img-src 'self' https://access.tryterra.co https://storage.googleapis.com;" in policy


def test_log_lines_other_than_requests_are_ignored() -> None:
    line = {"session_id": "s", "message": "auth_success", "status": 303, "ms": 20, "request_id": "r"}
    record = json.dumps({**line, "timestamp": "2026-11-22 15:35:08,333+0000"})
    lines = [
        "",
        "[AuthSuccess] started {",
        "[X] {}",
        f"t [AuthSuccess] {record}",
        '{"message": "create_session"}',
        "{1}",
    ]
    (event,) = requests(lines, "ada", {"s": {}})
    assert (event.title, event.result) == ("GET /auth/success", "303")
    assert (event.started, event.finished) == (1795361708313, 1795361708333)
    assert list(requests(lines, "ada", {"another": {}})) == []


def test_the_state_parameter_is_redacted() -> None:
    urls = {"auth_success_redirect_url": "http://h/auth/success?session=s&state=secret&x=1", "reference_id": "ada"}
    call = {
        "time": 1.5,
        "method": "POST",
        "path": "/v2/auth/authenticateUser",
        "query": {},
        "body": urls,
        "status": None,
    }
    (event,) = calls_of_terra([call], "ada", ())
    assert event.detail["auth_success_redirect_url"] == "http://h/auth/success?session=s&state=…&x=1"
    assert event.result == "no response"
    assert "secret" not in event.curl
    assert list(calls_of_terra([call, {**call, "body": None}], "bob", ())) == []


def delivery(body: object, *attempts: int | None, state: str = "delivered", at: float = 1.5) -> dict[str, object]:
    made = [{"at": at + place, "took_ms": 20, "status": status} for place, status in enumerate(attempts)]
    return {"delivery_id": "d", "created_at": at, "body": body, "attempts": made, "state": state}


def test_webhooks_are_selected_by_their_reference_id() -> None:
    ada = {"reference_id": "ada"}
    own: list[dict[str, object]] = [
        {"type": "auth", "user": ada},
        {"type": "user_reauth", "old_user": None, "new_user": ada},
        {"type": "auth_cancelled", **ada},
    ]
    others = [{"type": "auth", "user": {"reference_id": "bob"}}, {"type": "healthcheck"}, "no JSON", None]
    (cancelled,) = webhooks([delivery({"type": "auth", "status": "error", "user": ada}, 200)], "ada")
    assert cancelled.explanation == "Login cancelled or failed."
    shown = list(webhooks([delivery(body, 200) for body in [*others, *own]], "ada", terra_url="http://t"))
    assert [event.title for event in shown] == [f"webhook {body['type']}" for body in own]
    assert {event.curl for event in shown} == {'curl -X POST "http://t/_control/deliveries/d/again"'}


def test_each_attempt_of_a_webhook_is_listed_with_its_own_time_and_result() -> None:
    body = {"type": "auth", "user": {"reference_id": "ada"}}
    first, second = webhooks([delivery(body, None, 200)], "ada")
    assert (first.result, first.started, first.finished) == ("no response", 1500, 1520)
    assert (second.result, second.started, second.finished) == ("200", 2500, 2520)
    assert "Not delivered" in first.explanation
    assert "Connected" in second.explanation


def test_an_undelivered_webhook_is_open_or_has_ended() -> None:
    body = {"type": "auth", "user": {"reference_id": "ada"}}
    (held,) = webhooks([delivery(body, state="held")], "ada")
    assert (held.result, held.finished) == ("held", None)
    assert "Not delivered" in held.explanation
    (lost,) = webhooks([delivery(body, state="lost")], "ada")
    assert (lost.result, lost.finished) == ("lost", 1500)
    failed, given_up = webhooks([delivery(body, 503, state="given_up")], "ada")
    assert (failed.result, given_up.result, given_up.finished) == ("503", "given up", 1520)
    assert [event.result for event in in_order([held, lost, failed])] == ["lost", "503", "held"]


def webhook_event(started: int, finished: int, *, result: str = "200", user_id: str = "u") -> Event:
    body = {"type": "auth", "user": {"user_id": user_id}}
    return Event("w", TERRA_TO_API, started, finished, "webhook auth", result, "Connected.", body)


def verification(at: int) -> Event:
    return Event("c", API_TO_TERRA, at, at, "GET …/userInfo", "200", CALLS["userInfo"], {"user_id": "u"})


@pytest.mark.parametrize("took", [0, 3, 10])
@pytest.mark.parametrize("started", range(7))
@pytest.mark.parametrize("asked", range(12))
def test_no_order_shows_a_confirmation_before_the_reason_that_there_was_none(
    started: int, took: int, asked: int
) -> None:
    """The webhook may arrive while the API asks Terra."""
    shown = in_order([verification(asked), webhook_event(started, started + took)])
    assert [event.finished for event in shown] == sorted([asked, started + took])
    call = next(event for event in shown if event.way == API_TO_TERRA)
    is_refuted = shown.index(call) == 1
    assert call.explanation == (VERIFIED_ANYWAY if is_refuted else CALLS["userInfo"])


@pytest.mark.parametrize("other", [{"result": "503"}, {"user_id": "another"}])
def test_only_an_accepted_webhook_of_the_same_connection_refutes_the_reason(other: dict[str, str]) -> None:
    shown = in_order([verification(9), webhook_event(1, 2, **other)])
    assert shown[1].explanation == CALLS["userInfo"]


def test_a_request_s_command_has_variables_for_secrets_and_quotes_everything_else() -> None:
    body = {"reference_id": "o'hara $HOME `id`"}
    command = curl("POST", 'http://h/"x"', headers={"Authorization": "Bearer $TOKEN"}, body=body)
    shell = f"curl() {{ printf '%s\\n' \"$@\"; }}; TOKEN=t; {command}"
    printed = subprocess.run(["/bin/sh", "-c", shell], capture_output=True, text=True, check=True)
    assert printed.stdout.splitlines() == [
        "-X",
        "POST",
        'http://h/"x"',
        "-H",
        "Authorization: Bearer t",
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps(body),
    ]


def test_a_login_s_command_has_the_request_of_its_session() -> None:
    line = {"session_id": "s", "message": "create_session", "status": 201, "ms": 20, "request_id": "r"}
    lines = [json.dumps({**line, "timestamp": "2026-11-22 15:35:08,333+0000"})]
    item = {"session_id": "s", "resource": "FITBIT", "return_to": "web", "user_id": "issued"}
    (event,) = requests(lines, "ada", {"s": item}, api_url="http://api")
    assert '"Authorization: Bearer $TOKEN"' in event.curl
    assert """-d '{"resource": "FITBIT", "return_to": "web"}'""" in event.curl
    (event,) = requests(lines, "ada", {"s": {**item, "repairs": "old"}}, api_url="http://api")
    assert """-d '{"user_id": "old", "return_to": "web"}'""" in event.curl


def test_items_have_a_kind_and_a_status() -> None:
    session = {"session_id": "s", "resource": "OURA", "expires_at": 10}
    assert [
        session_status({**session, **more}, now)
        for more, now in (
            ({}, 9),
            ({}, 10),
            ({"failed_reasons": {"access_denied"}}, 9),
            ({"failed_reasons": {"access_denied"}, "confirmed_user_ids": {"u"}}, 9),
            ({"needs_app": True}, 9),
        )
    ] == ["pending", "expired", "failed", "connected", "needs_app"]
    facts = {"provider": {"at": 1, "value": "POLAR"}, "connected": {"at": 1}, "login": {"at": 1}}
    sessions = [{**session, "user_id": user_id, "resource": "POLAR"} for user_id in ("u", "another")]
    shown = described({"Sessions": sessions, "Connections": [{"user_id": "u", "facts": facts}]})
    assert [(each["kind"], each["key"], each["provider"], each["status"]) for each in shown["Connections"]] == [
        ("Connection", "u", "POLAR", "connected")
    ]
    assert [(each["kind"], each["status"]) for each in shown["Sessions"]] == [
        ("Session", "connected"),  # by a webhook, which does not write to the session
        ("Session", "expired"),
    ]
    for kind, status in (("error", "needs_reauth"), ("revoked", "revoked"), ("absent", "revoked")):
        assert connection_status({**facts, kind: {"at": 1}}) == status
        assert connection_status({**facts, kind: {"at": 0}}) == "connected"
    assert connection_status({"owner": {"at": 1}}) == "not connected"
    assert connection_status({**facts, "replaced_by": {"at": 1}}) == "replaced"
    assert set(ENDED_BY) == {Kind.REVOKED, Kind.ABSENT}
