"""Reading: lists and single connections, with many items, unusual names, and a stale index."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.api import connections_of, session_status
from tests.support.handlers import STALE_INDEX, Handlers, aws_error, broken_connection, http_event
from tests.support.redirects import begin
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.waiting import BUSY, eventually
from tests.support.webhooks import Webhook, now_s

Make = Callable[..., Webhook]

CONNECTION = {
    "connection_id",
    "user_id",
    "reference_id",
    "provider",
    "status",
    "scopes",
    "connected_at",
    "updated_at",
}


def test_two_wearables_of_one_user_are_two_connections(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str
) -> None:
    start = (now_s() - 100) * 1000
    ids = [new_user_id() for _ in range(3)]
    for n, provider in enumerate(["FITBIT", "GARMIN", "FITBIT"]):
        webhook(auth_event(ids[n], reference_id, provider=provider), ordering=start + n).post(browser)
    listed = connections_of(api, reference_id)
    assert [(c["user_id"], c["provider"]) for c in listed] == [
        (ids[2], "FITBIT"),
        (ids[1], "GARMIN"),
        (ids[0], "FITBIT"),
    ]
    assert len({c["connection_id"] for c in listed}) == 3
    for connection in listed:
        assert set(connection) == CONNECTION
        assert api.get(f"/connections/{connection['user_id']}").json() == connection


def test_two_accounts_of_one_provider_at_terra_are_two_connections(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    ids = {terra.connect(reference_id, account=f"{reference_id}-{n}")["user_id"] for n in range(2)}
    assert {c["user_id"] for c in connections_of(api, reference_id)} == ids


def test_a_revoked_connection_is_listed_only_with_include_revoked(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str
) -> None:
    kept, gone = new_user_id(), new_user_id()
    for user_id in (kept, gone):
        webhook(auth_event(user_id, reference_id), ordering=(now_s() - 50) * 1000).post(browser)
    webhook(deauth_event(gone, reference_id)).post(browser)
    assert [c["user_id"] for c in connections_of(api, reference_id)] == [kept]
    both = {c["user_id"]: c["status"] for c in connections_of(api, reference_id, include="revoked")}
    assert both == {kept: "connected", gone: "revoked"}
    assert api.get(f"/connections/{gone}").json()["status"] == "revoked"


def test_an_unknown_user_has_no_connections(api: httpx.Client, reference_id: str) -> None:
    response = api.get("/connections", params={"reference_id": reference_id})
    assert (response.status_code, response.json()) == (200, {"connections": []})
    assert response.headers["cache-control"] == "no-store"


def test_a_user_id_that_was_never_connected_is_404(api: httpx.Client, browser: httpx.Client, webhook: Make) -> None:
    user_id = new_user_id()
    assert api.get(f"/connections/{user_id}").json()["code"] == "not_found"
    webhook(deauth_event(user_id, "alice")).post(browser)
    assert api.get(f"/connections/{user_id}").status_code == 404


@pytest.mark.parametrize("malformed", ["a%2Fb", "a%20b", "x" * 129, "%00", "%ff", "a:b", "caf%C3%A9", "..%2F..", "%0a"])
@pytest.mark.parametrize("route", ["sessions", "connections"])
def test_a_malformed_id_is_not_found(api: httpx.Client, route: str, malformed: str) -> None:
    assert api.get(f"/{route}/{malformed}").status_code == 404


def test_the_key_of_a_widget_outcome_is_not_found_as_a_session(
    api: httpx.Client, browser: httpx.Client, handlers: Handlers, webhook: Make
) -> None:
    widget = new_user_id()
    event = {"type": "auth_cancelled", "status": "error", "widget_session_id": widget}
    assert webhook(event).post(browser).status_code == 200
    path = f"/sessions/widget:{widget}"
    assert api.get(path).status_code == 404
    direct = http_event("GET", path, path_parameters={"session_id": f"widget:{widget}"})
    assert handlers.run("get_session", direct).status == 404


REFERENCES = [
    "a+b@example.com",
    "a/b//c",
    "a b",
    "100%",
    "a%2Fb",
    "?&=#;",
    "\u00e9\u00df\u4e2d\U0001f600",
    "\u202eabc",
    "'\"<>\\",
    "NULL",
    "Null",
    "null ",
    "x" * 256,
    "\U0001f600" * 256,
    "\u0080",
    ".",
    "$ref",
]


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda text: ascii(text)[:24])
def test_a_reference_id_can_contain_almost_any_character(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference: str
) -> None:
    user_id = new_user_id()
    webhook(auth_event(user_id, reference)).post(browser)
    listed = connections_of(api, reference)
    assert [c["reference_id"] for c in listed if c["user_id"] == user_id] == [reference]
    escaped = api.get(f"/connections?reference_id={quote(reference, safe='')}").json()["connections"]
    assert escaped == listed
    assert api.get(f"/connections/{user_id}").json()["reference_id"] == reference


def test_a_plus_sign_that_is_not_escaped_is_a_space(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str
) -> None:
    webhook(auth_event(new_user_id(), f"{reference_id} x")).post(browser)
    assert len(api.get(f"/connections?reference_id={reference_id}+x").json()["connections"]) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "reference_id"),
        ("reference_id=", "reference_id"),
        ("reference_id=null", "reference_id"),
        ("reference_id=a%00b", "reference_id"),
        ("reference_id=a%0Ab", "reference_id"),
        ("reference_id=%7F", "reference_id"),
        (f"reference_id={'x' * 257}", "reference_id"),
        ("reference_id=a&reference_id=a", "reference_id"),
        ("reference_id=a&reference_id=b", "reference_id"),
        ("reference_id=a&include=revoked&include=revoked", "include"),
        ("reference_id=a&include=", "include"),
        ("reference_id=a&include=all", "include"),
        ("reference_id=a&include=REVOKED", "include"),
        ("reference_id=a&limit=3", "limit"),
        ("reference_id=a&cursor=x", "cursor"),
        ("page=2", "page"),
        ("reference_id=%ff", "query"),
        ("reference_id=%ed%a0%80", "query"),
        ("reference_id=a" + "".join(f"&p{n}=1" for n in range(50)), "query"),
    ],
    ids=lambda text: text[:40],
)
def test_a_malformed_query_is_400_and_names_the_field(api: httpx.Client, query: str, field: str) -> None:
    response = api.get(f"/connections?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert [error["field"] for error in response.json()["errors"]] == [field]


# -- many items --------------------------------------------------------------------------------------------------------


def stored(user_id: str, reference_id: str, at: int, *, scopes: int) -> dict[str, Any]:
    """Build an item as the webhook writes it."""
    return {
        "user_id": user_id,
        "version": 1,
        "reference_id": reference_id,
        "first_connected": at,
        "facts": {
            "connected": {"at": at},
            "login": {"at": at},
            "owner": {"at": at, "value": reference_id},
            "provider": {"at": at, "value": "FITBIT"},
            "scopes": {"at": at, "value": [f"SCOPE_{n:014}" for n in range(scopes)]},
        },
    }


def test_the_items_written_by_these_tests_equal_those_of_the_webhook(
    browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    at = (now_s() - 10) * 1000
    event = auth_event(user_id := new_user_id(), reference_id)
    event["user"]["scopes"] = "SCOPE_00000000000000,SCOPE_00000000000001"
    webhook(event, ordering=at).post(browser)
    assert tables.connection(user_id) == stored(user_id, reference_id, at, scopes=2)


def test_hundreds_of_connections_are_listed_over_several_pages(
    api: httpx.Client, tables: Tables, handlers: Handlers, reference_id: str
) -> None:
    """A page of a Query holds 1 MB: 300 items of 4 kB need two."""
    start = (now_s() - 10_000) * 1000
    ids = [new_user_id() for _ in range(300)]
    tables.add_connections(stored(user_id, reference_id, start + n, scopes=180) for n, user_id in enumerate(ids))
    assert [c["user_id"] for c in connections_of(api, reference_id)] == list(reversed(ids))
    event = http_event("GET", "/connections", query=f"reference_id={reference_id}")
    assert handlers.run("list_connections", event).trips == ["dynamodb.Query"] * 2
    tables.remove_connections(ids)


def test_a_list_costs_one_round_trip(
    browser: httpx.Client, handlers: Handlers, webhook: Make, reference_id: str
) -> None:
    webhook(auth_event(new_user_id(), reference_id)).post(browser)
    run = handlers.run("list_connections", http_event("GET", "/connections", query=f"reference_id={reference_id}"))
    assert len(run.json["connections"]) == 1
    assert run.trips == ["dynamodb.Query"]
    assert reference_id not in run.log


# -- a stale index, and a failing database -----------------------------------------------------------------------------


def test_a_stale_index_does_not_affect_consistent_reads(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, webhook: Make, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    webhook(auth_event(attempt.user_id, reference_id)).post(browser)
    session = http_event("GET", "/sessions/x", path_parameters={"session_id": attempt.session_id})
    assert handlers.run("get_session", session, STALE_INDEX).json["status"] == "connected"
    connection = http_event("GET", "/connections/x", path_parameters={"user_id": attempt.user_id})
    assert handlers.run("get_connection", connection, STALE_INDEX).json["status"] == "connected"
    listed = http_event("GET", "/connections", query=f"reference_id={reference_id}")
    assert handlers.run("list_connections", listed, STALE_INDEX).json == {"connections": []}


def test_a_redirect_with_a_stale_index_is_verified_with_terra(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, webhook: Make, reference_id: str
) -> None:
    terra.settings(send_webhooks=False, final_user_id="other")
    attempt = begin(api, terra, reference_id)
    user = terra.connect(reference_id, silent=True)
    webhook(auth_event(user["user_id"], reference_id)).post(browser)
    event = attempt.event("success", user_id=user["user_id"])
    run = handlers.run("auth_success", event, STALE_INDEX)
    assert run.result is not None
    assert "Fitbit is connected" in run.result["body"]
    again = http_event("GET", "/sessions/x", path_parameters={"session_id": attempt.session_id})
    view = handlers.run("get_session", again, STALE_INDEX).json
    assert (view["status"], view["user_id"]) == ("connected", user["user_id"])


def test_reads_are_consistent(api: httpx.Client, terra: Terra, browser: httpx.Client, webhook: Make) -> None:
    for n in range(20):
        reference_id = f"consistent-{new_user_id()}"
        attempt = begin(api, terra, reference_id)
        webhook(auth_event(attempt.user_id, reference_id), t=now_s() - n % 2).post(browser)
        assert session_status(api, attempt.session)["status"] == "connected"
        assert api.get(f"/connections/{attempt.user_id}").json()["status"] == "connected"


@pytest.mark.parametrize("how", ["silence", "reset", "no connection", "throttled", "broken"])
@pytest.mark.parametrize(
    ("function", "event"),
    [
        ("get_session", http_event("GET", "/sessions/x", path_parameters={"session_id": "x"})),
        ("get_connection", http_event("GET", "/connections/x", path_parameters={"user_id": "x"})),
        ("list_connections", http_event("GET", "/connections", query="reference_id=x")),
        ("list_connections", http_event("GET", "/connections", query="limit=1")),
        ("get_facts", http_event("GET", "/connections/x/facts", path_parameters={"user_id": "x"})),
    ],
    ids=["session", "connection", "list", "page of all users", "facts"],
)
def test_a_failing_database_is_503_without_detail(
    handlers: Handlers, function: str, event: dict[str, Any], how: str
) -> None:
    at = "dynamodb.*:before"
    rules = {
        "throttled": aws_error(at, "ProvisionedThroughputExceededException"),
        "broken": aws_error(at, "InternalServerError", status=500),
    }
    began = time.monotonic()
    run = handlers.run(function, event, rules.get(how) or broken_connection(at, how))
    assert (run.status, run.json["code"]) == (503, "storage_unavailable")
    assert "detail" not in run.json
    assert run.result is not None
    assert int(run.result["headers"]["retry-after"]) >= 1
    assert time.monotonic() - began < 7 + BUSY


def test_a_session_without_a_login_is_pending_and_contains_no_secret(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    shown = session_status(api, attempt.session)
    assert set(shown) == {
        "session_id",
        "status",
        "reason",
        "reference_id",
        "resource",
        "user_id",
        "created_at",
        "expires_at",
    }
    assert shown == {name: value for name, value in attempt.session.items() if name != "auth_url"}
    assert attempt.state not in str(attempt.session)


def test_a_later_connection_of_the_same_provider_completes_the_session(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    terra.connect(reference_id, provider="GARMIN")
    assert session_status(api, attempt.session)["status"] == "pending"
    user = terra.connect(reference_id)
    status = eventually(lambda: (s := session_status(api, attempt.session))["status"] == "connected" and s)
    assert status
    assert status["user_id"] == user["user_id"]
