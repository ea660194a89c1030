"""The demo's server and the data that it shows about a user. tests/browser covers the page itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest

from local.demo.timeline import calls_of_terra, requests, webhooks
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
    for name in ("api.js", "login.js", "app.js", "connected.js", "data.js"):
        source = (STATIC / name).read_text()
        assert len(source.splitlines()) <= 150
        assert "timeline" not in source
        assert "innerHTML" not in source


def test_apps_md_quotes_the_code_of_the_demo() -> None:
    shown = re.findall(
        r"<!-- login\.js: (\w+) -->\n```js\n(.*?)\n```", (ROOT / "docs" / "apps.md").read_text(), re.DOTALL
    )
    assert [name for name, _ in shown] == ["connect", "watch"]
    source = (STATIC / "login.js").read_text()
    for name, code in shown:
        assert f"// [{name}]\n{code}\n// [/{name}]" in source


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
    (event,) = requests(lines, "ada", {"s"})
    assert (event.title, event.at) == ("GET /auth/success → 303", 1795361708313)
    assert list(requests(lines, "ada", {"another"})) == []


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
    assert event.title.endswith("→ no response")
    assert list(calls_of_terra([call, {**call, "body": None}], "bob", ())) == []


def test_webhooks_are_selected_by_their_reference_id() -> None:
    def delivery(body: object) -> dict[str, object]:
        attempts = [{"status": None}, {"status": 200}]
        return {"delivery_id": "d", "created_at": 1.5, "body": body, "attempts": attempts, "state": "delivered"}

    ada = {"reference_id": "ada"}
    own: list[dict[str, object]] = [
        {"type": "auth", "user": ada},
        {"type": "user_reauth", "old_user": None, "new_user": ada},
        {"type": "auth_cancelled", **ada},
    ]
    others = [{"type": "auth", "user": {"reference_id": "bob"}}, {"type": "healthcheck"}, "no JSON", None]
    (cancelled,) = webhooks([delivery({"type": "auth", "status": "error", "user": ada})], "ada")
    assert cancelled.explanation == "Login cancelled or failed."
    (held,) = webhooks([{**delivery(own[0]), "attempts": [], "state": "held"}], "ada")
    assert held.title == "webhook auth → held"
    assert "Not delivered" in held.explanation
    shown = list(webhooks(map(delivery, [*others, *own]), "ada"))
    assert [event.title for event in shown] == [f"webhook {body['type']} → no response, 200" for body in own]
