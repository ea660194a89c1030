"""POST /erasures deletes all data, here and at Terra, and late events do not restore it."""

import hashlib
from typing import TYPE_CHECKING

import httpx
import pytest

from local.testing import Stack
from tests.support.api import connections_of, create_session, decide, erase
from tests.support.tables import items_containing
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


def test_an_erasure_leaves_only_tombstones(
    api: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str, user_id: str
) -> None:
    keyed = api.post(
        "/sessions", json={"reference_id": reference_id, "resource": "OURA"}, headers={"idempotency-key": reference_id}
    )
    assert keyed.status_code == httpx.codes.CREATED
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    assert items_containing(dynamodb, stack, reference_id) == []
    assert items_containing(dynamodb, stack, user_id) == []
    assert items_containing(dynamodb, stack, keyed.json()["session_id"]) == []
    [tombstone] = items_containing(dynamodb, stack, f"erased:{hashlib.sha256(user_id.encode()).hexdigest()}")
    assert set(tombstone) == {"user_id", "ttl", "confirmed"}
    assert [user for user in terra.client.get("/_control/users").json() if user["reference_id"] == reference_id] == []


def test_a_late_webhook_recreates_nothing(
    api: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str, user_id: str
) -> None:
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    for event in (auth_event(user_id, reference_id), deauth_event(user_id, reference_id), auth_event(user_id, None)):
        [response] = terra.deliver(event)
        assert response["status"] == httpx.codes.OK
    assert items_containing(dynamodb, stack, reference_id) == []
    assert api.get(f"/connections/{user_id}").status_code == httpx.codes.NOT_FOUND


def test_a_login_in_progress_does_not_restore_an_erased_user(
    api: httpx.Client,
    browser: httpx.Client,
    terra: Terra,
    dynamodb: "DynamoDBClient",
    stack: Stack,
    reference_id: str,
) -> None:
    session = create_session(api, reference_id)
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    assert api.get(f"/sessions/{session['session_id']}").status_code == httpx.codes.NOT_FOUND
    [login] = [one for one in terra.client.get("/_control/logins").json() if one["auth_url"] == session["auth_url"]]
    [response] = terra.deliver(auth_event(login["user_id"], reference_id))
    assert response["status"] == httpx.codes.OK
    assert items_containing(dynamodb, stack, reference_id) == []
    assert browser.get(f"/auth/success?session={session['session_id']}&state=x").status_code == httpx.codes.BAD_REQUEST


def test_the_successor_of_an_erased_connection_is_erased_in_either_order(
    api: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str, user_id: str
) -> None:
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    for order in (0, 1):
        successor = new_user_id()
        reauth = {
            "type": "user_reauth",
            "status": "warning",
            "message": "reconnected",
            "new_user": auth_event(successor, reference_id)["user"],
            "old_user": auth_event(user_id, reference_id)["user"],
        }
        events = [auth_event(successor, reference_id), reauth]
        for event in events if order else reversed(events):
            [response] = terra.deliver(event)
            assert response["status"] == httpx.codes.OK
        assert items_containing(dynamodb, stack, reference_id) == []
        assert items_containing(dynamodb, stack, successor) == []


def test_an_erasure_is_503_if_terra_fails_and_a_repeat_completes_it(
    api: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str, user_id: str
) -> None:
    terra.fault("/auth/deauthenticateUser", "status", status=500, times=1)
    response = erase(api, reference_id)
    assert (response.status_code, response.json()["code"]) == (503, "terra_unavailable")
    assert [c["user_id"] for c in connections_of(api, reference_id)] == [user_id]
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    assert items_containing(dynamodb, stack, reference_id) == []


def test_an_erasure_ends_connections_that_only_terra_knows(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    terra.settings(send_webhooks=False)
    terra.connect(reference_id)
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    assert len(terra.calls("/auth/deauthenticateUser")) == 1


def test_an_erasure_keeps_the_connections_of_other_users(
    api: httpx.Client, terra: Terra, reference_id: str, user_id: str
) -> None:
    other = f"{reference_id}-other"
    terra.connect(other)
    eventually(lambda: connections_of(api, other))
    assert erase(api, other).status_code == httpx.codes.NO_CONTENT
    assert [c["user_id"] for c in connections_of(api, reference_id)] == [user_id]


def test_an_erased_user_can_connect_again_by_a_new_login(
    api: httpx.Client, terra: Terra, reference_id: str, user_id: str
) -> None:
    assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    session = create_session(api, reference_id)
    decide(session["auth_url"], "allow")
    [connection] = eventually(lambda: connections_of(api, reference_id))
    assert connection["user_id"] != user_id
    assert terra.deliveries(type="auth")


def test_the_erasure_of_an_unknown_user_succeeds_and_can_be_repeated(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    for _ in range(2):
        assert erase(api, reference_id).status_code == httpx.codes.NO_CONTENT
    assert terra.calls("/auth/deauthenticateUser") == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{}", b"[]", b'{"reference_id": ""}', b'{"reference_id": "null"}', b'{"reference_id": "a", "b": 1}'],
)
def test_a_malformed_request_erases_no_user(api: httpx.Client, body: bytes) -> None:
    response = api.post("/erasures", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
