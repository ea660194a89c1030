"""The whole flow: session, login at Terra, redirect, webhook, connection."""

import re
from html import unescape

import httpx
import pytest

from tests.support.api import connections_of, create_session, decide, query_of, session_status
from tests.support.terra import Terra
from tests.support.waiting import eventually


def test_a_user_connects_a_wearable(api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str) -> None:
    session = create_session(api, reference_id)
    assert session["status"] == "pending"
    assert session_status(api, session)["status"] == "pending"

    page = browser.get(decide(session["auth_url"], "allow"))

    assert page.status_code == httpx.codes.OK
    assert "Fitbit is connected" in page.text
    finished = session_status(api, session)
    assert finished["status"] == "connected"
    [connection] = eventually(lambda: connections_of(api, reference_id))
    assert connection["user_id"] == finished["user_id"]
    assert (connection["reference_id"], connection["provider"], connection["status"]) == (
        reference_id,
        "FITBIT",
        "connected",
    )
    eventually(lambda: [delivery["state"] for delivery in terra.deliveries(type="auth")] == ["delivered"])


def test_the_webhook_alone_connects_a_user_who_does_not_return(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    session = create_session(api, reference_id)
    decide(session["auth_url"], "allow")
    eventually(lambda: session_status(api, session)["status"] == "connected")
    assert len(connections_of(api, reference_id)) == 1
    assert terra.calls("/userInfo") == []


@pytest.mark.parametrize("return_to", ["web", "ios", "android"])
def test_the_app_receives_its_session_and_nothing_else(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, return_to: str
) -> None:
    session = create_session(api, reference_id, return_to=return_to)
    response = browser.get(decide(session["auth_url"], "allow"))
    if return_to == "web":
        assert response.status_code == httpx.codes.SEE_OTHER
        address = response.headers["location"]
    else:
        assert response.status_code == httpx.codes.OK
        [address] = map(unescape, re.findall(r'href="([^"]*)"', response.text))
    assert query_of(address) == {
        "session_id": session["session_id"],
        "status": "connected",
        "resource": "FITBIT",
    }
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert terra.deliveries(type="auth")
