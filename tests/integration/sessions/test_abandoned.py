"""Abandoned logins expire on reading, without any job, and still connect if the user finishes them later."""

from collections.abc import Callable

import httpx
import pytest

from tests.support.api import connections_of, decide, session_status
from tests.support.redirects import LoginAttempt, ProviderAttempt, begin, begin_widget
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.webhooks import Webhook, now_s

Make = Callable[..., Webhook]
Begin = Callable[[httpx.Client, Terra, str], LoginAttempt]

FLOWS = pytest.mark.parametrize("begin_one", [begin, begin_widget], ids=["provider", "widget"])
EXPIRED = "Not confirmed in time"


def age(tables: Tables, attempt: LoginAttempt, *, by_s: int) -> None:
    """Move a session's times into the past."""
    item = tables.session(attempt.session_id)
    assert item is not None
    earlier = {name: int(item[name]) - by_s * 1000 for name in ("created_at", "expires_at", "asked_at") if name in item}
    tables.change_session(attempt.session_id, ttl=int(item["ttl"]) - by_s, **earlier)


@FLOWS
def test_a_session_expires_on_reading_without_a_write(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str, begin_one: Begin
) -> None:
    attempt = begin_one(api, terra, reference_id)
    age(tables, attempt, by_s=3590)
    assert session_status(api, attempt.session)["status"] == "pending"
    age(tables, attempt, by_s=11)
    aged = tables.session(attempt.session_id)
    shown = session_status(api, attempt.session)
    assert (shown["status"], shown["reason"], shown["user_id"]) == ("expired", None, None)
    assert tables.session(attempt.session_id) == aged


@FLOWS
@pytest.mark.parametrize("days", [0, 6])
def test_a_webhook_still_connects_an_expired_session(
    api: httpx.Client,
    browser: httpx.Client,
    terra: Terra,
    tables: Tables,
    webhook: Make,
    reference_id: str,
    begin_one: Begin,
    days: int,
) -> None:
    attempt = begin_one(api, terra, reference_id)
    age(tables, attempt, by_s=days * 86_400 + 7200)
    assert session_status(api, attempt.session)["status"] == "expired"
    if isinstance(attempt, ProviderAttempt):
        event = auth_event(attempt.user_id, reference_id)
    else:
        widget = attempt.session["auth_url"].rpartition("/")[2]
        event = auth_event(new_user_id(), reference_id, widget_session_id=widget)
    assert webhook(event).post(browser).status_code == httpx.codes.OK
    shown = session_status(api, attempt.session)
    assert (shown["status"], shown["user_id"], shown["resource"]) == ("connected", event["user"]["user_id"], "FITBIT")


def test_a_redirect_still_connects_an_expired_session(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    address = decide(attempt.session["auth_url"], "allow")
    age(tables, attempt, by_s=7200)
    assert "Fitbit is connected" in browser.get(address).text
    assert session_status(api, attempt.session)["status"] == "connected"


def test_a_redirect_from_the_widget_still_connects_an_expired_session(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin_widget(api, terra, reference_id)
    address = attempt.allow("GARMIN")
    age(tables, attempt, by_s=7200)
    assert "Garmin is connected" in browser.get(address).text
    assert session_status(api, attempt.session)["resource"] == "GARMIN"


def test_a_late_redirect_without_a_login_shows_the_expiry(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    age(tables, attempt, by_s=7200)
    assert EXPIRED in attempt.return_from_login(browser).text
    assert connections_of(api, reference_id) == []


@FLOWS
def test_a_failure_of_an_expired_session_is_shown(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str, begin_one: Begin
) -> None:
    attempt = begin_one(api, terra, reference_id)
    age(tables, attempt, by_s=7200)
    attempt.return_from_login(browser, "failure", reason="missing_scopes")
    shown = session_status(api, attempt.session)
    assert (shown["status"], shown["reason"]) == ("failed", "missing_scopes")


@FLOWS
def test_a_session_is_not_found_after_a_week(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str, begin_one: Begin
) -> None:
    attempt = begin_one(api, terra, reference_id)
    tables.change_session(attempt.session_id, ttl=now_s() - 1)
    assert api.get(f"/sessions/{attempt.session_id}").status_code == httpx.codes.NOT_FOUND
    assert attempt.return_from_login(browser).status_code == httpx.codes.BAD_REQUEST
