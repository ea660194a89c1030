"""Redirects are untrusted: a forged one changes nothing, reveals nothing, and adds nothing to a page."""

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

import httpx
import pytest

from tests.support.api import connections_of, decide, query_of, session_status
from tests.support.handlers import Handlers
from tests.support.redirects import ProviderAttempt, begin, button, page_and_headers
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.webhooks import Webhook, now_s

Make = Callable[..., Webhook]

# -- an attacker with a valid session ----------------------------------------------------------------------------------


def connection_of_another_user(terra: Terra, attacker: str) -> str:
    user_id: str = terra.connect(f"{attacker}-victim", silent=True)["user_id"]
    return user_id


def connection_without_an_owner(terra: Terra, attacker: str) -> str:
    user_id: str = terra.connect(attacker, silent=True, account=f"{attacker}-x")["user_id"]
    terra.change(user_id, reference_id=None, is_authenticated=True)
    return user_id


def connection_of_the_owner_null(terra: Terra, attacker: str) -> str:
    user_id: str = terra.connect(attacker, silent=True, account=f"{attacker}-x")["user_id"]
    terra.change(user_id, reference_id="null", is_authenticated=True)
    return user_id


def own_connection_of_another_provider(terra: Terra, attacker: str) -> str:
    user_id: str = terra.connect(attacker, silent=True, provider="GARMIN")["user_id"]
    return user_id


def own_unfinished_login(terra: Terra, attacker: str) -> str:
    user_id: str = terra.connect(attacker, silent=True, account=f"{attacker}-x")["user_id"]
    terra.change(user_id, is_authenticated=False, active=True)
    return user_id


def unknown_user_id(terra: Terra, attacker: str) -> str:
    assert terra
    assert attacker
    return new_user_id()


def malformed_user_id(terra: Terra, attacker: str) -> str:
    assert terra
    return f"../{attacker}?user_id=x&"


CANDIDATES = [
    connection_of_another_user,
    connection_without_an_owner,
    connection_of_the_owner_null,
    own_connection_of_another_provider,
    own_unfinished_login,
    unknown_user_id,
    malformed_user_id,
]


@pytest.mark.parametrize("candidate", CANDIDATES)
def test_a_valid_session_with_a_foreign_user_id_stays_pending(
    api: httpx.Client,
    browser: httpx.Client,
    terra: Terra,
    tables: Tables,
    reference_id: str,
    candidate: Callable[[Terra, str], str],
) -> None:
    user_id = candidate(terra, reference_id)
    attempt = begin(api, terra, reference_id)
    before = tables.count()
    page = attempt.return_from_login(browser, user_id=user_id, resource="FITBIT", reference_id=reference_id)
    assert (page.status_code, "Almost there" in page.text) == (200, True)
    status = session_status(api, attempt.session)
    assert (status["status"], status["user_id"]) == ("pending", None)
    assert connections_of(api, reference_id, include="revoked") == []
    assert tables.kinds(attempt.user_id) == {"announced_for"}
    assert tables.count() == before
    assert len(terra.calls("/userInfo")) == (1 if candidate is malformed_user_id else 2)


def test_a_stored_connection_of_the_victim_does_not_change(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    victim = terra.connect(f"{reference_id}-victim")["user_id"]
    known = tables.connection(victim)
    assert known is not None
    attempt = begin(api, terra, reference_id)
    attempt.return_from_login(browser, user_id=victim, resource="FITBIT", reference_id=reference_id)
    assert tables.connection(victim) == known
    assert session_status(api, attempt.session)["status"] == "pending"
    assert connections_of(api, reference_id) == []


@pytest.mark.parametrize("fault", ["status", "html", "malformed", "disconnect", "slow"])
def test_a_failed_verification_connects_nothing_for_an_attacker(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str, fault: str
) -> None:
    victim = connection_of_another_user(terra, reference_id)
    attempt = begin(api, terra, reference_id)
    terra.fault("/userInfo", fault, delay_s=4 if fault == "slow" else 0)
    before = tables.count()
    attempt.return_from_login(browser, user_id=victim)
    assert session_status(api, attempt.session)["status"] == "pending"
    assert tables.count() == before


def test_a_verification_response_about_another_user_id_is_rejected(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    user = {"user_id": new_user_id(), "provider": "FITBIT", "reference_id": reference_id}
    body = {"status": "success", "is_authenticated": True, "user": user}
    terra.fault("/userInfo", "wrong_shape", body=body)
    attempt.return_from_login(browser)
    assert tables.connection(user["user_id"]) is None
    assert session_status(api, attempt.session)["status"] == "pending"


@pytest.mark.parametrize("authenticated", ["true", 1, None, [True], {}])
def test_only_the_json_value_true_connects(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, authenticated: object
) -> None:
    attempt = begin(api, terra, reference_id)
    user = {"user_id": attempt.user_id, "provider": "FITBIT", "reference_id": reference_id, "active": True}
    terra.fault("/userInfo", "wrong_shape", body={"status": "success", "is_authenticated": authenticated, "user": user})
    attempt.return_from_login(browser)
    assert session_status(api, attempt.session)["status"] == "pending"


def test_a_webhook_about_another_user_does_not_connect_the_session(
    api: httpx.Client, browser: httpx.Client, terra: Terra, webhook: Make, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    webhook(auth_event(new_user_id(), f"{reference_id}-other")).post(browser)
    webhook(auth_event(new_user_id(), reference_id, provider="GARMIN")).post(browser)
    webhook(auth_event(new_user_id(), reference_id), ordering=(now_s() - 3600) * 1000).post(browser)
    assert session_status(api, attempt.session)["status"] == "pending"


# -- invalid links -----------------------------------------------------------------------------------------------------

OTHER_STATE = "A" * 43
LINKS: dict[str, Callable[[ProviderAttempt], str]] = {
    "nothing": lambda _: "",
    "no state": lambda b: f"session={b.session_id}",
    "no session": lambda b: f"state={b.state}",
    "an empty state": lambda b: f"session={b.session_id}&state=",
    "an empty session": lambda b: f"session=&state={b.state}",
    "a wrong state": lambda b: f"session={b.session_id}&state={OTHER_STATE}",
    "the state in capitals": lambda b: f"session={b.session_id}&state={b.state.swapcase()}",
    "half the state": lambda b: f"session={b.session_id}&state={b.state[:20]}",
    "a space after the state": lambda b: f"session={b.session_id}&state={b.state}%20",
    "the session for its state": lambda b: f"session={b.session_id}&state={b.session_id}",
    "an unknown session": lambda b: f"session=AAAAAAAAAAAAAAAAAAAAAA&state={b.state}",
    "a prefix that is no session": lambda b: f"session=idempotency:{'0' * 64}&state={b.state}",
    "a session with a line end": lambda b: f"session={b.session_id}%0a&state={b.state}",
    "a session with a NUL": lambda b: f"session={b.session_id}%00&state={b.state}",
    "a session of 8 kB": lambda b: f"session={'x' * 8000}&state={b.state}",
    "a state of 8 kB": lambda b: f"session={b.session_id}&state={'x' * 8000}",
    "another session first": lambda b: f"session=AAAAAAAAAAAAAAAAAAAAAA&session={b.session_id}&state={b.state}",
    "another state first": lambda b: f"session={b.session_id}&state={OTHER_STATE}&state={b.state}",
    "bytes that are no UTF-8": lambda b: f"session={b.session_id}&state=%ff%fe",
    "a lone surrogate": lambda b: f"session={b.session_id}&state=%ed%a0%80",
    "an invalid escape": lambda b: f"session={b.session_id}&state=%zz",
    "names in capitals": lambda b: f"Session={b.session_id}&State={b.state}",
    "semicolons": lambda b: f"session={b.session_id};state={b.state}",
    "the names of brackets": lambda b: f"session[]={b.session_id}&state[]={b.state}",
}


@pytest.mark.parametrize("outcome", ["success", "failure"])
@pytest.mark.parametrize("link", LINKS)
def test_an_invalid_link_shows_one_page_sends_no_request_and_writes_nothing(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str, outcome: str, link: str
) -> None:
    attempt = begin(api, terra, reference_id)
    reference = browser.get(f"/auth/{outcome}?session=unknown&state=unknown")
    before = tables.session(attempt.session_id)
    its_own = attempt if outcome == "success" else replace(attempt, state=attempt.failure_state)
    response = browser.get(f"/auth/{outcome}?{LINKS[link](its_own)}")
    assert response.status_code == 400
    assert page_and_headers(response) == page_and_headers(reference)
    assert terra.calls("/userInfo") == []
    assert tables.session(attempt.session_id) == before
    assert "max-age" not in response.headers.get("cache-control", "")


def test_a_wrong_state_costs_one_read(api: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str) -> None:
    attempt = begin(api, terra, reference_id)
    for outcome, other in (("success", "failure"), ("failure", "success")):
        for changes in ({"state": OTHER_STATE}, {"session": "unknown"}, attempt.secret(other)):
            event = attempt.event(outcome, **changes)
            assert handlers.run(f"auth_{outcome}", event).trips == ["dynamodb.GetItem"]


def test_the_secret_of_one_redirect_is_rejected_by_the_other(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    before = tables.session(attempt.session_id)
    assert browser.get("/auth/failure", params=attempt.secret("success")).status_code == 400
    assert browser.get("/auth/success", params=attempt.secret("failure")).status_code == 400
    assert tables.session(attempt.session_id) == before


def test_the_secret_state_is_in_no_table_and_in_no_log(
    api: httpx.Client, terra: Terra, handlers: Handlers, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    run = handlers.run("auth_success", attempt.event("success", reference_id=reference_id, user_id=new_user_id()))
    assert attempt.session_id in run.log
    assert attempt.state not in run.log
    assert reference_id not in run.log
    assert attempt.state not in str(tables.session(attempt.session_id))
    assert len(attempt.state) >= 43


# -- values of a hostile query are never shown -------------------------------------------------------------------------

MARK = "xss0mark"
HOSTILE = {
    "markup": f"<script>{MARK}</script>",
    "an attribute": f"\"'><img src=x onerror={MARK}>",
    "a header": f"x\r\nSet-Cookie: {MARK}=1\r\n\r\n<h1>{MARK}</h1>",
    "8 kB": MARK * 1000,
    "a NUL": f"\x00{MARK}",
    "right to left": f"\u202e{MARK}",
    "an address": f"https://{MARK}.example.com/",
    "a script": f"javascript:{MARK}()",
    "a template": f"${{{MARK}}} $title {{{{{MARK}}}}} %({MARK})s",
}


@pytest.mark.parametrize("return_to", [None, "web", "ios"])
@pytest.mark.parametrize("outcome", ["success", "failure"])
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_hostile_query_values_are_never_shown(
    api: httpx.Client,
    browser: httpx.Client,
    terra: Terra,
    reference_id: str,
    value: str,
    outcome: str,
    return_to: str | None,
) -> None:
    attempt = begin(api, terra, reference_id, return_to=return_to)
    names = ("user_id", "resource", "reference_id", "reason", "return_to", "status", "session_id", "next", value)
    query = "&".join(f"{quote(name)}={quote(value)}" for name in (names if len(value) < 1000 else names[:1]))
    state = attempt.secret(outcome)["state"]
    secret = "&".join(f"{name}={part}" for name, part in attempt.secret(outcome).items())
    response = browser.get(f"/auth/{outcome}?{query}&{secret}")
    assert response.status_code == (303 if return_to == "web" else 200)
    assert MARK not in response.text
    assert MARK not in str(response.headers)
    # The URL's own state appears nowhere. The page after a failure has a new one in its button.
    assert bool(button(response)) == (outcome == "failure" and response.status_code == 200)
    assert state not in response.text
    assert state not in str(response.headers)
    assert "set-cookie" not in response.headers
    if return_to != "web":
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["strict-transport-security"] == "max-age=31536000"


def test_the_app_receives_no_value_of_the_redirect_s_query(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    attempt = begin(api, terra, reference_id, return_to="web")
    decide(attempt.session["auth_url"], "allow")
    response = attempt.return_from_login(browser, user_id="forged", resource="FORGED", status="failed")
    assert query_of(response.headers["location"]) == {
        "session_id": attempt.session_id,
        "status": "connected",
        "resource": "FITBIT",
    }
    assert response.content == b""


def test_host_headers_do_not_affect_the_redirect_urls(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    forged = {"host": "evil.example.com", "x-forwarded-host": "evil.example.com", "x-forwarded-proto": "https"}
    body = {"reference_id": reference_id, "resource": "FITBIT"}
    assert api.post("/sessions", json=body, headers=forged).status_code == 201
    [call] = terra.calls("/authenticateUser")
    for name in ("auth_success_redirect_url", "auth_failure_redirect_url"):
        assert call["body"][name].startswith(f"{api.base_url}".rstrip("/"))
