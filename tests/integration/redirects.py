"""What a browser brings back, and the sessions that it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin

import httpx

from tests.integration.handlers import http_event
from tests.support import Terra, create_session, decide, query_of


@dataclass(frozen=True)
class Attempt:
    """A session just created, with the secret that only Terra was told."""

    session: dict[str, Any]
    state: str

    @property
    def session_id(self) -> str:
        session_id: str = self.session["session_id"]
        return session_id

    @property
    def secret(self) -> dict[str, str]:
        return {"session": self.session_id, "state": self.state}

    def event(self, outcome: str, **more: str) -> dict[str, Any]:
        return http_event("GET", f"/auth/{outcome}", query=urlencode({**self.secret, **more}))

    def come_back(self, browser: httpx.Client, outcome: str = "success", **more: str) -> httpx.Response:
        return browser.get(f"/auth/{outcome}", params={**self.secret, **more})


@dataclass(frozen=True)
class Begun(Attempt):
    """A login at one provider; `user_id` is as Terra issued it before."""

    user_id: str


@dataclass(frozen=True)
class OnTerrasPage(Attempt):
    """A login at a provider that the person picks; `widget_session_id` is Terra's."""

    widget_session_id: str

    def pick(self, provider: str) -> str:
        """Press a provider's button; where Terra sends the browser: to that login, or back if only an app has it."""
        return self._press(provider=provider)

    def give_up(self) -> str:
        return self._press(decision="deny")

    def allow(self, provider: str = "FITBIT", **fields: str) -> str:
        """Pick, log in and allow; where Terra sends the browser."""
        return decide(self.pick(provider), "allow", **fields)

    def _press(self, **button: str) -> str:
        url: str = self.session["auth_url"]
        answer = httpx.post(url, data=button, timeout=30)
        assert answer.is_redirect, answer.text
        return urljoin(url, answer.headers["location"])


def begin_widget(api: httpx.Client, terra: Terra, person: str, **fields: object) -> OnTerrasPage:
    """A new session without a provider."""
    answer = api.post("/sessions", json={"reference_id": person, **fields})
    assert answer.status_code == httpx.codes.CREATED, answer.text
    session: dict[str, Any] = answer.json()
    asked = terra.calls("/widget/session")[-1]["body"]
    state = query_of(asked["auth_success_redirect_url"])["state"]
    return OnTerrasPage(session, state, session["auth_url"].rpartition("/")[2])


def begin(api: httpx.Client, terra: Terra, person: str, **fields: object) -> Begun:
    """A new session, and what Terra was given for it."""
    session = create_session(api, person, **fields)
    login = logins(terra)[-1]
    assert login["auth_url"] == session["auth_url"]
    return Begun(session, query_of(login["success_url"])["state"], login["user_id"])


def logins(terra: Terra) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = terra.client.get("/_control/logins").json()
    return found


def page_and_headers(answer: httpx.Response) -> tuple[int, bytes, Mapping[str, str]]:
    """All that an onlooker could tell answers apart by."""
    return (
        answer.status_code,
        answer.content,
        {name: value for name, value in answer.headers.items() if name not in {"date", "apigw-requestid"}},
    )
