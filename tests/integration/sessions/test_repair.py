"""POST /sessions with a `user_id`: a login that repairs a connection. Only its recovery connects the session."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from local.testing import Stack
from tests.support.api import connections_of, create_session, decide, erase, query_of, session_status
from tests.support.handlers import Handlers, http_event
from tests.support.redirects import LoginAttempt, ProviderAttempt, button, logins
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.waiting import eventually
from tests.support.webhooks import Webhook, now_s

MakeWebhook = Callable[..., Webhook]


@pytest.fixture
def broken(api: httpx.Client, terra: Terra, user_id: str) -> str:
    """The `user_id` of a connection whose provider rejects it."""
    terra.happen(user_id, "connection_error")
    eventually(lambda: status_of(api, user_id) == "needs_reauth")
    return user_id


def status_of(api: httpx.Client, user_id: str) -> str:
    status: str = api.get(f"/connections/{user_id}").raise_for_status().json()["status"]
    return status


def begin_repair(api: httpx.Client, terra: Terra, user_id: str, **fields: object) -> ProviderAttempt:
    response = api.post("/sessions", json={"user_id": user_id, **fields})
    assert response.status_code == httpx.codes.CREATED, response.text
    login = logins(terra)[-1]
    assert login["auth_url"] == response.json()["auth_url"]
    success, failure = (query_of(login[f"{outcome}_url"])["state"] for outcome in ("success", "failure"))
    return ProviderAttempt(response.json(), success, failure, login["user_id"])


def outcome_of(api: httpx.Client, attempt: LoginAttempt) -> tuple[str, str | None, str | None]:
    """Return the status, the reason and the user_id of a repair's session."""
    session = session_status(api, attempt.session)
    assert session["repairs"] == attempt.session["repairs"]
    return session["status"], session["reason"], session["user_id"]


def reauth_event(old: str | None, new: str, reference_id: str) -> dict[str, Any]:
    def user(user_id: str) -> dict[str, Any]:
        return {"user_id": user_id, "provider": "FITBIT", "reference_id": reference_id, "scopes": "ACTIVITY"}

    return {"type": "user_reauth", "new_user": user(new), "old_user": None if old is None else user(old)}


def as_user(stack: Stack, browser: httpx.Client, reference_id: str, body: object) -> httpx.Response:
    token = httpx.post(f"{stack.oidc_issuer}/token", json={"subject": reference_id}, timeout=30).raise_for_status()
    bearer = f"Bearer {token.json()['access_token']}"
    return browser.post("/sessions", json=body, headers={"authorization": bearer})


# -- the request -------------------------------------------------------------------------------------------------------


def test_the_login_is_at_the_provider_of_the_connection_and_for_its_user(
    api: httpx.Client, terra: Terra, tables: Tables, broken: str, reference_id: str
) -> None:
    attempt = begin_repair(api, terra, broken, language="de")
    session = attempt.session
    assert (session["reference_id"], session["resource"], session["status"]) == (reference_id, "FITBIT", "pending")
    assert (session["repairs"], session["user_id"]) == (broken, None)
    call = terra.calls("/authenticateUser")[-1]
    assert (call["query"], call["body"]["reference_id"]) == ({"resource": "FITBIT"}, reference_id)
    item = tables.session(attempt.session_id)
    assert item is not None
    assert (item["repairs"], item["user_id"]) == (broken, attempt.user_id)
    assert outcome_of(api, attempt) == ("pending", None, None)


def test_other_sessions_have_no_repairs(api: httpx.Client, reference_id: str) -> None:
    session = create_session(api, reference_id)
    assert "repairs" not in session
    assert "repairs" not in session_status(api, session)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"user_id": ""}, {"user_id"}),
        ({"user_id": "a b"}, {"user_id"}),
        ({"user_id": "x" * 129}, {"user_id"}),
        ({"user_id": "con/../x"}, {"user_id"}),
        ({"user_id": 7}, {"user_id"}),
        ({"user_id": ["a"]}, {"user_id"}),
        ({"user_id": "a", "resource": "FITBIT"}, {"user_id"}),
        ({"user_id": "a", "resources": ["FITBIT"]}, {"user_id"}),
        ({"user_id": "a", "resource": "?"}, {"resource"}),
        ({"user_id": "a", "reference_id": ""}, {"reference_id"}),
        ({"user_id": None}, {"reference_id"}),
    ],
)
def test_a_malformed_request_is_400(api: httpx.Client, terra: Terra, body: dict[str, Any], fields: set[str]) -> None:
    response = api.post("/sessions", json=body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert {error["field"] for error in response.json()["errors"]} == fields
    assert terra.calls("/authenticateUser") == []


def test_an_unknown_a_foreign_and_an_erased_connection_have_the_same_404(
    stack: Stack, api: httpx.Client, browser: httpx.Client, terra: Terra, broken: str, reference_id: str
) -> None:
    missing = api.get(f"/connections/{new_user_id()}")
    other = f"{reference_id}-other"
    responses = [
        api.post("/sessions", json={"user_id": new_user_id()}),
        api.post("/sessions", json={"user_id": broken, "reference_id": other}),
        as_user(stack, browser, other, {"user_id": broken}),
        as_user(stack, browser, reference_id, {"user_id": new_user_id()}),
    ]
    before = len(terra.calls("/authenticateUser"))
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    responses.append(api.post("/sessions", json={"user_id": broken}))
    assert {response.status_code for response in responses} == {httpx.codes.NOT_FOUND}
    assert all(response.json() == missing.json() for response in responses)
    assert len(terra.calls("/authenticateUser")) == before == 0


def test_a_users_token_repairs_its_own_connections_only(
    stack: Stack, api: httpx.Client, browser: httpx.Client, broken: str, reference_id: str
) -> None:
    own = as_user(stack, browser, reference_id, {"user_id": broken})
    assert (own.status_code, own.json()["repairs"]) == (201, broken)
    named = as_user(stack, browser, reference_id, {"user_id": broken, "reference_id": f"{reference_id}-other"})
    assert (named.status_code, named.json()["code"]) == (403, "forbidden")
    assert api.post("/sessions", json={"user_id": broken, "reference_id": reference_id}).status_code == 201


def test_a_connection_without_a_known_user_has_no_login(api: httpx.Client, terra: Terra) -> None:
    user_id = new_user_id()
    terra.deliver(auth_event(user_id, None))
    assert api.get(f"/connections/{user_id}").json()["reference_id"] is None
    response = api.post("/sessions", json={"user_id": user_id})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_a_connection_whose_provider_is_unknown_is_422(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    user_id = new_user_id()
    event = auth_event(user_id, reference_id)
    del event["user"]["provider"]
    terra.deliver(event)
    assert api.get(f"/connections/{user_id}").json()["provider"] == "UNKNOWN"
    response = api.post("/sessions", json={"user_id": user_id})
    assert (response.status_code, response.json()["code"]) == (422, "unknown_resource")


@pytest.mark.parametrize("end", ["access_revoked", "deauth"])
def test_a_revoked_connection_is_422(api: httpx.Client, terra: Terra, user_id: str, end: str) -> None:
    terra.happen(user_id, end)
    eventually(lambda: status_of(api, user_id) == "revoked")
    response = api.post("/sessions", json={"user_id": user_id})
    assert (response.status_code, response.json()["code"]) == (422, "connection_ended")
    assert "FITBIT" in response.json()["detail"]
    assert terra.calls("/authenticateUser") == []


def test_a_connection_inside_a_phone_app_is_repaired_there(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    user_id = terra.connect(reference_id, provider="APPLE")["user_id"]
    eventually(lambda: connections_of(api, reference_id))
    response = api.post("/sessions", json={"user_id": user_id})
    assert (response.status_code, response.json()["code"]) == (422, "sdk_only_provider")


def test_the_second_name_of_a_provider_is_translated(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    user_id = new_user_id()
    terra.deliver(auth_event(user_id, reference_id, provider="GOOGLEFIT"))
    assert begin_repair(api, terra, user_id).session["resource"] == "GOOGLE"


def test_a_replaced_user_id_stands_for_its_successor(
    api: httpx.Client, terra: Terra, broken: str, reference_id: str
) -> None:
    new = new_user_id()
    terra.deliver(reauth_event(broken, new, reference_id))
    assert begin_repair(api, terra, broken).session["repairs"] == new


def test_a_repeat_with_the_same_key_returns_the_same_session(
    api: httpx.Client, terra: Terra, broken: str, user_id: str
) -> None:
    headers = {"Idempotency-Key": f"repair {user_id}"}
    first = api.post("/sessions", json={"user_id": broken}, headers=headers)
    again = api.post("/sessions", json={"user_id": broken}, headers=headers)
    assert again.headers["idempotent-replayed"] == "true"
    assert first.json() == again.json()
    assert first.json()["repairs"] == broken
    assert len(terra.calls("/authenticateUser")) == 1
    other = api.post("/sessions", json={"user_id": broken, "return_to": "web"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_repair_costs_two_reads_more_than_another_session(handlers: Handlers, terra: Terra, broken: str) -> None:
    assert terra
    run = handlers.run("create_session", http_event("POST", "/sessions", body=json.dumps({"user_id": broken})))
    reads = ["dynamodb.BatchGetItem"] * 3
    assert run.trips == [*reads, "terra.authenticateUser", "dynamodb.TransactWriteItems"]


# -- the outcome -------------------------------------------------------------------------------------------------------


def test_a_login_at_the_same_account_replaces_and_repairs_the_connection(
    api: httpx.Client, browser: httpx.Client, terra: Terra, broken: str, reference_id: str
) -> None:
    before = api.get(f"/connections/{broken}").json()
    attempt = begin_repair(api, terra, broken)
    page = browser.get(decide(attempt.session["auth_url"], "allow"))
    assert page.status_code == httpx.codes.OK
    eventually(lambda: outcome_of(api, attempt) == ("connected", None, attempt.user_id))
    [connection] = eventually(lambda: connections_of(api, reference_id))
    assert (connection["user_id"], connection["status"]) == (attempt.user_id, "connected")
    assert connection["connection_id"] == before["connection_id"]


def test_an_auth_event_of_the_same_user_id_repairs_it(
    api: httpx.Client, browser: httpx.Client, terra: Terra, webhook: MakeWebhook, broken: str, reference_id: str
) -> None:
    attempt = begin_repair(api, terra, broken)
    terra.deliver(auth_event(broken, reference_id))
    assert outcome_of(api, attempt) == ("connected", None, broken)
    assert status_of(api, broken) == "connected"
    # What happens to the connection afterwards does not change the session.
    error = {"type": "connection_error", "user": auth_event(broken, reference_id)["user"]}
    assert webhook(error, t=now_s() + 5).post(browser).status_code == httpx.codes.OK
    assert status_of(api, broken) == "needs_reauth"
    assert outcome_of(api, attempt) == ("connected", None, broken)


def test_what_is_older_than_the_session_does_not_settle_it(
    api: httpx.Client, terra: Terra, webhook: MakeWebhook, browser: httpx.Client, broken: str, reference_id: str
) -> None:
    attempt = begin_repair(api, terra, broken)
    late = webhook(auth_event(broken, reference_id), t=now_s() - 60)
    assert late.post(browser).status_code == httpx.codes.OK
    assert outcome_of(api, attempt) == ("pending", None, None)


def test_a_sync_settles_no_repair(api: httpx.Client, terra: Terra, broken: str, reference_id: str) -> None:
    attempt = begin_repair(api, terra, broken)
    assert api.post("/connections/sync", json={"reference_id": reference_id}).is_success
    assert outcome_of(api, attempt) == ("pending", None, None)


def test_a_login_at_another_account_does_not_repair_it(
    api: httpx.Client, browser: httpx.Client, terra: Terra, webhook: MakeWebhook, broken: str, reference_id: str
) -> None:
    attempt = begin_repair(api, terra, broken)
    page = browser.get(decide(attempt.session["auth_url"], "allow", account="another-account"))
    assert page.status_code == httpx.codes.OK
    eventually(lambda: len(connections_of(api, reference_id)) == 2)
    assert outcome_of(api, attempt) == ("pending", None, None)
    # Terra may still report that one replaces the other: only after 30 seconds is it another account.
    other = begin_repair(api, terra, broken)
    webhook(auth_event(other.user_id, reference_id), t=now_s() - 40).post(browser)
    assert outcome_of(api, other) == ("failed", "other_account", None)
    assert status_of(api, broken) == "needs_reauth"
    # A late report still repairs.
    terra.deliver(reauth_event(broken, other.user_id, reference_id))
    assert outcome_of(api, other) == ("connected", None, other.user_id)
    assert outcome_of(api, attempt) == ("connected", None, other.user_id)


def test_a_reconnect_that_names_no_old_user_does_not_repair_it(
    api: httpx.Client, terra: Terra, broken: str, reference_id: str
) -> None:
    attempt = begin_repair(api, terra, broken)
    terra.deliver(reauth_event(None, attempt.user_id, reference_id))
    assert outcome_of(api, attempt) == ("pending", None, None)
    assert status_of(api, broken) == "needs_reauth"


def test_another_users_login_at_the_account_does_not_repair_it(
    api: httpx.Client, terra: Terra, broken: str, reference_id: str
) -> None:
    attempt = begin_repair(api, terra, broken)
    event = reauth_event(broken, new_user_id(), f"{reference_id}-other")
    event["old_user"]["reference_id"] = reference_id
    terra.deliver(event)
    assert outcome_of(api, attempt) == ("pending", None, None)
    assert status_of(api, broken) == "revoked"


def test_a_cancelled_repair_can_be_retried_and_then_repairs(
    api: httpx.Client, browser: httpx.Client, terra: Terra, broken: str
) -> None:
    attempt = begin_repair(api, terra, broken)
    page = browser.get(decide(attempt.session["auth_url"], "deny"))
    assert outcome_of(api, attempt) == ("failed", "access_denied", None)
    assert status_of(api, broken) == "needs_reauth"
    answer = browser.post("/auth/retry", data=button(page), follow_redirects=False)
    assert answer.status_code == httpx.codes.SEE_OTHER
    login = logins(terra)[-1]
    assert login["auth_url"] == answer.headers["location"]
    browser.get(decide(login["auth_url"], "allow"))
    retried = session_status(api, {"session_id": query_of(login["success_url"])["session"]})
    assert retried["repairs"] == broken
    eventually(lambda: session_status(api, retried)["status"] == "connected")


def test_the_redirects_query_cannot_claim_a_repair(
    api: httpx.Client, browser: httpx.Client, terra: Terra, broken: str
) -> None:
    attempt = begin_repair(api, terra, broken)
    # The simulator, like Terra, still calls a connection with an error authenticated.
    assert attempt.return_from_login(browser, user_id=broken).status_code == httpx.codes.OK
    assert outcome_of(api, attempt) == ("pending", None, None)
    assert status_of(api, broken) == "needs_reauth"


def test_a_session_of_an_erased_user_is_404(api: httpx.Client, terra: Terra, broken: str, reference_id: str) -> None:
    attempt = begin_repair(api, terra, broken)
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    assert api.get(f"/sessions/{attempt.session_id}").status_code == httpx.codes.NOT_FOUND


def test_every_order_of_events_and_redirect_with_repeats_gives_the_same_outcome(
    api: httpx.Client, browser: httpx.Client, terra: Terra, webhook: MakeWebhook, reference_id: str
) -> None:
    for number, order in enumerate(itertools.permutations(range(3))):
        name = f"{reference_id}-{number}"
        old = new_user_id()
        webhook(auth_event(old, name), t=now_s() - 300).post(browser)
        attempt = begin_repair(api, terra, old)
        terra.change(attempt.user_id, is_authenticated=True)
        auth = webhook(auth_event(attempt.user_id, name))
        reauth = webhook(reauth_event(old, attempt.user_id, name))
        steps: list[Callable[[], httpx.Response]] = [
            lambda auth=auth: auth.post(browser),  # type: ignore[misc]
            lambda reauth=reauth: reauth.post(browser),  # type: ignore[misc]
            lambda attempt=attempt: attempt.return_from_login(browser, user_id=attempt.user_id),  # type: ignore[misc]
        ]
        done: set[int] = set()
        for step in (*order, order[0]):
            assert steps[step]().status_code == httpx.codes.OK
            done.add(step)
            expected = ("connected", None, attempt.user_id) if 1 in done else ("pending", None, None)
            assert outcome_of(api, attempt) == expected, (order, step)
