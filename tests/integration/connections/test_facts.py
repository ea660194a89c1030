"""GET /connections/{user_id}/facts: what support staff see, and what they do not."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.api import erase
from tests.support.handlers import Handlers, http_event
from tests.support.redirects import begin
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.waiting import eventually
from tests.support.webhooks import Webhook, now_s

Make = Callable[..., Webhook]


def facts_of(api: httpx.Client, user_id: str) -> dict[str, Any]:
    response = api.get(f"/connections/{user_id}/facts")
    assert response.status_code == httpx.codes.OK, response.text
    explanation: dict[str, Any] = response.json()
    return explanation


def kinds(explanation: dict[str, Any]) -> set[tuple[str, str]]:
    return {(fact["kind"], fact["source"]) for fact in explanation["facts"]}


def test_the_facts_explain_the_status_that_the_other_routes_show(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str
) -> None:
    user_id, start = new_user_id(), now_s() - 100
    webhook(auth_event(user_id, reference_id), ordering=start * 1000).post(browser)
    connected = facts_of(api, user_id)
    assert connected["connection"] == api.get(f"/connections/{user_id}").json()
    assert connected["summary"].startswith("Connected since ")
    assert ("login", "webhook") in kinds(connected)

    error = {**deauth_event(user_id, reference_id), "type": "connection_error"}
    webhook(error, ordering=start * 1000 + 1).post(browser)
    failing = facts_of(api, user_id)
    assert failing["connection"]["status"] == "needs_reauth"
    assert failing["summary"].startswith("Needs a new login since ")
    assert failing["facts"][0]["kind"] == "error"

    webhook(deauth_event(user_id, reference_id)).post(browser)
    revoked = facts_of(api, user_id)
    assert revoked["connection"]["status"] == "revoked"
    assert "(event deauth)" in revoked["summary"]
    times = [fact["at"] for fact in revoked["facts"]]
    assert times == sorted(times, reverse=True)


def test_a_disconnect_and_a_sync_are_explained_by_their_sources(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    user_id = terra.connect(reference_id)["user_id"]
    api.post("/connections/sync", json={"reference_id": reference_id}).raise_for_status()
    synced = facts_of(api, user_id)
    assert ("connected", "terra_response") in kinds(synced)
    assert "Terra's API returned it as connected" in synced["summary"]
    assert api.delete(f"/connections/{user_id}").status_code == httpx.codes.NO_CONTENT
    revoked = facts_of(api, user_id)
    assert ("revoked", "request") in kinds(revoked)
    assert "A request to this API disconnected it" in revoked["summary"]


def test_a_replaced_user_id_is_explained_with_its_successor(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str
) -> None:
    old, new = new_user_id(), new_user_id()
    webhook(auth_event(old, reference_id), ordering=(now_s() - 50) * 1000).post(browser)
    users = {name: auth_event(each, reference_id)["user"] for name, each in (("old_user", old), ("new_user", new))}
    webhook({"type": "user_reauth", "status": "warning", **users}).post(browser)
    explanation = facts_of(api, old)
    assert explanation["connection"]["user_id"] == new
    assert {fact["user_id"] for fact in explanation["facts"]} == {old, new}
    assert f"A reconnect replaced {old} by {new}." in explanation["summary"]
    assert explanation["facts"] == facts_of(api, new)["facts"]


def test_a_login_that_failed_is_explained_although_it_is_no_connection(
    api: httpx.Client, browser: httpx.Client, terra: Terra, webhook: Make, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    assert api.get(f"/connections/{attempt.user_id}/facts").status_code == httpx.codes.NOT_FOUND
    failed = {**auth_event(attempt.user_id, reference_id), "status": "error", "reason": "access_denied"}
    webhook(failed).post(browser)
    explanation = facts_of(api, attempt.user_id)
    assert explanation["connection"] is None
    assert "access_denied" in explanation["summary"]
    assert {("failed", "webhook"), ("announced_for", "terra_response")} <= kinds(explanation)
    assert api.get(f"/connections/{attempt.user_id}").status_code == httpx.codes.NOT_FOUND


def test_erased_unknown_and_malformed_ids_are_not_found(api: httpx.Client, terra: Terra, user_id: str) -> None:
    terra.settings(send_webhooks=False)
    connection_id = facts_of(api, user_id)["connection"]["connection_id"]
    reference_id = facts_of(api, user_id)["connection"]["reference_id"]
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    for unknown in (user_id, new_user_id(), connection_id, "erased:x", "%00", "x" * 129):
        response = api.get(f"/connections/{unknown}/facts")
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), unknown
    assert "connection_id" in api.get(f"/connections/{connection_id}/facts").json()["detail"]


def test_a_widget_session_s_id_is_in_no_explanation(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str
) -> None:
    user_id, widget = new_user_id(), new_user_id()
    webhook({**auth_event(user_id, reference_id), "widget_session_id": widget}).post(browser)
    explanation = eventually(lambda: facts_of(api, user_id))
    assert ("widget_session_id", "webhook") in kinds(explanation)
    assert widget not in str(explanation)


@pytest.mark.parametrize("path", ["x", "%00"])
def test_a_user_token_is_forbidden_before_any_read(handlers: Handlers, reference_id: str, path: str) -> None:
    event = http_event("GET", f"/connections/{path}/facts", path_parameters={"user_id": path})
    event["requestContext"]["authorizer"]["lambda"] = {"caller": "user", "reference_id": reference_id}
    run = handlers.run("get_facts", event)
    assert (run.status, run.json["code"], run.trips) == (403, "forbidden", [])


def test_an_explanation_costs_two_reads(handlers: Handlers, user_id: str) -> None:
    event = http_event("GET", "/connections/x/facts", path_parameters={"user_id": user_id})
    assert handlers.run("get_facts", event).trips == ["dynamodb.BatchGetItem"] * 2
