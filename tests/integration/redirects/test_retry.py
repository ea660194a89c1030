"""POST /auth/retry: after a failed login the user presses "Try again", once or twice or in two tabs."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest

from local.testing import Stack
from tests.support.api import connections_of, decide, erase, query_of, session_status
from tests.support.handlers import Handlers, http_event
from tests.support.redirects import LoginAttempt, begin, begin_widget, button, page_and_headers
from tests.support.tables import Tables, items_containing
from tests.support.terra import Terra
from tests.support.terra_events import auth_event
from tests.support.waiting import eventually
from tests.support.webhooks import now_s

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LOGIN, WIDGET = "/authenticateUser", "/api/widget/session"
FAILED = "Fitbit was not connected"
TOO_MANY = "Too many attempts"
TRY_LATER = "Please try again in a moment"


def try_again(browser: httpx.Client, fields: Mapping[str, str]) -> httpx.Response:
    return browser.post("/auth/retry", data=dict(fields))


def fail(browser: httpx.Client, attempt: LoginAttempt) -> dict[str, str]:
    """Return after a failed login, and read the form of the page's button."""
    return button(attempt.return_from_login(browser, "failure", reason="access_denied"))


def pressed(fields: Mapping[str, str]) -> dict[str, Any]:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return http_event("POST", "/auth/retry", headers=headers, body=urlencode(fields))


def secret_of(call: Mapping[str, Any]) -> dict[str, str]:
    """Return the session and the state that Terra received."""
    return query_of(call["body"]["auth_failure_redirect_url"])


def test_a_retry_starts_a_login_for_the_same_user_and_provider(
    api: httpx.Client, browser: httpx.Client, terra: Terra, stack: Stack, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id, resource="GARMIN", language="de-CH", return_to="ios")
    fields = fail(browser, attempt)
    response = try_again(browser, fields)
    assert response.status_code == 303
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.content == b""
    first, second = terra.calls(LOGIN)
    assert second["query"] == first["query"] == {"resource": "GARMIN"}
    assert {name: second["body"][name] for name in ("reference_id", "language")} == {
        "reference_id": reference_id,
        "language": "de-CH",
    }
    new = secret_of(second)
    assert not set(new.values()) & {attempt.session_id, attempt.state, attempt.failure_state, fields["secret"]}
    assert session_status(api, attempt.session)["status"] == "failed"
    terra.settings(redirect_waits_for_webhook=True)
    back = browser.get(decide(response.headers["location"], "allow"))
    assert "terraconnections-demo://connected?" in back.text
    assert stack.demo_url not in back.text
    shown = api.get(f"/sessions/{new['session']}").json()
    assert (shown["status"], shown["reference_id"], shown["resource"]) == ("connected", reference_id, "GARMIN")


@pytest.mark.parametrize("resources", [[], ["GARMIN", "OURA"]])
def test_a_retry_of_a_widget_session_offers_the_same_providers(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, resources: list[str]
) -> None:
    attempt = begin_widget(api, terra, reference_id, **({"resources": resources} if resources else {}))
    response = try_again(browser, button(browser.get(attempt.give_up())))
    first, second = terra.calls(WIDGET)
    assert response.headers["location"].startswith(f"{terra.client.base_url}/widget/session/")
    assert response.headers["location"] != attempt.session["auth_url"]
    assert second["body"].get("providers") == first["body"].get("providers")
    shown = api.get(f"/sessions/{secret_of(second)['session']}").json()
    assert (shown["status"], shown["reference_id"], shown["resource"]) == ("pending", reference_id, None)


def test_repeated_retries_lead_to_the_same_login(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    fields = fail(browser, attempt)
    responses = [try_again(browser, fields) for _ in range(3)]
    assert [response.status_code for response in responses] == [303] * 3
    assert len({response.headers["location"] for response in responses}) == 1
    assert len(terra.calls(LOGIN)) == 2


def test_concurrent_retries_lead_to_the_same_login(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    buttons = [fail(browser, attempt), fail(browser, attempt)]
    terra.fault(LOGIN, "slow", delay_s=1, times=1)
    with ThreadPoolExecutor(4) as pool:
        responses = list(pool.map(lambda fields: try_again(browser, fields), buttons * 2))
    assert [response.status_code for response in responses] == [303] * 4
    assert len({response.headers["location"] for response in responses}) == 1
    assert len(terra.calls(LOGIN)) == 2


def test_a_login_that_failed_twice_can_be_retried_again(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    again = try_again(browser, fail(browser, attempt)).headers["location"]
    page = browser.get(decide(again, "deny"))
    assert FAILED in page.text
    third = try_again(browser, button(page))
    assert third.status_code == 303
    assert len({attempt.session["auth_url"], again, third.headers["location"]}) == 3


# -- cases where a retry would not help --------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_the_url_of_a_redirect_starts_no_login(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, outcome: str
) -> None:
    attempt = begin(api, terra, reference_id)
    for has_failed in (False, True):
        assert not has_failed or fail(browser, attempt)
        secret = attempt.secret(outcome)
        for fields in (secret, {"session": attempt.session_id, "secret": secret["state"]}):
            assert try_again(browser, fields).status_code == 400
            assert browser.post("/auth/retry", params=fields).status_code == 400
    assert len(terra.calls(LOGIN)) == 1


def test_the_page_of_the_success_redirect_has_no_retry_button_after_a_failure(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    assert fail(browser, attempt)
    page = attempt.return_from_login(browser)
    assert FAILED in page.text
    assert button(page) == {}
    assert "You can start again from the app." in page.text


def test_a_reloaded_page_has_a_working_retry_button(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    first, second = fail(browser, attempt), fail(browser, attempt)
    assert first["secret"] != second["secret"]
    responses = [try_again(browser, fields) for fields in (second, first, second)]
    assert [response.status_code for response in responses] == [303] * 3
    assert len({response.headers["location"] for response in responses}) == 1
    assert len(terra.calls(LOGIN)) == 2
    item = str(tables.session(attempt.session_id))
    assert not any(fields["secret"] in item for fields in (first, second))


def test_a_retry_button_works_once_and_a_page_loaded_later_has_none(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    assert try_again(browser, fail(browser, attempt)).status_code == 303
    page = attempt.return_from_login(browser, "failure", reason="access_denied")
    assert button(page) == {}
    assert "You can start again from the app." in page.text
    assert len(terra.calls(LOGIN)) == 2


def test_the_retry_button_of_one_session_is_rejected_for_another(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    mine, theirs = begin(api, terra, f"{reference_id}-attacker"), begin(api, terra, reference_id)
    fields, _ = fail(browser, mine), fail(browser, theirs)
    assert try_again(browser, {**fields, "session": theirs.session_id}).status_code == 400
    assert len(terra.calls(LOGIN)) == 2


def test_a_session_stores_at_most_50_retry_secrets(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    buttons = [fail(browser, attempt) for _ in range(53)]
    assert [bool(fields) for fields in buttons] == [True] * 50 + [False] * 3
    assert len((tables.session(attempt.session_id) or {})["retry_hashes"]) == 50
    assert try_again(browser, buttons[0]).status_code == 303


def test_a_connected_session_is_not_retried(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    fields = fail(browser, attempt)
    terra.deliver(auth_event(attempt.user_id, reference_id))
    response = try_again(browser, fields)
    assert "Fitbit is connected" in response.text
    assert len(terra.calls(LOGIN)) == 1


def test_an_expired_session_is_not_retried(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    fields = fail(browser, attempt)
    tables.change_session(attempt.session_id, expires_at=now_s() * 1000 - 1)
    assert fail(browser, attempt) == {}
    response = try_again(browser, fields)
    assert (response.status_code, FAILED in response.text) == (200, True)
    assert len(terra.calls(LOGIN)) == 1


def test_an_app_with_its_own_page_gets_no_retry_button(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id, return_to="web")
    response = attempt.return_from_login(browser, "failure", reason="access_denied")
    assert (response.status_code, response.content) == (303, b"")
    assert "retry_hashes" not in (tables.session(attempt.session_id) or {"retry_hashes"})


def test_a_wrong_secret_starts_no_login_and_gets_one_page(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, handlers: Handlers, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    fields = fail(browser, attempt)
    before = tables.count()
    unknown = try_again(browser, {"session": "unknown", "secret": fields["secret"]})
    assert unknown.status_code == 400
    wrongs: list[dict[str, str]] = [{**fields, "secret": "x"}, {"session": attempt.session_id}, {}]
    for wrong in wrongs:
        assert page_and_headers(try_again(browser, wrong)) == page_and_headers(unknown)
    assert page_and_headers(browser.post("/auth/retry", content=b"\xff\x00=%ff&&&")) == page_and_headers(unknown)
    assert handlers.run("auth_retry", pressed({**fields, "secret": "x"})).trips == ["dynamodb.GetItem"]
    assert tables.count() == before
    assert len(terra.calls(LOGIN)) == 1


def test_only_a_pressed_button_starts_a_login(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    fields = fail(browser, attempt)
    assert browser.get("/auth/retry", params=fields).status_code == 404
    assert browser.post("/auth/retry", params=fields).status_code == 400
    assert len(terra.calls(LOGIN)) == 1


def test_the_secret_of_a_button_is_in_no_log(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    run = handlers.run("auth_retry", pressed(fail(browser, attempt)))
    assert run.status == 303
    assert fail(browser, attempt) == {}
    assert attempt.session_id in run.log
    assert not any(secret in run.log for secret in (attempt.state, attempt.failure_state))


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_retry_counts_against_the_limit_of_open_sessions(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    event = pressed(fail(browser, attempt))
    begin(api, terra, reference_id)
    rejected = handlers.run("auth_retry", event, environment={"OPEN_SESSIONS_PER_PERSON": "1"})
    assert rejected.status == 429
    assert rejected.result is not None
    assert TOO_MANY in rejected.result["body"]
    assert 0 < int(rejected.result["headers"]["retry-after"]) <= 3600
    assert len(terra.calls(LOGIN)) == 2
    # The rejected request created nothing that counts against the limit.
    assert handlers.run("auth_retry", event, environment={"OPEN_SESSIONS_PER_PERSON": "2"}).status == 303


@pytest.mark.parametrize("failure", [{"kind": "status", "status": 500}, {"kind": "status", "status": 404}])
def test_if_terra_fails_the_button_can_be_pressed_again(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, failure: dict[str, Any]
) -> None:
    attempt = begin(api, terra, reference_id)
    fields = fail(browser, attempt)
    terra.fault(LOGIN, **failure, times=1)
    response = try_again(browser, fields)
    assert (response.status_code, TRY_LATER in response.text) == (503, True)
    # The button is pressed again, without and with a reload of the page.
    for again in (fail(browser, attempt), fields):
        assert try_again(browser, again).status_code == 303


def test_an_erasure_deletes_the_stored_response_of_a_retry(
    api: httpx.Client, browser: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    fields = fail(browser, attempt)
    try_again(browser, fields)
    new = secret_of(terra.calls(LOGIN)[-1])["session"]
    assert items_containing(dynamodb, stack, f"retry:{attempt.session_id}") != []
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    for word in (reference_id, attempt.session_id, new):
        assert items_containing(dynamodb, stack, word) == []
    assert try_again(browser, fields).status_code == 400


def test_a_retried_login_connects(api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str) -> None:
    attempt = begin(api, terra, reference_id)
    decide(try_again(browser, fail(browser, attempt)).headers["location"], "allow")
    [connection] = eventually(lambda: connections_of(api, reference_id))
    # The failed session has the same user and provider, so it is shown as connected from now on.
    assert session_status(api, attempt.session)["user_id"] == connection["user_id"]
