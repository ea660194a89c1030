"""What a browser brings back, and the sessions that it belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from tests.integration.handlers import http_event
from tests.support import Terra, create_session, query_of


@dataclass(frozen=True)
class Begun:
    """A session just created, with the secret that only Terra was told."""

    session: dict[str, Any]
    state: str
    user_id: str
    """As Terra issued it before the login."""

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
