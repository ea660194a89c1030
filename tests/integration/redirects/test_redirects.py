"""The browser returns: before the webhook, after it, without it, twice, late, and after a failure."""

import time
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from local.testing import Stack
from tests.support.api import connections_of, decide, query_of, session_status
from tests.support.handlers import Handlers, kill
from tests.support.hostile import drip, drip_head, hostile, send_forever, stall_after, unreachable
from tests.support.redirects import ProviderAttempt, begin
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.waiting import BUSY, eventually
from tests.support.webhooks import Webhook, now_s

Make = Callable[..., Webhook]

CONNECTED = "Fitbit is connected"
WAITING = "Almost there"


def allow_again(tables: Tables, attempt: ProviderAttempt) -> None:
    """Move the last request to Terra back by six seconds; requests are at least five seconds apart."""
    item = tables.session(attempt.session_id)
    assert item is not None
    if "asked_at" in item:
        tables.change_session(attempt.session_id, asked_at=int(item["asked_at"]) - 6000)


# -- webhook and redirect, in either order -----------------------------------------------------------------------------


def test_a_webhook_before_the_redirect_connects(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    attempt = begin(api, terra, reference_id)
    address = decide(attempt.session["auth_url"], "allow")
    assert session_status(api, attempt.session)["status"] == "connected"
    assert CONNECTED in browser.get(address).text
    assert terra.calls("/userInfo") == []
    run = handlers.run("auth_success", attempt.event("success"))
    assert run.trips == ["dynamodb.GetItem", "dynamodb.BatchGetItem"]


def test_a_redirect_before_the_webhook_connects(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    terra.hold()
    assert CONNECTED in browser.get(decide(attempt.session["auth_url"], "allow")).text
    assert len(terra.calls("/userInfo")) == 1
    assert session_status(api, attempt.session)["status"] == "connected"
    terra.release()
    item = tables.connection(attempt.user_id)
    assert item is not None
    assert item["version"] == 3  # the announcement, the confirmation and the webhook
    assert [c["user_id"] for c in connections_of(api, reference_id)] == [attempt.user_id]


def test_a_verification_replaces_a_lost_webhook(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    requested_at = time.time() * 1000
    for _ in range(3):
        assert CONNECTED in browser.get(decide(attempt.session["auth_url"], "allow")).text
    assert [call["query"] for call in terra.calls("/userInfo")] == [{"user_id": attempt.user_id}]
    [connection] = connections_of(api, reference_id)
    assert (connection["user_id"], connection["provider"]) == (attempt.user_id, "FITBIT")
    assert connection["scopes"]
    item = tables.connection(attempt.user_id)
    assert item is not None
    assert abs(int(item["facts"]["connected"]["at"]) - (requested_at - 120_000)) < 10_000


@pytest.mark.parametrize(("before_request_s", "status"), [(60, "revoked"), (300, "connected")])
def test_a_verification_has_a_position_two_minutes_before_the_request(
    api: httpx.Client,
    browser: httpx.Client,
    terra: Terra,
    webhook: Make,
    reference_id: str,
    before_request_s: int,
    status: str,
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    address = decide(attempt.session["auth_url"], "allow")
    revoked_at = (now_s() - before_request_s) * 1000
    webhook(deauth_event(attempt.user_id, reference_id), ordering=revoked_at).post(browser)
    browser.get(address)
    assert api.get(f"/connections/{attempt.user_id}").json()["status"] == status
    # A session's status never goes back: the login did succeed.
    assert session_status(api, attempt.session)["status"] == "connected"


def test_an_unannounced_final_user_id_is_found_by_the_query_hint(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False, final_user_id="other")
    attempt = begin(api, terra, reference_id)
    address = decide(attempt.session["auth_url"], "allow")
    assert CONNECTED in browser.get(address).text
    final = query_of(address)["user_id"]
    assert final != attempt.user_id
    assert session_status(api, attempt.session)["user_id"] == final
    assert [call["query"]["user_id"] for call in terra.calls("/userInfo")] == [attempt.user_id, final]


def test_an_unannounced_final_user_id_is_found_by_its_webhook(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(final_user_id="other")
    attempt = begin(api, terra, reference_id)
    final = query_of(decide(attempt.session["auth_url"], "allow"))["user_id"]
    status = eventually(lambda: (s := session_status(api, attempt.session))["status"] == "connected" and s)
    assert status
    assert status["user_id"] == final


@pytest.mark.parametrize(
    "omits", [["user_id"], ["resource"], ["reference_id"], ["user_id", "resource", "reference_id"]]
)
def test_the_parameters_of_terra_can_be_missing(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, omits: list[str]
) -> None:
    terra.settings(send_webhooks=False, redirect_omits=omits)
    attempt = begin(api, terra, reference_id)
    assert CONNECTED in browser.get(decide(attempt.session["auth_url"], "allow")).text


# -- confirmation by Terra ---------------------------------------------------------------------------------------------


def test_reloads_send_terra_at_most_one_request_in_five_seconds(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    for _ in range(10):
        page = attempt.return_from_login(browser)
        assert (page.status_code, WAITING in page.text) == (200, True)
        assert page.headers["refresh"] == "5"
    assert len(terra.calls("/userInfo")) == 1
    allow_again(tables, attempt)
    for _ in range(3):
        attempt.return_from_login(browser)
    assert len(terra.calls("/userInfo")) == 2


FAULTS: list[dict[str, object]] = [
    {"kind": "status", "status": 500},
    {"kind": "html", "status": 502},
    {"kind": "html", "status": 200},
    {"kind": "empty", "status": 200},
    {"kind": "malformed"},
    {"kind": "wrong_shape"},
    {"kind": "wrong_shape", "body": []},
    {"kind": "wrong_shape", "body": {"status": "success", "is_authenticated": True, "user": None}},
    {"kind": "wrong_shape", "body": {"status": "error", "is_authenticated": True}},
    {"kind": "status", "status": 401},
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 404},
    {"kind": "status", "status": 410},
    {"kind": "legacy", "status": 400},
    {"kind": "rate_limit", "retry_after": 60},
    {"kind": "disconnect"},
    {"kind": "status", "status": 302},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_an_unusable_response_of_terra_leaves_the_session_pending(
    api: httpx.Client,
    browser: httpx.Client,
    terra: Terra,
    tables: Tables,
    reference_id: str,
    fault: dict[str, object],
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    address = decide(attempt.session["auth_url"], "allow")
    terra.fault("/userInfo", **fault)  # type: ignore[arg-type] # the kind is among them
    page = browser.get(address)
    assert (page.status_code, WAITING in page.text) == (200, True)
    assert session_status(api, attempt.session)["status"] == "pending"
    assert tables.kinds(attempt.user_id) == {"announced_for"}
    terra.client.delete("/_control/faults")
    allow_again(tables, attempt)
    assert CONNECTED in browser.get(address).text


def test_a_slow_response_of_terra_does_not_delay_the_page(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    address = decide(attempt.session["auth_url"], "allow")
    terra.fault("/userInfo", "slow", delay_s=60)
    began = time.monotonic()
    page = browser.get(f"{address}&hint=none")
    assert time.monotonic() - began < 3 + BUSY
    assert (page.status_code, WAITING in page.text) == (200, True)


@pytest.mark.parametrize(
    "behave",
    [drip, drip_head, stall_after(2.5), send_forever],
    ids=["drips", "drips its head", "stalls", "endless"],
)
def test_an_endless_response_of_terra_does_not_delay_the_page(
    api: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str, behave: Callable[..., None]
) -> None:
    attempt = begin(api, terra, reference_id)
    with hostile(behave) as (url, _):
        event = attempt.event("success", user_id=new_user_id())
        run = handlers.run("auth_success", event, environment={"TERRA_API_URL": f"{url}/api/v2"})
    assert run.status == 200
    assert run.seconds < 3 + BUSY


def test_an_unreachable_terra_does_not_delay_the_page(
    api: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    with unreachable() as url:
        event = attempt.event("success", user_id=new_user_id())
        run = handlers.run("auth_success", event, environment={"TERRA_API_URL": f"{url}/api/v2"})
    assert run.status == 200
    assert run.seconds < 3 + BUSY


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "shown", "text"),
    [
        ("access_denied", "access_denied", "Fitbit was not connected"),
        ("user_cancelled_login", "access_denied", "Fitbit was not connected"),
        ("Missing_Scopes", "missing_scopes", "Some permissions are missing"),
        ("server_error", "provider_error", "Fitbit has a problem right now"),
        ("<b>anything</b>", "unknown", "That did not work"),
        ("", "unknown", "That did not work"),
        (None, "unknown", "That did not work"),
    ],
)
def test_a_failure_is_shown_with_a_reason_of_the_closed_list(
    api: httpx.Client,
    browser: httpx.Client,
    terra: Terra,
    reference_id: str,
    reason: str | None,
    shown: str,
    text: str,
) -> None:
    attempt = begin(api, terra, reference_id)
    page = attempt.return_from_login(browser, "failure", **({} if reason is None else {"reason": reason}))
    assert (page.status_code, text in page.text) == (200, True)
    status = session_status(api, attempt.session)
    assert (status["status"], status["reason"], status["user_id"]) == ("failed", shown, None)
    assert terra.calls("/userInfo") == []


BESIDE_THE_SECRET = {
    "a reason in ISO-8859-1": "{secret}&reason=acc%E8s+refus%E9",
    "a name in ISO-8859-1": "{secret}&reference_id=j%FCrgen&n%E4me=x",
    "a letter that was cut": "{secret}&reason=r%C3",
    "a lone surrogate": "{secret}&reason=%ed%a0%80",
    "a stray percent sign": "{secret}&reason=100%",
    "a second question mark": "{secret}?user_id=x?reason=y",
    "an ampersand as HTML escapes it": "{secret}&amp;reason=y",
    "every ampersand as HTML escapes it": "{html}&amp;amp;reason=y",
    "another state behind ours": "{secret}&state=of-the-provider",
    "another session behind ours": "{secret}&session=of-the-provider",
    "the same secret twice": "{secret}&{secret}",
    "other names twice": "{secret}&user_id=a&user_id=b&resource=A&resource=B&utm_source=x&utm_source=x",
    "sixty more parameters": "{secret}" + "".join(f"&p{n}=1" for n in range(60)),
    "parameters in front": "utm_source=x&=&&{secret}&",
}


@pytest.mark.parametrize("outcome", ["success", "failure"])
@pytest.mark.parametrize("query", BESIDE_THE_SECRET.values(), ids=BESIDE_THE_SECRET)
def test_other_query_parameters_do_not_affect_the_redirect(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, query: str, outcome: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    attempt = begin(api, terra, reference_id, return_to="web")
    if outcome == "success":
        decide(attempt.session["auth_url"], "allow")
    secret = f"session={attempt.session_id}&state={attempt.secret(outcome)['state']}"
    added = query.format(secret=secret, html=secret.replace("&", "&amp;"))
    response = browser.get(f"/auth/{outcome}?{added}")
    assert response.status_code == 303
    expected = "connected" if outcome == "success" else "failed"
    assert query_of(response.headers["location"])["status"] == expected
    assert session_status(api, attempt.session)["status"] == expected


def test_of_several_reasons_the_most_specific_one_is_kept(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    for reason in ("access_denied", "", "server_error", "unknown"):
        attempt.return_from_login(browser, "failure", reason=reason)
        assert session_status(api, attempt.session)["reason"] == "access_denied"


@pytest.mark.parametrize("shape", ["new", "old"])
def test_a_denied_login_fails_the_session_and_connects_nothing(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str, shape: str
) -> None:
    terra.settings(cancel_shape=shape)
    attempt = begin(api, terra, reference_id, return_to="web")
    response = browser.get(decide(attempt.session["auth_url"], "deny"))
    assert response.status_code == 303
    returned = query_of(response.headers["location"])
    assert (returned["status"], returned["reason"]) == ("failed", "access_denied")
    eventually(lambda: [d["state"] for d in terra.deliveries()] == ["delivered"])
    assert session_status(api, attempt.session)["reason"] == "access_denied"
    assert connections_of(api, reference_id, include="revoked") == []


def test_a_failure_after_a_connection_leaves_it_connected(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    attempt = begin(api, terra, reference_id)
    decide(attempt.session["auth_url"], "allow")
    page = attempt.return_from_login(browser, "failure", reason="access_denied")
    assert CONNECTED in page.text
    status = session_status(api, attempt.session)
    assert (status["status"], status["reason"]) == ("connected", None)


def test_a_success_after_a_failure_connects(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    attempt.return_from_login(browser, "failure", reason="access_denied")
    assert session_status(api, attempt.session)["status"] == "failed"
    assert CONNECTED in browser.get(decide(attempt.session["auth_url"], "allow")).text
    assert session_status(api, attempt.session)["status"] == "connected"


def test_a_success_redirect_after_a_failure_that_terra_does_not_confirm_stays_failed(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    attempt.return_from_login(browser, "failure", reason="access_denied")
    assert "Fitbit was not connected" in attempt.return_from_login(browser).text
    assert session_status(api, attempt.session)["status"] == "failed"


def test_two_tabs_and_the_back_button_do_not_disturb_a_session(
    api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    first, second = begin(api, terra, reference_id), begin(api, terra, reference_id)
    assert first.session_id != second.session_id
    back = decide(first.session["auth_url"], "allow")
    for address in (back, back, decide(first.session["auth_url"], "deny"), back):
        assert CONNECTED in browser.get(address).text
    assert session_status(api, first.session)["user_id"] == first.user_id
    decide(second.session["auth_url"], "allow", account="another account")
    assert session_status(api, second.session)["user_id"] == second.user_id
    assert len(connections_of(api, reference_id)) == 2


# -- time --------------------------------------------------------------------------------------------------------------


def test_an_expired_session_is_shown_as_expired_and_still_connects(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    long_ago = (now_s() - 2 * 3600) * 1000
    tables.change_session(attempt.session_id, created_at=long_ago, expires_at=long_ago + 3600_000)
    assert session_status(api, attempt.session)["status"] == "expired"
    assert "Not confirmed in time" in attempt.return_from_login(browser).text
    decide(attempt.session["auth_url"], "allow")
    eventually(lambda: session_status(api, attempt.session)["status"] == "connected")
    assert CONNECTED in attempt.return_from_login(browser).text


def test_a_session_past_its_ttl_is_not_found_although_its_item_exists(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    item = tables.session(attempt.session_id)
    assert item is not None
    assert int(item["ttl"]) == int(item["created_at"]) // 1000 + 7 * 86_400
    assert int(item["expires_at"]) == int(item["created_at"]) + 3600_000
    tables.change_session(attempt.session_id, ttl=now_s() - 1)
    assert api.get(f"/sessions/{attempt.session_id}").status_code == 404
    before = tables.session(attempt.session_id)
    for outcome in ("success", "failure"):
        assert attempt.return_from_login(browser, outcome).status_code == 400
    assert terra.calls("/userInfo") == []
    assert tables.session(attempt.session_id) == before


# -- return targets ----------------------------------------------------------------------------------------------------


def test_the_parameters_for_the_app_are_added_to_the_query_of_the_target(
    api: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id, return_to="web")
    targets = '{"web": "https://app.example.com/a%20b?x=1&y=%26"}'
    event = attempt.event("failure", reason="access_denied", session_id="forged", status="connected")
    run = handlers.run("auth_failure", event, environment={"RETURN_TARGETS": targets})
    assert run.result is not None
    parts = urlsplit(run.result["headers"]["location"])
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "app.example.com", "/a%20b")
    assert parse_qsl(parts.query) == [
        ("x", "1"),
        ("y", "&"),
        ("session_id", attempt.session_id),
        ("status", "failed"),
        ("resource", "FITBIT"),
        ("reason", "access_denied"),
    ]


def test_a_page_replaces_a_return_target_that_was_removed(
    api: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id, return_to="ios")
    run = handlers.run("auth_failure", attempt.event("failure"), environment={"RETURN_TARGETS": "{}"})
    assert run.status == 200


@pytest.mark.parametrize(
    "targets",
    [
        "not JSON",
        "[]",
        '{"a": "http://app.example.com/"}',
        '{"a": "javascript:alert(1)"}',
        '{"a": "https://app.example.com/#x"}',
        '{"a": "//app.example.com"}',
        '{"a": "https://app.example.com/?status=connected"}',
        '{"a": 1}',
    ],
)
def test_an_invalid_return_target_is_reported_when_a_function_starts(
    handlers: Handlers, stack: Stack, reference_id: str, targets: str
) -> None:
    assert stack
    event = {"rawQueryString": "", "requestContext": {}, "reference_id": reference_id}
    run = handlers.run("auth_failure", event, environment={"RETURN_TARGETS": targets})
    assert run.error is not None
    assert "RETURN_TARGETS" in run.error


# -- crashes -----------------------------------------------------------------------------------------------------------

CONFIRMING = [
    "dynamodb.GetItem:before",
    "dynamodb.GetItem:after",
    "dynamodb.BatchGetItem:before",
    "dynamodb.BatchGetItem:after",
    "dynamodb.Query:before",
    "dynamodb.Query:after",
    "dynamodb.UpdateItem:before",
    "dynamodb.UpdateItem:after",
    "secrets-manager.GetSecretValue:before",
    "secrets-manager.GetSecretValue:after",
    "terra.userInfo:before",
    "terra.userInfo:after",
    "dynamodb.BatchGetItem#2:before",
    "dynamodb.BatchGetItem#2:after",
    "dynamodb.TransactWriteItems:before",
    "dynamodb.TransactWriteItems:after",
    "return",
]
FAILING = [
    "dynamodb.GetItem:before",
    "dynamodb.GetItem:after",
    "dynamodb.UpdateItem:before",
    "dynamodb.UpdateItem:after",
    "dynamodb.BatchGetItem:before",
    "dynamodb.BatchGetItem:after",
    "dynamodb.Query:before",
    "dynamodb.Query:after",
    "return",
]


def test_the_list_of_steps_is_complete(api: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    decide(attempt.session["auth_url"], "allow")
    assert handlers.run("auth_success", attempt.event("success")).points == CONFIRMING
    denied = begin(api, terra, f"{reference_id}-denied")
    assert handlers.run("auth_failure", denied.event("failure")).points == FAILING


@pytest.mark.parametrize("point", CONFIRMING)
def test_a_reload_completes_a_confirmation_after_a_crash(
    api: httpx.Client,
    browser: httpx.Client,
    terra: Terra,
    handlers: Handlers,
    tables: Tables,
    reference_id: str,
    point: str,
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    decide(attempt.session["auth_url"], "allow")
    assert handlers.run("auth_success", attempt.event("success"), kill(point)).was_killed
    is_kept = CONFIRMING.index(point) > CONFIRMING.index("dynamodb.TransactWriteItems:before")
    item = tables.session(attempt.session_id)
    assert item is not None
    connection = tables.connection(attempt.user_id)
    assert connection is not None
    assert ("confirmed_user_ids" in item) == ("connected" in connection["facts"]) == is_kept
    assert session_status(api, attempt.session)["status"] == ("connected" if is_kept else "pending")
    allow_again(tables, attempt)
    assert CONNECTED in attempt.return_from_login(browser).text
    assert len(connections_of(api, reference_id)) == 1


@pytest.mark.parametrize("point", FAILING)
def test_a_reload_completes_a_failure_after_a_crash(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, reference_id: str, point: str
) -> None:
    attempt = begin(api, terra, reference_id)
    assert handlers.run("auth_failure", attempt.event("failure", reason="access_denied"), kill(point)).was_killed
    is_kept = FAILING.index(point) > FAILING.index("dynamodb.UpdateItem:before")
    assert session_status(api, attempt.session)["status"] == ("failed" if is_kept else "pending")
    attempt.return_from_login(browser, "failure", reason="access_denied")
    assert session_status(api, attempt.session)["reason"] == "access_denied"


def test_an_auth_webhook_after_a_crash_connects_without_a_redirect(
    api: httpx.Client, browser: httpx.Client, terra: Terra, handlers: Handlers, webhook: Make, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    assert handlers.run("auth_success", attempt.event("success"), kill("terra.userInfo:after")).was_killed
    webhook(auth_event(attempt.user_id, reference_id)).post(browser)
    assert session_status(api, attempt.session)["status"] == "connected"
