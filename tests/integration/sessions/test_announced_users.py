"""Terra announces a `user_id` with a new session. The session's user owns it until an event names another owner."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from boto3.dynamodb.types import TypeSerializer

from local.testing import Stack
from tests.support.api import connections_of, decide, erase, session_status
from tests.support.handlers import Handlers, http_event, pause
from tests.support.redirects import begin, begin_widget
from tests.support.tables import Tables, items_containing
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.webhooks import Webhook, now_s

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

WEEK_S = 7 * 24 * 3600
WRITE = "dynamodb.TransactWriteItems"

_write = TypeSerializer().serialize


def as_user(
    stack: Stack, browser: httpx.Client, reference_id: str, path: str, *, method: str = "GET"
) -> httpx.Response:
    response = httpx.post(f"{stack.oidc_issuer}/token", json={"subject": reference_id}, timeout=30).raise_for_status()
    return browser.request(method, path, headers={"authorization": f"Bearer {response.json()['access_token']}"})


def outcome_of(api: httpx.Client, session: dict[str, Any]) -> tuple[str, str | None]:
    """Return a session's status and the user_id in it."""
    status = session_status(api, session)
    return status["status"], status["user_id"]


def of_provider(user_id: str, reference_id: str | None, provider: str | None) -> dict[str, Any]:
    event = auth_event(user_id, reference_id)
    event["user"]["provider"] = provider
    return event


# -- an owner that no event names --------------------------------------------------------------------------------------


def test_an_auth_event_without_a_reference_id_belongs_to_the_announced_user(
    stack: Stack, api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    terra.deliver(auth_event(attempt.user_id, None))
    assert outcome_of(api, attempt.session) == ("connected", attempt.user_id)
    [connection] = connections_of(api, reference_id)
    assert (connection["user_id"], connection["reference_id"]) == (attempt.user_id, reference_id)
    path = f"/connections/{attempt.user_id}"
    assert as_user(stack, browser, reference_id, path).json() == connection
    assert as_user(stack, browser, reference_id, f"/sessions/{attempt.session_id}").json()["status"] == "connected"
    assert as_user(stack, browser, f"{reference_id}-other", path).status_code == httpx.codes.NOT_FOUND
    assert as_user(stack, browser, reference_id, path, method="DELETE").status_code == httpx.codes.NO_CONTENT
    assert connections_of(api, reference_id) == []


def test_a_webhook_before_the_session_is_stored_is_merged_with_the_announcement(
    api: httpx.Client, terra: Terra, handlers: Handlers, tables: Tables, reference_id: str
) -> None:
    event = http_event("POST", "/sessions", body=json.dumps({"reference_id": reference_id, "resource": "FITBIT"}))
    with handlers.start("create_session", event, pause(f"{WRITE}:before")) as creating:
        creating.until_paused()
        user_id = terra.client.get("/_control/logins").json()[-1]["user_id"]
        terra.deliver(auth_event(user_id, None))
        item = tables.connection(user_id)
        assert item is not None
        assert "reference_id" not in item
        creating.resume()
        run = creating.end()
    assert (run.status, run.trips) == (
        201,
        ["dynamodb.BatchGetItem", "terra.authenticateUser", WRITE, "dynamodb.BatchGetItem", WRITE],
    )
    assert outcome_of(api, run.json) == ("connected", user_id)
    assert [connection["user_id"] for connection in connections_of(api, reference_id)] == [user_id]
    assert "ttl" not in (tables.connection(user_id) or {"ttl"})


def test_the_announcement_is_written_with_its_session_or_not_at_all(
    handlers: Handlers, terra: Terra, tables: Tables, reference_id: str
) -> None:
    before = tables.count()
    event = http_event("POST", "/sessions", body=json.dumps({"reference_id": reference_id, "resource": "FITBIT"}))
    with handlers.start("create_session", event, pause(f"{WRITE}:before")) as creating:
        creating.until_paused()
        assert tables.count() == before
        creating.resume()
        run = creating.end()
    assert run.trips == ["dynamodb.BatchGetItem", "terra.authenticateUser", WRITE]
    connections, sessions, _ = tables.count()
    # The session, and the list of operations that the user began.
    assert (connections - before[0], sessions - before[1]) == (1, 2)
    assert len(terra.calls("/authenticateUser")) == 1


# -- only an announcement ----------------------------------------------------------------------------------------------


def test_an_announcement_alone_expires_with_its_session_and_is_not_listed(
    stack: Stack, api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    item, session = tables.connection(attempt.user_id), tables.session(attempt.session_id)
    assert item is not None
    assert session is not None
    assert set(item) == {"user_id", "version", "facts", "ttl"}
    assert item["facts"] == {"announced_for": {"at": session["created_at"], "value": reference_id}}
    assert item["ttl"] == session["ttl"]
    assert 0 <= int(item["ttl"]) - now_s() - WEEK_S + 60 <= 60
    assert connections_of(api, reference_id, include="revoked") == []
    path = f"/connections/{attempt.user_id}"
    for response in (api.get(path), as_user(stack, browser, reference_id, path), api.delete(path)):
        assert response.status_code == httpx.codes.NOT_FOUND
    assert outcome_of(api, attempt.session) == ("pending", None)


@pytest.mark.parametrize("name", ["auth", "deauth", "failure"])
def test_the_first_fact_about_an_announced_user_keeps_the_item(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str, name: str
) -> None:
    attempt = begin(api, terra, reference_id)
    events = {
        "auth": auth_event(attempt.user_id, None),
        "deauth": deauth_event(attempt.user_id, None),
        "failure": {**auth_event(attempt.user_id, None), "status": "error", "reason": "access_denied"},
    }
    terra.deliver(events[name])
    item = tables.connection(attempt.user_id)
    assert item is not None
    assert "ttl" not in item
    assert item["reference_id"] == reference_id


def test_an_announcement_past_its_ttl_is_ignored_although_its_item_exists(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    user_id = new_user_id()
    tables.add_connections(
        [
            {
                "user_id": user_id,
                "version": 1,
                "ttl": now_s() - 1,
                "facts": {"announced_for": {"at": 1, "value": reference_id}},
            }
        ]
    )
    assert connections_of(api, reference_id, include="revoked") == []
    terra.deliver(auth_event(user_id, None))
    item = tables.connection(user_id)
    assert item is not None
    assert (item["version"], "ttl" in item, "announced_for" in item["facts"]) == (Decimal(2), False, False)
    assert api.get(f"/connections/{user_id}").json()["reference_id"] is None
    assert connections_of(api, reference_id) == []


@pytest.mark.parametrize("name", ["INSERT", "REMOVE"])
def test_an_announcement_alone_is_not_published(
    handlers: Handlers, terra: Terra, api: httpx.Client, tables: Tables, reference_id: str, name: str
) -> None:
    attempt = begin(api, terra, reference_id)
    image = {key: _write(value) for key, value in (tables.connection(attempt.user_id) or {}).items()}
    written = {"Keys": {"user_id": image["user_id"]}, "ApproximateCreationDateTime": now_s(), "SequenceNumber": "1"}
    written |= {"NewImage": image} if name == "INSERT" else {"OldImage": image}
    run = handlers.run(
        "publish_events", {"Records": [{"eventID": "1", "eventName": name, "dynamodb": written, "eventSource": "x"}]}
    )
    assert run.trips == []
    assert run.result == {"batchItemFailures": []}


def test_a_sync_does_not_count_an_unfinished_login_as_a_connection(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    terra.settings(lists_include_pending=True)
    attempt = begin(api, terra, reference_id)
    before = tables.connection(attempt.user_id)
    response = api.post("/connections/sync", json={"reference_id": reference_id})
    assert (response.status_code, response.json()["connections"]) == (200, [])
    assert tables.connection(attempt.user_id) == before


def test_an_erasure_deletes_the_announcement(
    api: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    assert items_containing(dynamodb, stack, reference_id) == items_containing(dynamodb, stack, attempt.user_id) == []


# -- another user's connection -----------------------------------------------------------------------------------------


def test_a_session_is_not_connected_by_an_auth_that_names_another_user(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt, other = begin(api, terra, reference_id), f"{reference_id}-other"
    terra.deliver(auth_event(attempt.user_id, other))
    assert outcome_of(api, attempt.session) == ("pending", None)
    assert connections_of(api, reference_id, include="revoked") == []
    assert [connection["user_id"] for connection in connections_of(api, other)] == [attempt.user_id]
    assert attempt.user_id not in attempt.return_from_login(browser).text
    assert outcome_of(api, attempt.session) == ("pending", None)


def test_session_list_and_token_agree_when_the_owner_changes(
    stack: Stack, api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt, other = begin(api, terra, reference_id), f"{reference_id}-other"
    path = f"/connections/{attempt.user_id}"
    for event, owner in (
        (auth_event(attempt.user_id, None), reference_id),
        (auth_event(attempt.user_id, other, number=1), other),
        (auth_event(attempt.user_id, None, number=2), other),
        (auth_event(attempt.user_id, reference_id, number=3), reference_id),
    ):
        terra.deliver(event)
        is_mine = owner == reference_id
        assert outcome_of(api, attempt.session) == (("connected", attempt.user_id) if is_mine else ("pending", None))
        for user in (reference_id, other):
            assert [c["user_id"] for c in connections_of(api, user)] == ([attempt.user_id] if user == owner else [])
            response = as_user(stack, browser, user, path)
            assert response.status_code == (httpx.codes.OK if user == owner else httpx.codes.NOT_FOUND)


def test_a_failure_of_another_user_does_not_fail_the_session(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    failure = {**auth_event(attempt.user_id, f"{reference_id}-other"), "status": "error", "reason": "access_denied"}
    terra.deliver(failure)
    assert outcome_of(api, attempt.session) == ("pending", None)


def test_a_widget_session_never_shows_another_user_s_connection(
    stack: Stack, api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    victim, attempt = f"{reference_id}-victim", begin_widget(api, terra, reference_id)
    user_id = new_user_id()
    terra.deliver(auth_event(user_id, victim, widget_session_id=attempt.widget_session_id))
    response = as_user(stack, browser, reference_id, f"/sessions/{attempt.session_id}")
    assert (response.json()["status"], response.json()["user_id"], response.json()["resource"]) == (
        "pending",
        None,
        None,
    )
    assert user_id not in response.text
    terra.deliver(auth_event(user_id, reference_id, number=1))
    assert outcome_of(api, attempt.session) == ("connected", user_id)


def test_a_redirect_does_not_connect_a_user_id_that_an_event_moved_to_another_user(
    api: httpx.Client,
    terra: Terra,
    handlers: Handlers,
    webhook: Callable[..., Webhook],
    browser: httpx.Client,
    reference_id: str,
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    decide(attempt.session["auth_url"], "allow")
    with handlers.start("auth_success", attempt.event("success"), pause("terra.userInfo:after")) as returning:
        returning.until_paused()
        webhook(auth_event(attempt.user_id, f"{reference_id}-other")).post(browser)
        returning.resume()
        run = returning.end()
    assert run.result is not None
    assert "Almost there" in run.result["body"]
    assert outcome_of(api, attempt.session) == ("pending", None)


# -- the provider ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requested", "reported", "is_connected"),
    [
        ("FITBIT", "FITBIT", True),
        ("FITBIT", "fitbit", True),
        ("FITBIT", None, True),
        ("FITBIT", "UNKNOWN", True),
        ("FITBIT", "GARMIN", False),
        ("GOOGLE", "GOOGLEFIT", True),
        ("GOOGLE", "GOOGLE", True),
        ("GOOGLE", "FITBIT", False),
    ],
)
def test_an_announced_connection_counts_unless_its_provider_differs(
    api: httpx.Client, terra: Terra, reference_id: str, requested: str, reported: str | None, *, is_connected: bool
) -> None:
    attempt = begin(api, terra, reference_id, resource=requested)
    terra.deliver(of_provider(attempt.user_id, reference_id, reported))
    assert outcome_of(api, attempt.session) == (("connected", attempt.user_id) if is_connected else ("pending", None))


@pytest.mark.parametrize(
    ("requested", "reported", "is_connected"),
    [("GOOGLE", "GOOGLEFIT", True), ("GOOGLE", "googlefit", True), ("FITBIT", None, False), ("FITBIT", "OURA", False)],
)
def test_a_connection_with_an_unannounced_user_id_must_name_the_provider(
    api: httpx.Client, terra: Terra, reference_id: str, requested: str, reported: str | None, *, is_connected: bool
) -> None:
    attempt, user_id = begin(api, terra, reference_id, resource=requested), new_user_id()
    terra.deliver(of_provider(user_id, reference_id, reported))
    assert outcome_of(api, attempt.session) == (("connected", user_id) if is_connected else ("pending", None))


@pytest.mark.parametrize(("reported", "is_connected"), [("GOOGLEFIT", True), (None, True), ("FITBIT", False)])
def test_a_widget_session_is_connected_only_by_an_offered_provider(
    api: httpx.Client, terra: Terra, reference_id: str, reported: str | None, *, is_connected: bool
) -> None:
    attempt, user_id = begin_widget(api, terra, reference_id, resources=["GOOGLE", "OURA"]), new_user_id()
    terra.deliver({**of_provider(user_id, reference_id, reported), "widget_session_id": attempt.widget_session_id})
    assert outcome_of(api, attempt.session) == (("connected", user_id) if is_connected else ("pending", None))
