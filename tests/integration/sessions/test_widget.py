"""The user picks the provider on Terra's own page. Terra's events about that page determine the session's outcome."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local.testing import Stack
from tests.support.api import connections_of, create_session, decide, erase, query_of, session_status
from tests.support.handlers import STALE_INDEX, Handlers, http_event, pause
from tests.support.redirects import WidgetAttempt, begin, begin_widget, page_and_headers
from tests.support.tables import Tables, items_containing
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.waiting import eventually
from tests.support.webhooks import Webhook

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Make = Callable[..., Webhook]

WIDGET = "/api/widget/session"
NEEDS_APP = "One more step on your phone"
WAITING = "Almost there"
WITHOUT_USER_ID: list[dict[str, str]] = [
    {},
    {"user_id": ""},
    {"user_id": "null"},
    {"user_id": "a b"},
    {"user_id": "x" * 129},
]


def seconds(session: Mapping[str, Any], of: str) -> float:
    return datetime.fromisoformat(session[of]).timestamp()


def view(api: httpx.Client, attempt: WidgetAttempt) -> tuple[str, str | None, str | None]:
    """Return a session's status, provider and user_id."""
    shown = session_status(api, attempt.session)
    return shown["status"], shown["resource"], shown["user_id"]


# -- a new session -----------------------------------------------------------------------------------------------------


def test_a_session_without_a_resource_uses_the_widget(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin_widget(api, terra, reference_id, language="de-CH", return_to="web")
    [call] = terra.calls(WIDGET)
    assert set(call["body"]) == {
        "reference_id",
        "language",
        "auth_success_redirect_url",
        "auth_failure_redirect_url",
    }
    assert (call["body"]["reference_id"], call["body"]["language"]) == (reference_id, "de-CH")
    assert terra.calls("/authenticateUser") == []
    assert attempt.session["resource"] is None
    assert attempt.session["status"] == "pending"
    assert attempt.session["auth_url"].startswith(str(terra.client.base_url))
    assert view(api, attempt) == ("pending", None, None)
    item = tables.session(attempt.session_id)
    assert item is not None
    assert item["widget_session_id"] == attempt.widget_session_id
    assert not {"user_id", "resource", "resources"} & item.keys()
    assert attempt.state not in str(item)


def test_the_offered_providers_are_sent_as_one_string(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    begin_widget(api, terra, reference_id, resources=["GARMIN", "OURA", "GARMIN"])
    [call] = terra.calls(WIDGET)
    assert call["body"]["providers"] == "GARMIN,OURA"


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"resource": "FITBIT", "resources": ["OURA"]}, {"resources"}),
        ({"resources": []}, {"resources"}),
        ({"resources": ["FITBIT"] * 101}, {"resources"}),
        ({"resources": "FITBIT,OURA"}, {"resources"}),
        ({"resources": ["FITBIT", "FITBIT,OURA"]}, {"resources.1"}),
        ({"resources": ["FITBIT", "o", 7]}, {"resources.1", "resources.2"}),
    ],
    ids=lambda value: str(value)[:50] if isinstance(value, dict) else "",
)
def test_invalid_resources_are_400_and_named(
    api: httpx.Client, terra: Terra, reference_id: str, fields: dict[str, Any], wrong: set[str]
) -> None:
    response = api.post("/sessions", json={"reference_id": reference_id, **fields})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert {error["field"] for error in response.json()["errors"]} == wrong
    assert terra.calls(WIDGET) == []


def test_any_success_status_of_terra_is_accepted(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    terra.settings(widget_status=200)
    assert view(api, begin_widget(api, terra, reference_id)) == ("pending", None, None)


@pytest.mark.parametrize(("lifetime", "shown"), [(900, 900), (60, 60), (7200, 3600)])
def test_a_session_expires_with_its_link_and_within_an_hour(
    api: httpx.Client, terra: Terra, reference_id: str, lifetime: int, shown: int
) -> None:
    terra.settings(widget_expires_in_s=lifetime)
    session = begin_widget(api, terra, reference_id).session
    assert seconds(session, "expires_at") - seconds(session, "created_at") == pytest.approx(shown)


@pytest.mark.parametrize("expires_in", [None, "soon", 0, -1, True, 10**12])
def test_a_session_without_a_valid_expiry_of_terra_expires_after_15_minutes(
    api: httpx.Client, terra: Terra, reference_id: str, expires_in: object
) -> None:
    url = f"{terra.client.base_url}/widget/session/x"
    body = {"status": "success", "session_id": "x", "url": url, "expires_in": expires_in}
    terra.fault(WIDGET, "wrong_shape", body=body)
    session = begin_widget(api, terra, reference_id).session
    assert session["auth_url"] == url
    assert seconds(session, "expires_at") - seconds(session, "created_at") == pytest.approx(900)


@pytest.mark.parametrize("status", [410, 404])
def test_a_retired_endpoint_is_502_and_the_detail_names_the_setting(
    api: httpx.Client, terra: Terra, reference_id: str, status: int
) -> None:
    terra.fault(WIDGET, "status", status=status)
    response = api.post("/sessions", json={"reference_id": reference_id})
    assert (response.status_code, response.json()["code"]) == (502, "terra_rejected")
    assert "TERRA_WIDGET_URL" in response.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"status": "success", "session_id": "x"},
        {"status": "success", "url": "https://widget.example.com/x"},
        {"status": "success", "session_id": "a b", "url": "https://widget.example.com/x"},
        {"status": "success", "session_id": "x", "url": "javascript:alert(1)"},
        {"status": "success", "session_id": "x", "url": 7},
        {"status": "success", "session_id": "x", "url": "http://widget.example.com/x"},
        {"status": "success", "session_id": "x", "url": "https://widget.example.com/\r\nx"},
    ],
)
def test_a_response_without_a_required_member_is_503(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str, body: object
) -> None:
    before = tables.count()
    terra.fault(WIDGET, "wrong_shape", body=body, status=201)
    response = api.post("/sessions", json={"reference_id": reference_id})
    assert (response.status_code, response.json()["code"]) == (503, "terra_unavailable")
    assert tables.count() == before


def test_a_repeated_key_returns_the_same_session_and_opens_one_widget(
    terra: Terra, handlers: Handlers, reference_id: str
) -> None:
    event = http_event(
        "POST", "/sessions", body=f'{{"reference_id": "{reference_id}"}}', headers={"idempotency-key": reference_id}
    )
    first = handlers.run("create_session", event)
    assert first.status == 201
    assert first.trips[-2:] == ["terra.session", "dynamodb.TransactWriteItems"]
    assert handlers.run("create_session", event).json == first.json
    assert len(terra.calls(WIDGET)) == 1


# -- the outcome -------------------------------------------------------------------------------------------------------


def test_a_webhook_before_the_redirect_connects_without_an_index(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    attempt = begin_widget(api, terra, reference_id)
    address = attempt.allow("GARMIN")
    [connection] = connections_of(api, reference_id)
    assert view(api, attempt) == ("connected", "GARMIN", connection["user_id"])
    path = http_event("GET", "/sessions/x", path_parameters={"session_id": attempt.session_id})
    run = handlers.run("get_session", path, STALE_INDEX)
    assert run.json["status"] == "connected"
    assert run.trips == ["dynamodb.GetItem", "dynamodb.GetItem", "dynamodb.BatchGetItem"]
    assert "Garmin is connected" in browser.get(address).text
    run = handlers.run("auth_success", attempt.event("success"))
    assert run.trips == ["dynamodb.GetItem", "dynamodb.GetItem", "dynamodb.BatchGetItem"]
    assert terra.calls("/userInfo") == []


def test_a_redirect_before_the_webhook_connects(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    terra.hold()
    address = attempt.allow("OURA")
    assert "Oura is connected" in browser.get(address).text
    user_id = query_of(address)["user_id"]
    assert [call["query"] for call in terra.calls("/userInfo")] == [{"user_id": user_id}]
    assert view(api, attempt) == ("connected", "OURA", user_id)
    assert tables.session(f"widget:{attempt.widget_session_id}") is None
    terra.release()
    assert view(api, attempt) == ("connected", "OURA", user_id)
    item = tables.session(f"widget:{attempt.widget_session_id}")
    assert item is not None
    assert item["user_ids"] == {user_id}


def test_a_webhook_with_a_widget_session_id_reads_once_and_writes_once(
    handlers: Handlers, webhook: Make, tables: Tables, reference_id: str
) -> None:
    user_id, widget = new_user_id(), new_user_id()
    for number in range(2):
        run = handlers.run(
            "terra_webhook", webhook(auth_event(user_id, reference_id, widget_session_id=widget, n=number)).event()
        )
        assert (run.status, run.trips) == (200, ["dynamodb.BatchGetItem", "dynamodb.TransactWriteItems"])
    item = tables.session(f"widget:{widget}")
    assert item is not None
    assert item["user_ids"] == {user_id}


def test_the_app_receives_only_the_session_its_status_and_the_provider(
    api: httpx.Client, browser: httpx.Client, terra: Terra, stack: Stack, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    attempt = begin_widget(api, terra, reference_id, return_to="web")
    waiting = attempt.return_from_login(browser)
    assert waiting.headers["location"] == f"{stack.demo_url}/connected?session_id={attempt.session_id}&status=needs_app"
    response = browser.get(attempt.allow("GARMIN"))
    assert response.headers["location"] == (
        f"{stack.demo_url}/connected?session_id={attempt.session_id}&status=connected&resource=GARMIN"
    )


def test_two_widget_sessions_of_one_user_do_not_affect_each_other(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    first, second = begin_widget(api, terra, reference_id), begin_widget(api, terra, reference_id)
    second.allow("GARMIN")
    assert view(api, first) == ("pending", None, None)
    # The first session picked a source of a mobile app. The second session's connection does not count for it.
    assert NEEDS_APP in first.return_from_login(browser, user_id="null").text
    assert view(api, second)[:2] == ("connected", "GARMIN")
    first.allow("OURA")
    assert view(api, first)[:2] == ("connected", "OURA")


def test_a_session_shows_the_successor_of_its_connection(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    attempt = begin_widget(api, terra, reference_id)
    attempt.allow("FITBIT", account="the same")
    _, _, first = view(api, attempt)
    again = begin_widget(api, terra, reference_id)
    again.allow("FITBIT", account="the same")
    _, _, second = view(api, again)
    assert first != second
    assert view(api, attempt) == ("connected", "FITBIT", second)
    assert len(connections_of(api, reference_id)) == 1


def test_a_failure_event_with_a_widget_session_id_fails_its_session(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(cancel_shape="old", cancel_reason="missing_scopes", redirect_waits_for_webhook=True)
    attempt = begin_widget(api, terra, reference_id)
    decide(attempt.pick("FITBIT"), "deny")
    shown = session_status(api, attempt.session)
    assert (shown["status"], shown["reason"], shown["resource"]) == ("failed", "missing_scopes", None)


def test_a_cancelled_widget_fails_the_session(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    assert "Nothing was connected" in browser.get(attempt.give_up()).text
    shown = session_status(api, attempt.session)
    assert (shown["status"], shown["reason"]) == ("failed", "access_denied")


# -- a hint is untrusted -----------------------------------------------------------------------------------------------


def test_another_user_s_connection_does_not_connect_the_session(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    theirs = terra.connect(f"{reference_id}-other")["user_id"]
    attempt = begin_widget(api, terra, reference_id)
    assert WAITING in attempt.return_from_login(browser, user_id=theirs).text
    assert view(api, attempt) == ("pending", None, None)


def test_an_unfinished_login_does_not_connect_the_session(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    pending = begin(api, terra, reference_id)
    attempt = begin_widget(api, terra, reference_id)
    assert WAITING in attempt.return_from_login(browser, user_id=pending.user_id).text
    assert view(api, attempt) == ("pending", None, None)


@pytest.mark.parametrize(("offered", "status"), [(["OURA", "GARMIN"], "pending"), (["OURA", "FITBIT"], "connected")])
def test_only_an_offered_provider_connects_the_session(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, offered: list[str], status: str
) -> None:
    attempt = begin_widget(api, terra, reference_id, resources=offered)
    terra.settings(send_webhooks=False)
    fitbit = terra.connect(reference_id, provider="FITBIT")["user_id"]
    attempt.return_from_login(browser, user_id=fitbit)
    assert view(api, attempt)[0] == status


def test_a_wrong_state_costs_one_read_and_sends_terra_no_request(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    wrong = http_event("GET", "/auth/success", query=f"session={attempt.session_id}&state=x")
    assert handlers.run("auth_success", wrong).trips == ["dynamodb.GetItem"]
    known = browser.get("/auth/success", params={"session": attempt.session_id, "state": "x"})
    unknown = browser.get("/auth/success", params={"session": "unknown", "state": "x"})
    assert page_and_headers(known) == page_and_headers(unknown)
    assert terra.calls("/userInfo") == []


# -- sources that need a mobile app ------------------------------------------------------------------------------------


def test_a_source_of_a_mobile_app_needs_the_app(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    page = browser.get(attempt.pick("APPLE"))
    assert page.status_code == 200
    assert NEEDS_APP in page.text
    assert view(api, attempt) == ("needs_app", None, None)
    assert [call["query"] for call in terra.calls("/userInfo")] == [{"reference_id": reference_id}]


@pytest.mark.parametrize("query", WITHOUT_USER_ID, ids=str)
@pytest.mark.parametrize("unknown", ["empty", "not_found"])
def test_a_redirect_without_a_valid_user_id_needs_the_app(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, query: dict[str, str], unknown: str
) -> None:
    terra.settings(unknown_reference=unknown, userinfo_reference_shape="object")
    attempt = begin_widget(api, terra, reference_id)
    assert NEEDS_APP in attempt.return_from_login(browser, **query).text
    assert view(api, attempt)[0] == "needs_app"


FAILURES: list[dict[str, Any]] = [
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 401},
    {"kind": "html", "status": 500},
    {"kind": "malformed"},
    {"kind": "rate_limit"},
    {"kind": "disconnect"},
    {"kind": "slow", "delay_s": 4},
    {"kind": "wrong_shape", "body": {"users": None}},
    {"kind": "wrong_shape", "body": [{"provider": "FITBIT"}]},
    {"kind": "wrong_shape", "body": [None]},
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: str(failure)[:40])
def test_an_unusable_response_of_terra_leaves_the_session_pending(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, failure: dict[str, Any]
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    terra.fault("/userInfo", **failure)
    assert WAITING in attempt.return_from_login(browser).text
    assert view(api, attempt) == ("pending", None, None)


def test_a_listed_connection_that_cannot_be_verified_leaves_the_session_pending(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin_widget(api, terra, reference_id)
    terra.fault("/userInfo", "wrong_shape", times=1, body=[{"user_id": new_user_id()}])
    terra.fault("/userInfo", "status", status=500)
    assert WAITING in attempt.return_from_login(browser).text
    assert len(terra.calls("/userInfo")) == 2
    assert view(api, attempt) == ("pending", None, None)


def test_too_many_candidates_for_the_time_limit_leave_the_session_pending(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    for _ in range(13):
        terra.client.post("/_control/logins", json={"reference_id": reference_id}).raise_for_status()
    attempt = begin_widget(api, terra, reference_id)
    assert WAITING in attempt.return_from_login(browser).text
    assert len(terra.calls("/userInfo")) == 13
    assert view(api, attempt) == ("pending", None, None)


def test_unfinished_logins_do_not_count_as_new_connections(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    for _ in range(3):
        create_session(api, reference_id)
    attempt = begin_widget(api, terra, reference_id)
    assert NEEDS_APP in attempt.return_from_login(browser).text
    assert len(terra.calls("/userInfo")) == 4


def test_an_earlier_connection_does_not_count_as_new_and_is_not_verified(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.connect(reference_id)
    eventually(lambda: connections_of(api, reference_id))
    attempt = begin_widget(api, terra, reference_id)
    assert NEEDS_APP in attempt.return_from_login(browser).text
    assert len(terra.calls("/userInfo")) == 1


def test_a_new_connection_in_terras_list_connects_the_session(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.connect(reference_id, provider="FITBIT")
    eventually(lambda: connections_of(api, reference_id))
    attempt = begin_widget(api, terra, reference_id)
    terra.settings(send_webhooks=False)
    new = terra.connect(reference_id, provider="APPLE")["user_id"]
    assert "Apple Health is connected" in attempt.return_from_login(browser).text
    assert view(api, attempt) == ("connected", "APPLE", new)
    assert {c["user_id"] for c in connections_of(api, reference_id)} > {new}


def test_terra_gets_one_request_in_five_seconds(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    for _ in range(3):
        assert NEEDS_APP in attempt.return_from_login(browser).text
    assert len(terra.calls("/userInfo")) == 1
    item = tables.session(attempt.session_id)
    assert item is not None
    tables.change_session(attempt.session_id, asked_at=int(item["asked_at"]) - 6000)
    assert NEEDS_APP in attempt.return_from_login(browser).text
    assert len(terra.calls("/userInfo")) == 2


def test_a_webhook_connects_a_session_that_needed_the_app(
    api: httpx.Client, browser: httpx.Client, terra: Terra, webhook: Make, reference_id: str
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    browser.get(attempt.pick("APPLE"))
    user_id = new_user_id()
    event = auth_event(user_id, reference_id, provider="APPLE", widget_session_id=attempt.widget_session_id)
    assert webhook(event).post(browser).status_code == 200
    assert view(api, attempt) == ("connected", "APPLE", user_id)
    attempt.return_from_login(browser)
    assert view(api, attempt) == ("connected", "APPLE", user_id)


def test_a_failure_outranks_needs_app_in_either_order(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    for order in (["success", "failure"], ["failure", "success"]):
        attempt = begin_widget(api, terra, reference_id)
        for outcome in order:
            attempt.return_from_login(browser, outcome)
        assert view(api, attempt)[0] == "failed"


def test_a_session_that_needs_the_app_does_not_count_as_open(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    event = http_event("POST", "/sessions", body=f'{{"reference_id": "{reference_id}"}}')
    one_at_a_time = {"OPEN_SESSIONS_PER_PERSON": "1"}
    assert handlers.run("create_session", event, environment=one_at_a_time).status == 429
    attempt.return_from_login(browser)
    assert handlers.run("create_session", event, environment=one_at_a_time).status == 201


def test_only_a_widget_session_can_need_the_app(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    assert WAITING in attempt.return_from_login(browser).text
    assert session_status(api, attempt.session)["status"] == "pending"


# -- erasure -----------------------------------------------------------------------------------------------------------


def test_an_erasure_deletes_the_widget_report_and_a_late_webhook_restores_nothing(
    api: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    attempt = begin_widget(api, terra, reference_id)
    attempt.allow()
    _, _, user_id = view(api, attempt)
    assert user_id is not None
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    late = auth_event(user_id, reference_id, widget_session_id=attempt.widget_session_id)
    failure = {**late, "status": "error", "reason": "access_denied"}
    cancelled = {"type": "auth_cancelled", "status": "error", "widget_session_id": attempt.widget_session_id}
    elsewhere = auth_event(user_id, reference_id, widget_session_id=new_user_id())
    for event in (late, failure, cancelled, elsewhere):
        [response] = terra.deliver(event)
        assert response["status"] == httpx.codes.OK
    for word in (reference_id, user_id, attempt.session_id, attempt.widget_session_id, elsewhere["widget_session_id"]):
        assert items_containing(dynamodb, stack, word) == []


def test_a_widget_login_finished_after_the_erasure_restores_nothing(
    api: httpx.Client, browser: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    attempt = begin_widget(api, terra, reference_id)
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    address = attempt.allow()
    assert browser.get(address).status_code == httpx.codes.BAD_REQUEST
    user_id = query_of(address)["user_id"]
    for word in (reference_id, user_id, attempt.widget_session_id):
        assert items_containing(dynamodb, stack, word) == []
    # It is erased like a known connection: a repeat with another widget session id finds its tombstone.
    [response] = terra.deliver(auth_event(user_id, reference_id, widget_session_id=new_user_id()))
    assert response["status"] == httpx.codes.OK
    assert connections_of(api, reference_id, include="revoked") == []


@pytest.mark.parametrize("is_known", [False, True])
def test_an_erasure_during_the_processing_of_a_webhook_wins(
    api: httpx.Client,
    terra: Terra,
    handlers: Handlers,
    webhook: Make,
    dynamodb: "DynamoDBClient",
    stack: Stack,
    reference_id: str,
    *,
    is_known: bool,
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    user_id = new_user_id()
    event = auth_event(user_id, reference_id, widget_session_id=attempt.widget_session_id)
    if is_known:
        terra.deliver({**event, "first": True})
    with handlers.start("terra_webhook", webhook(event).event(), pause("dynamodb.TransactWriteItems:before")) as run:
        run.until_paused()
        assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
        run.resume()
        assert run.end().status == 200
    for word in (reference_id, user_id, attempt.widget_session_id):
        assert items_containing(dynamodb, stack, word) == []


def test_a_widget_report_without_a_session_is_erased(
    api: httpx.Client,
    browser: httpx.Client,
    webhook: Make,
    dynamodb: "DynamoDBClient",
    stack: Stack,
    reference_id: str,
) -> None:
    user_id, widget = new_user_id(), new_user_id()
    assert webhook(auth_event(user_id, reference_id, widget_session_id=widget)).post(browser).status_code == 200
    assert items_containing(dynamodb, stack, f"widget:{widget}") != []
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    assert items_containing(dynamodb, stack, widget) == []
    assert items_containing(dynamodb, stack, user_id) == []
