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
    answer = httpx.post(f"{stack.oidc_issuer}/token", json={"subject": reference_id}, timeout=30).raise_for_status()
    return browser.request(method, path, headers={"authorization": f"Bearer {answer.json()['access_token']}"})


def seen(api: httpx.Client, session: dict[str, Any]) -> tuple[str, str | None]:
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
    begun = begin(api, terra, reference_id)
    terra.deliver(auth_event(begun.user_id, None))
    assert seen(api, begun.session) == ("connected", begun.user_id)
    [connection] = connections_of(api, reference_id)
    assert (connection["user_id"], connection["reference_id"]) == (begun.user_id, reference_id)
    path = f"/connections/{begun.user_id}"
    assert as_user(stack, browser, reference_id, path).json() == connection
    assert as_user(stack, browser, reference_id, f"/sessions/{begun.session_id}").json()["status"] == "connected"
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
        creating.go_on()
        run = creating.end()
    assert (run.status, run.trips) == (
        201,
        ["dynamodb.BatchGetItem", "terra.authenticateUser", WRITE, "dynamodb.BatchGetItem", WRITE],
    )
    assert seen(api, run.json) == ("connected", user_id)
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
        creating.go_on()
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
    begun = begin(api, terra, reference_id)
    item, session = tables.connection(begun.user_id), tables.session(begun.session_id)
    assert item is not None
    assert session is not None
    assert set(item) == {"user_id", "version", "facts", "ttl"}
    assert item["facts"] == {"announced_for": {"at": session["created_at"], "value": reference_id}}
    assert item["ttl"] == session["ttl"]
    assert 0 <= int(item["ttl"]) - now_s() - WEEK_S + 60 <= 60
    assert connections_of(api, reference_id, include="revoked") == []
    path = f"/connections/{begun.user_id}"
    for answer in (api.get(path), as_user(stack, browser, reference_id, path), api.delete(path)):
        assert answer.status_code == httpx.codes.NOT_FOUND
    assert seen(api, begun.session) == ("pending", None)


@pytest.mark.parametrize("name", ["auth", "deauth", "failure"])
def test_the_first_fact_about_an_announced_user_keeps_the_item(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str, name: str
) -> None:
    begun = begin(api, terra, reference_id)
    events = {
        "auth": auth_event(begun.user_id, None),
        "deauth": deauth_event(begun.user_id, None),
        "failure": {**auth_event(begun.user_id, None), "status": "error", "reason": "access_denied"},
    }
    terra.deliver(events[name])
    item = tables.connection(begun.user_id)
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
    begun = begin(api, terra, reference_id)
    image = {key: _write(value) for key, value in (tables.connection(begun.user_id) or {}).items()}
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
    begun = begin(api, terra, reference_id)
    before = tables.connection(begun.user_id)
    answer = api.post("/connections/sync", json={"reference_id": reference_id})
    assert (answer.status_code, answer.json()["connections"]) == (200, [])
    assert tables.connection(begun.user_id) == before


def test_an_erasure_deletes_the_announcement(
    api: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    begun = begin(api, terra, reference_id)
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    assert items_containing(dynamodb, stack, reference_id) == items_containing(dynamodb, stack, begun.user_id) == []


# -- another user's connection -----------------------------------------------------------------------------------------


def test_a_session_is_not_connected_by_an_auth_that_names_another_user(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    begun, other = begin(api, terra, reference_id), f"{reference_id}-other"
    terra.deliver(auth_event(begun.user_id, other))
    assert seen(api, begun.session) == ("pending", None)
    assert connections_of(api, reference_id, include="revoked") == []
    assert [connection["user_id"] for connection in connections_of(api, other)] == [begun.user_id]
    assert begun.user_id not in begun.come_back(browser).text
    assert seen(api, begun.session) == ("pending", None)


def test_session_list_and_token_agree_when_the_owner_changes(
    stack: Stack, api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    begun, other = begin(api, terra, reference_id), f"{reference_id}-other"
    path = f"/connections/{begun.user_id}"
    for event, owner in (
        (auth_event(begun.user_id, None), reference_id),
        (auth_event(begun.user_id, other, number=1), other),
        (auth_event(begun.user_id, None, number=2), other),
        (auth_event(begun.user_id, reference_id, number=3), reference_id),
    ):
        terra.deliver(event)
        is_mine = owner == reference_id
        assert seen(api, begun.session) == (("connected", begun.user_id) if is_mine else ("pending", None))
        for user in (reference_id, other):
            assert [c["user_id"] for c in connections_of(api, user)] == ([begun.user_id] if user == owner else [])
            answer = as_user(stack, browser, user, path)
            assert answer.status_code == (httpx.codes.OK if user == owner else httpx.codes.NOT_FOUND)


def test_a_failure_of_another_user_does_not_fail_the_session(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    begun = begin(api, terra, reference_id)
    failure = {**auth_event(begun.user_id, f"{reference_id}-other"), "status": "error", "reason": "access_denied"}
    terra.deliver(failure)
    assert seen(api, begun.session) == ("pending", None)


def test_a_widget_session_never_shows_another_user_s_connection(
    stack: Stack, api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    victim, begun = f"{reference_id}-victim", begin_widget(api, terra, reference_id)
    user_id = new_user_id()
    terra.deliver(auth_event(user_id, victim, widget_session_id=begun.widget_session_id))
    answer = as_user(stack, browser, reference_id, f"/sessions/{begun.session_id}")
    assert (answer.json()["status"], answer.json()["user_id"], answer.json()["resource"]) == ("pending", None, None)
    assert user_id not in answer.text
    terra.deliver(auth_event(user_id, reference_id, number=1))
    assert seen(api, begun.session) == ("connected", user_id)


def test_a_redirect_does_not_connect_a_user_id_that_an_event_moved_to_another_user(
    api: httpx.Client,
    terra: Terra,
    handlers: Handlers,
    webhook: Callable[..., Webhook],
    browser: httpx.Client,
    reference_id: str,
) -> None:
    terra.settings(send_webhooks=False)
    begun = begin(api, terra, reference_id)
    decide(begun.session["auth_url"], "allow")
    with handlers.start("auth_success", begun.event("success"), pause("terra.userInfo:after")) as returning:
        returning.until_paused()
        webhook(auth_event(begun.user_id, f"{reference_id}-other")).post(browser)
        returning.go_on()
        run = returning.end()
    assert run.result is not None
    assert "Almost there" in run.result["body"]
    assert seen(api, begun.session) == ("pending", None)


# -- the provider ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "came", "is_connected"),
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
    api: httpx.Client, terra: Terra, reference_id: str, asked: str, came: str | None, *, is_connected: bool
) -> None:
    begun = begin(api, terra, reference_id, resource=asked)
    terra.deliver(of_provider(begun.user_id, reference_id, came))
    assert seen(api, begun.session) == (("connected", begun.user_id) if is_connected else ("pending", None))


@pytest.mark.parametrize(
    ("asked", "came", "is_connected"),
    [("GOOGLE", "GOOGLEFIT", True), ("GOOGLE", "googlefit", True), ("FITBIT", None, False), ("FITBIT", "OURA", False)],
)
def test_a_connection_with_an_unannounced_user_id_must_name_the_provider(
    api: httpx.Client, terra: Terra, reference_id: str, asked: str, came: str | None, *, is_connected: bool
) -> None:
    begun, user_id = begin(api, terra, reference_id, resource=asked), new_user_id()
    terra.deliver(of_provider(user_id, reference_id, came))
    assert seen(api, begun.session) == (("connected", user_id) if is_connected else ("pending", None))


@pytest.mark.parametrize(("came", "is_connected"), [("GOOGLEFIT", True), (None, True), ("FITBIT", False)])
def test_a_widget_session_is_connected_only_by_an_offered_provider(
    api: httpx.Client, terra: Terra, reference_id: str, came: str | None, *, is_connected: bool
) -> None:
    begun, user_id = begin_widget(api, terra, reference_id, resources=["GOOGLE", "OURA"]), new_user_id()
    terra.deliver({**of_provider(user_id, reference_id, came), "widget_session_id": begun.widget_session_id})
    assert seen(api, begun.session) == (("connected", user_id) if is_connected else ("pending", None))
