"""Attacks of docs/threat-model.md that no other suite covers."""

import httpx

from local.testing import Stack
from tests.support.api import connections_of, decide, query_of, session_status
from tests.support.redirects import begin
from tests.support.terra import Terra
from tests.support.waiting import eventually


def as_user(stack: Stack, browser: httpx.Client, reference_id: str, path: str) -> httpx.Response:
    response = httpx.post(f"{stack.oidc_issuer}/token", json={"subject": reference_id}, timeout=30).raise_for_status()
    return browser.get(path, headers={"authorization": f"Bearer {response.json()['access_token']}"})


def test_the_app_detects_a_login_through_another_user_s_link(
    stack: Stack, api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attacker, victim = f"{reference_id}-attacker", f"{reference_id}-victim"
    session = begin(api, terra, attacker, return_to="web").session
    # The victim opens the attacker's link, logs in and allows.
    redirect_url = decide(session["auth_url"], "allow", account=f"{victim}-account")
    landed = browser.get(redirect_url, follow_redirects=False).headers["location"]
    # This cannot be prevented. But the victim's app learns that the victim did not start the login.
    path = f"/sessions/{query_of(landed)['session_id']}"
    assert as_user(stack, browser, victim, path).status_code == 404
    assert as_user(stack, browser, attacker, path).json()["status"] == "connected"
    assert connections_of(api, victim) == []


def test_opening_another_user_s_redirect_connects_nothing(
    stack: Stack, api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attacker, victim = f"{reference_id}-attacker", f"{reference_id}-victim"
    theirs, mine = begin(api, terra, attacker), begin(api, terra, victim)
    terra.settings(send_webhooks=False)
    redirect_url = decide(theirs.session["auth_url"], "allow")
    # The victim, with a login in progress, is made to open the attacker's redirect.
    assert browser.get(redirect_url).status_code == 200
    assert session_status(api, mine.session)["status"] == "pending"
    assert as_user(stack, browser, victim, "/connections").json() == {"connections": []}
    assert [found["reference_id"] for found in connections_of(api, attacker)] == [attacker]


def test_a_bot_that_opens_every_link_first_does_not_disturb_the_login(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)

    def bot() -> None:
        assert httpx.get(attempt.session["auth_url"], timeout=30).status_code == 200
        for outcome in ("success", "failure"):
            head = browser.head(f"/auth/{outcome}", params=attempt.secret(outcome))
            assert head.status_code == 404
            assert attempt.return_from_login(browser, outcome).status_code == 200

    bot()
    assert session_status(api, attempt.session)["status"] == "failed"
    redirect_url = decide(attempt.session["auth_url"], "allow")
    bot()
    assert browser.get(redirect_url).status_code == 200
    eventually(lambda: session_status(api, attempt.session)["status"] == "connected")
    bot()
    assert session_status(api, attempt.session)["status"] == "connected"
    assert len(connections_of(api, reference_id)) == 1
