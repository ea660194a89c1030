"""The metric `Logins`: a login is counted once when it begins, and once for each outcome that becomes known."""

import json
from collections.abc import Callable
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from terra_connections.sessions.session import Reason
from tests.support.api import decide, session_status
from tests.support.handlers import Handlers, Run, http_event, pause
from tests.support.metrics import metrics
from tests.support.redirects import begin, begin_widget, button
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.webhooks import Webhook

Make = Callable[..., Webhook]


def counted(*runs: Run) -> list[str]:
    """Return the outcomes that the runs have counted."""
    found = [login for run in runs for login in metrics(run).get("Logins", [])]
    assert all(login["value"] == 1 for login in found)
    return [login["outcome"] for login in found]


# -- begun -------------------------------------------------------------------------------------------------------------


def test_a_login_is_counted_when_its_session_is_stored_and_not_when_the_response_is_replayed(
    handlers: Handlers, reference_id: str
) -> None:
    body = json.dumps({"reference_id": reference_id, "resource": "FITBIT"})
    event = http_event("POST", "/sessions", body=body, headers={"idempotency-key": reference_id})
    assert counted(*(handlers.run("create_session", event) for _ in range(2))) == ["begun"]


def test_a_login_that_terra_does_not_prepare_is_not_counted(
    handlers: Handlers, terra: Terra, reference_id: str
) -> None:
    terra.fault("/auth/authenticateUser", "status", status=500)
    body = json.dumps({"reference_id": reference_id, "resource": "FITBIT"})
    assert counted(handlers.run("create_session", http_event("POST", "/sessions", body=body))) == []


def test_a_retry_begins_one_login_however_often_its_button_is_pressed(
    handlers: Handlers, api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    form = button(begin(api, terra, reference_id).return_from_login(browser, "failure"))
    headers = {"content-type": "application/x-www-form-urlencoded"}
    press = http_event("POST", "/auth/retry", headers=headers, body=urlencode(form))
    assert counted(*(handlers.run("auth_retry", press) for _ in range(2))) == ["begun"]


# -- connected ---------------------------------------------------------------------------------------------------------


def test_a_webhook_that_connects_is_counted_and_later_ones_and_the_redirect_are_not(
    handlers: Handlers, api: httpx.Client, terra: Terra, webhook: Make, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    delivery = webhook(auth_event(attempt.user_id, reference_id))
    again = webhook(auth_event(attempt.user_id, reference_id, number=2))
    assert counted(handlers.run("terra_webhook", delivery.event())) == ["connected"]
    assert counted(*(handlers.run("terra_webhook", each.event()) for each in (delivery, again))) == []
    assert counted(handlers.run("auth_success", attempt.event("success"))) == []


def test_a_redirect_that_terra_confirms_is_counted_and_its_reload_and_the_webhook_are_not(
    handlers: Handlers, api: httpx.Client, terra: Terra, webhook: Make, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    decide(attempt.session["auth_url"], "allow")
    assert counted(*(handlers.run("auth_success", attempt.event("success")) for _ in range(2))) == ["connected"]
    assert counted(handlers.run("terra_webhook", webhook(auth_event(attempt.user_id, reference_id)).event())) == []


def test_of_a_webhook_and_a_redirect_at_the_same_time_one_is_counted(
    handlers: Handlers, api: httpx.Client, terra: Terra, webhook: Make, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    decide(attempt.session["auth_url"], "allow")
    event = webhook(auth_event(attempt.user_id, reference_id)).event()
    with handlers.start("terra_webhook", event, pause("dynamodb.TransactWriteItems*:before")) as delivery:
        delivery.until_paused()  # it has read that nothing is connected
        redirect = handlers.run("auth_success", attempt.event("success"))
        delivery.resume()
        assert counted(redirect, delivery.end()) == ["connected"]


def test_a_reconnect_is_counted_and_a_disconnect_is_not(handlers: Handlers, webhook: Make, reference_id: str) -> None:
    old, new = (auth_event(new_user_id(), reference_id)["user"] for _ in range(2))
    reauth = {"type": "user_reauth", "status": "warning", "new_user": new, "old_user": old}
    bodies = [
        auth_event(old["user_id"], reference_id),
        reauth,
        auth_event(new["user_id"], reference_id),
        deauth_event(new["user_id"], reference_id),
    ]
    runs = [handlers.run("terra_webhook", webhook(body).event()) for body in bodies]
    assert [counted(run) for run in runs] == [["connected"], ["connected"], [], []]


def test_a_redirect_that_terra_does_not_confirm_is_not_counted(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    forged = http_event("GET", "/auth/success", query=urlencode({"session": attempt.session_id, "state": "forged"}))
    assert counted(handlers.run("auth_success", forged)) == []
    assert counted(handlers.run("auth_success", attempt.event("success"))) == []


# -- other outcomes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", sorted(set(Reason) - {Reason.OTHER_ACCOUNT}))
def test_a_failure_is_counted_by_its_reason_once_for_a_login(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str, reason: Reason
) -> None:
    attempt = begin(api, terra, reference_id)
    failure = attempt.event("failure", reason=reason)
    assert counted(*(handlers.run("auth_failure", failure) for _ in range(2))) == [reason]
    assert counted(handlers.run("auth_failure", attempt.event("failure", reason="access_denied"))) == []


def test_a_failure_after_the_connection_is_not_counted(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    terra.deliver(auth_event(attempt.user_id, reference_id))
    assert counted(handlers.run("auth_failure", attempt.event("failure", reason="server_error"))) == []
    assert session_status(api, attempt.session)["status"] == "connected"


def test_a_provider_of_the_mobile_app_is_counted_once_for_a_login(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    redirect = http_event("GET", "/auth/success", query=urlsplit(attempt.pick("APPLE")).query)
    assert counted(*(handlers.run("auth_success", redirect) for _ in range(2))) == ["needs_app"]
