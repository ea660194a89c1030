"""Redirects of a browser, and the sessions that they belong to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin

import httpx

from tests.support.api import create_session, decide, query_of
from tests.support.handlers import http_event
from tests.support.terra import Terra


@dataclass(frozen=True)
class LoginAttempt:
    """A new session, with the states of its two redirects, which were sent only to Terra."""

    session: dict[str, Any]
    state: str
    failure_state: str

    @property
    def session_id(self) -> str:
        session_id: str = self.session["session_id"]
        return session_id

    def secret(self, outcome: str = "success") -> dict[str, str]:
        return {"session": self.session_id, "state": self.state if outcome == "success" else self.failure_state}

    def event(self, outcome: str, **more: str) -> dict[str, Any]:
        return http_event("GET", f"/auth/{outcome}", query=urlencode({**self.secret(outcome), **more}))

    def return_from_login(self, browser: httpx.Client, outcome: str = "success", **more: str) -> httpx.Response:
        return browser.get(f"/auth/{outcome}", params={**self.secret(outcome), **more})


@dataclass(frozen=True)
class ProviderAttempt(LoginAttempt):
    """A login at one provider; `user_id` is the one that Terra issued for it in advance."""

    user_id: str


@dataclass(frozen=True)
class WidgetAttempt(LoginAttempt):
    """A login at a provider that the user picks; `widget_session_id` is Terra's."""

    widget_session_id: str

    def pick(self, provider: str) -> str:
        """Press a provider's button. Return the redirect: to the provider's login, or back if only an app has it."""
        return self._press(provider=provider)

    def give_up(self) -> str:
        return self._press(decision="deny")

    def allow(self, provider: str = "FITBIT", **fields: str) -> str:
        """Pick, log in and allow. Return the redirect."""
        return decide(self.pick(provider), "allow", **fields)

    def _press(self, **button: str) -> str:
        url: str = self.session["auth_url"]
        response = httpx.post(url, data=button, timeout=30)
        assert response.is_redirect, response.text
        return urljoin(url, response.headers["location"])


def begin_widget(api: httpx.Client, terra: Terra, reference_id: str, **fields: object) -> WidgetAttempt:
    """Start a session without a provider."""
    response = api.post("/sessions", json={"reference_id": reference_id, **fields})
    assert response.status_code == httpx.codes.CREATED, response.text
    session: dict[str, Any] = response.json()
    request_body = terra.calls("/widget/session")[-1]["body"]
    success, failure = (
        query_of(request_body[f"auth_{outcome}_redirect_url"])["state"] for outcome in ("success", "failure")
    )
    return WidgetAttempt(session, success, failure, session["auth_url"].rpartition("/")[2])


def begin(api: httpx.Client, terra: Terra, reference_id: str, **fields: object) -> ProviderAttempt:
    """Start a session, and read what Terra received for it."""
    session = create_session(api, reference_id, **fields)
    login = logins(terra)[-1]
    assert login["auth_url"] == session["auth_url"]
    success, failure = (query_of(login[f"{outcome}_url"])["state"] for outcome in ("success", "failure"))
    return ProviderAttempt(session, success, failure, login["user_id"])


def button(page: httpx.Response) -> dict[str, str]:
    """Return the form fields of "Try again", or nothing if the page has no such button."""
    return dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text))


def logins(terra: Terra) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = terra.client.get("/_control/logins").json()
    return found


def page_and_headers(response: httpx.Response) -> tuple[int, bytes, Mapping[str, str]]:
    """Return every part of a response that a client can compare with another response's."""
    return (
        response.status_code,
        response.content,
        {name: value for name, value in response.headers.items() if name not in {"date", "apigw-requestid"}},
    )
