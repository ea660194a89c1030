"""Calls to AWS and Terra determine a request's cost: their number without contention, and equal for every caller."""

import json
from collections.abc import Callable
from urllib.parse import quote

import httpx

from tests.support.api import connections_of, decide
from tests.support.handlers import Handlers, http_event
from tests.support.redirects import begin
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.waiting import eventually
from tests.support.webhooks import Webhook

GET, BATCH, QUERY = "dynamodb.GetItem", "dynamodb.BatchGetItem", "dynamodb.Query"
PUT, UPDATE, WRITE = "dynamodb.PutItem", "dynamodb.UpdateItem", "dynamodb.TransactWriteItems"


def test_a_webhook_reads_once_and_writes_once(
    handlers: Handlers, webhook: Callable[..., Webhook], reference_id: str
) -> None:
    user_id = new_user_id()
    for number in range(2):
        run = handlers.run("terra_webhook", webhook(auth_event(user_id, reference_id, number=number)).event())
        assert (run.status, run.trips) == (200, [BATCH, WRITE])
    reauth = {
        "type": "user_reauth",
        "status": "warning",
        "new_user": auth_event(new_user_id(), reference_id)["user"],
        "old_user": auth_event(user_id, reference_id)["user"],
    }
    assert handlers.run("terra_webhook", webhook(reauth).event()).trips == [BATCH, WRITE]


def test_a_webhook_that_concerns_no_connection_only_writes_and_a_kept_one_creates_an_object(
    handlers: Handlers, webhook: Callable[..., Webhook], reference_id: str
) -> None:
    user = {"user_id": new_user_id(), "reference_id": reference_id}
    check = webhook({"type": "healthcheck", "at": reference_id})
    assert handlers.run("terra_webhook", check.event()).trips == [WRITE]
    data = webhook({"type": "activity", "user": user, "data": []})
    assert handlers.run("terra_webhook", data.event(), environment={"PAYLOADS_BUCKET": ""}).trips == [WRITE]
    assert handlers.run("terra_webhook", webhook({"type": "sleep", "user": user, "data": []}).event()).trips == [
        "s3.PutObject",
        WRITE,
    ]


def test_a_duplicate_costs_as_much_as_the_first_delivery_and_a_disconnect_one_more_read(
    handlers: Handlers, webhook: Callable[..., Webhook], reference_id: str
) -> None:
    user_id = new_user_id()
    for event, trips in ((auth_event(user_id, reference_id), []), (deauth_event(user_id, reference_id), [BATCH])):
        delivery = webhook(event)
        handlers.run("terra_webhook", delivery.event())
        again = handlers.run("terra_webhook", delivery.event())
        assert (again.json["status"], again.trips) == ("duplicate", [BATCH, WRITE, *trips])


def test_a_redirect_after_its_webhook_reads_twice(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    attempt = begin(api, terra, reference_id)
    terra.deliver(auth_event(attempt.user_id, reference_id))
    assert handlers.run("auth_success", attempt.event("success")).trips == [GET, BATCH]


def test_a_redirect_without_its_webhook_sends_terra_one_request(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    run = handlers.run("auth_success", attempt.event("success"))
    assert run.trips == [GET, BATCH, QUERY, UPDATE, "terra.userInfo"]


def test_a_forged_redirect_costs_one_read(handlers: Handlers) -> None:
    event = http_event("GET", "/auth/success", query="session=unknown&state=x&user_id=y")
    assert handlers.run("auth_success", event).trips == [GET]


def test_a_new_session_costs_a_read_and_a_write_and_a_key_costs_another_write(
    handlers: Handlers, terra: Terra, reference_id: str
) -> None:
    body = json.dumps({"reference_id": reference_id, "resource": "FITBIT"})
    plain = handlers.run("create_session", http_event("POST", "/sessions", body=body))
    assert (plain.status, plain.trips) == (201, [BATCH, "terra.authenticateUser", WRITE])
    event = http_event("POST", "/sessions", body=body, headers={"idempotency-key": reference_id})
    assert handlers.run("create_session", event).trips == [PUT, BATCH, "terra.authenticateUser", WRITE]
    assert handlers.run("create_session", event).trips == [PUT]
    assert len(terra.calls("/auth/authenticateUser")) == 2


def test_a_list_costs_one_query_and_a_single_connection_one_read(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    user = terra.connect(reference_id)
    eventually(lambda: connections_of(api, reference_id))
    event = http_event("GET", "/connections", query=f"reference_id={quote(reference_id)}")
    assert handlers.run("list_connections", event).trips == [QUERY]
    one = http_event("GET", f"/connections/{user['user_id']}", path_parameters={"user_id": user["user_id"]})
    assert handlers.run("get_connection", one).trips == [BATCH]


def test_a_redirect_that_terra_confirms_costs_six_calls_to_dynamodb_and_one_to_terra(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    attempt = begin(api, terra, reference_id)
    decide(attempt.session["auth_url"], "allow")
    run = handlers.run("auth_success", attempt.event("success"))
    assert run.trips == [GET, BATCH, QUERY, UPDATE, "terra.userInfo", BATCH, WRITE]


def test_a_disconnect_costs_three_calls_to_dynamodb_and_one_to_terra(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    user = terra.connect(reference_id)
    eventually(lambda: connections_of(api, reference_id))
    # The deauth webhook that follows would write the same item.
    terra.settings(send_webhooks=False)
    event = http_event("DELETE", "/connections/x", path_parameters={"user_id": user["user_id"]})
    run = handlers.run("disconnect", event)
    assert (run.status, run.trips) == (204, [BATCH, "terra.deauthenticateUser", BATCH, WRITE])


def test_a_sync_costs_five_calls_to_dynamodb_one_list_and_one_request_per_connection(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.connect(reference_id)
    eventually(lambda: connections_of(api, reference_id))
    body = json.dumps({"reference_id": reference_id})
    run = handlers.run("sync_connections", http_event("POST", "/connections/sync", body=body))
    assert (run.status, run.trips) == (200, [UPDATE, QUERY, "terra.userInfo", "terra.userInfo", BATCH, WRITE, BATCH])
