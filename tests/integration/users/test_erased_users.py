"""A user stays erased, even if an index is stale or an operation began before the erasure."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local.testing import Stack
from terra_connections.connections.store import ConnectionStore
from terra_connections.data.backfill_store import BackfillStore
from terra_connections.erasure.deadline import Deadline
from terra_connections.erasure.user import erase_user
from terra_connections.errors import ErasureUnfinished, TerraUnavailable
from terra_connections.ids import ReferenceId
from terra_connections.sessions.idempotency import ClaimStore
from terra_connections.sessions.store import SessionStore
from terra_connections.sessions.widget_reports import WidgetReportStore
from terra_connections.terra import client as terra_api
from terra_connections.terra import transport
from terra_connections.users.store import UserStore
from tests.support.api import connections_of, create_session
from tests.support.handlers import STALE_INDEX, Handlers, Run, http_event, pause
from tests.support.redirects import begin, begin_widget
from tests.support.tables import items_containing
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

DEAUTHENTICATE = "/auth/deauthenticateUser"


def event(path: str, reference_id: str, **fields: object) -> dict[str, Any]:
    return http_event("POST", path, body=json.dumps({"reference_id": reference_id, **fields}))


def erase_with_stale_indexes(handlers: Handlers, reference_id: str) -> Run:
    """Erase a user while the indexes still return nothing."""
    return handlers.run("erase_person", event("/erasures", reference_id), STALE_INDEX)


def connect_accounts(terra: Terra, reference_id: str, count: int) -> None:
    for number in range(count):
        terra.connect(reference_id, account=f"{reference_id}-{number}")


def at_terra(terra: Terra, reference_id: str) -> list[dict[str, Any]]:
    return [user for user in terra.client.get("/_control/users").json() if user["reference_id"] == reference_id]


# --- a stale index ---------------------------------------------------------------------------------------------------


def test_an_erasure_deletes_a_session_missing_from_a_stale_index(
    handlers: Handlers, api: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    session = create_session(api, reference_id)
    assert erase_with_stale_indexes(handlers, reference_id).status == httpx.codes.NO_CONTENT
    assert items_containing(dynamodb, stack, reference_id) == []
    assert items_containing(dynamodb, stack, session["session_id"]) == []
    assert at_terra(terra, reference_id) == []


def test_a_widget_login_missing_from_a_stale_index_connects_nothing_after_an_erasure(
    handlers: Handlers,
    api: httpx.Client,
    browser: httpx.Client,
    terra: Terra,
    dynamodb: "DynamoDBClient",
    stack: Stack,
    reference_id: str,
) -> None:
    attempt = begin_widget(api, terra, reference_id)
    assert erase_with_stale_indexes(handlers, reference_id).status == httpx.codes.NO_CONTENT
    terra.hold()
    attempt.allow()
    terra.release()
    assert eventually(lambda: terra.deliveries(type="auth", state="delivered"))
    assert attempt.return_from_login(browser).status_code == httpx.codes.BAD_REQUEST
    assert items_containing(dynamodb, stack, reference_id) == []


def test_an_erasure_deletes_a_connection_missing_from_the_index_and_from_terras_list(
    handlers: Handlers, api: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    user_id = str(terra.connect(reference_id)["user_id"])
    eventually(lambda: connections_of(api, reference_id))
    terra.fault("/userInfo", "wrong_shape", body={"users": []})
    assert erase_with_stale_indexes(handlers, reference_id).status == httpx.codes.NO_CONTENT
    assert items_containing(dynamodb, stack, reference_id) == []
    assert items_containing(dynamodb, stack, user_id) == []
    assert at_terra(terra, reference_id) == []


# --- operations that began before the erasure ------------------------------------------------------------------------


def test_a_user_starts_no_session_during_their_erasure(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    create_session(api, reference_id)
    with handlers.start("erase_person", event("/erasures", reference_id), pause("terra.userInfo:before")) as erasing:
        erasing.until_paused()
        before = len(terra.calls("/auth/authenticateUser"))
        response = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"})
        assert (response.status_code, response.json()["code"]) == (409, "erasure_in_progress")
        assert int(response.headers["retry-after"]) > 0
        assert len(terra.calls("/auth/authenticateUser")) == before
        response = api.post("/mobile-tokens", json={"reference_id": reference_id})
        assert (response.status_code, response.json()["code"]) == (409, "erasure_in_progress")
        erasing.resume()
        assert erasing.end().status == httpx.codes.NO_CONTENT
    assert create_session(api, reference_id)["status"] == "pending"


def test_a_session_started_before_an_erasure_is_not_stored_after_it(
    handlers: Handlers, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    beginning = event("/sessions", reference_id, resource="FITBIT")
    with handlers.start("create_session", beginning, pause("dynamodb.TransactWriteItems:before")) as starting:
        starting.until_paused()
        assert handlers.run("erase_person", event("/erasures", reference_id)).status == httpx.codes.NO_CONTENT
        starting.resume()
        run = starting.end()
    assert (run.status, run.json["code"]) == (409, "erasure_in_progress")
    assert items_containing(dynamodb, stack, reference_id) == []


def test_a_login_with_an_unannounced_user_id_connects_nothing_after_an_erasure(
    handlers: Handlers, api: httpx.Client, terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    assert handlers.run("erase_person", event("/erasures", reference_id)).status == httpx.codes.NO_CONTENT
    user_id = new_user_id()
    for _ in range(2):
        [response] = terra.deliver(auth_event(user_id, reference_id))
        assert response["status"] == httpx.codes.OK
    assert items_containing(dynamodb, stack, reference_id) == []
    assert items_containing(dynamodb, stack, user_id) == []
    # A sync finds it at Terra, and does not store it either.
    terra.settings(send_webhooks=False)
    late = str(terra.connect(reference_id)["user_id"])
    assert api.post("/connections/sync", json={"reference_id": reference_id}).json() == {"connections": []}
    assert items_containing(dynamodb, stack, late) == []


def test_an_erased_user_is_connected_by_a_new_login_and_not_by_an_old_one(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    old = begin(api, terra, reference_id)
    assert handlers.run("erase_person", event("/erasures", reference_id)).status == httpx.codes.NO_CONTENT
    new = begin(api, terra, reference_id)
    terra.deliver(auth_event(old.user_id, reference_id))
    assert connections_of(api, reference_id) == []
    terra.deliver(auth_event(new.user_id, reference_id))
    assert [connection["user_id"] for connection in connections_of(api, reference_id)] == [new.user_id]


def test_hours_after_an_erasure_a_connection_is_accepted_without_a_session(
    handlers: Handlers, terra: Terra, api: httpx.Client, users: UserStore, stack: Stack, reference_id: str
) -> None:
    assert handlers.run("erase_person", event("/erasures", reference_id)).status == httpx.codes.NO_CONTENT
    users._client.update_item(  # noqa: SLF001 - moves the erasure into the past
        TableName=stack.tables.connections,
        Key={"user_id": {"S": users.tombstone_key(ReferenceId(reference_id))}},
        UpdateExpression="SET #until = :until",
        ExpressionAttributeNames={"#until": "until"},
        ExpressionAttributeValues={":until": {"N": str(int((time.time() - 7200) * 1000))}},
    )
    user_id = new_user_id()
    terra.deliver(auth_event(user_id, reference_id))
    assert [connection["user_id"] for connection in connections_of(api, reference_id)] == [user_id]


def test_the_tombstone_of_a_user_contains_no_reference_id_and_outlives_every_backup(
    handlers: Handlers, dynamodb: "DynamoDBClient", stack: Stack, users: UserStore, reference_id: str
) -> None:
    assert handlers.run("erase_person", event("/erasures", reference_id)).status == httpx.codes.NO_CONTENT
    [tombstone] = items_containing(dynamodb, stack, users.tombstone_key(ReferenceId(reference_id)))
    assert set(tombstone) == {"user_id", "until", "ttl"}
    assert int(tombstone["ttl"]["N"]) > (datetime.now(UTC) + timedelta(days=35)).timestamp()


# --- at Terra --------------------------------------------------------------------------------------------------------


def test_an_erasure_ignores_another_user_s_connection_in_terras_list(
    api: httpx.Client, handlers: Handlers, terra: Terra, reference_id: str
) -> None:
    victim = f"{reference_id}-victim"
    user_id = str(terra.connect(victim)["user_id"])
    eventually(lambda: connections_of(api, victim))
    terra.settings(send_webhooks=False)
    unreported = str(terra.connect(victim, account="another")["user_id"])
    listed = [{"user_id": name, "provider": "FITBIT"} for name in (user_id, unreported)]
    terra.fault("/userInfo", "wrong_shape", times=1, body={"users": listed})
    assert handlers.run("erase_person", event("/erasures", reference_id)).status == httpx.codes.NO_CONTENT
    assert terra.calls(DEAUTHENTICATE) == []
    assert {user["user_id"] for user in at_terra(terra, victim)} == {user_id, unreported}
    assert [connection["user_id"] for connection in connections_of(api, victim)] == [user_id]
    # The other user's connection got no tombstone: its events are accepted.
    terra.deliver(auth_event(unreported, victim))
    assert {connection["user_id"] for connection in connections_of(api, victim)} == {user_id, unreported}


def test_an_erasure_deletes_only_the_connections_that_terra_has_deauthenticated(
    api: httpx.Client, handlers: Handlers, terra: Terra, reference_id: str
) -> None:
    connect_accounts(terra, reference_id, 4)
    eventually(lambda: len(connections_of(api, reference_id)) == 4)
    terra.fault(DEAUTHENTICATE, "status", status=500, times=1)
    run = handlers.run("erase_person", event("/erasures", reference_id))
    assert (run.status, run.json["code"]) == (503, "terra_unavailable")
    assert len(connections_of(api, reference_id)) == 1
    assert handlers.run("erase_person", event("/erasures", reference_id)).status == httpx.codes.NO_CONTENT
    assert len(terra.calls(DEAUTHENTICATE)) == 5


@pytest.fixture
def erase_in_process(stack: Stack, users: UserStore, dynamodb: "DynamoDBClient") -> Iterator[partial[int]]:
    """Return `erase_user` with its dependencies, configured as in the function."""
    with transport.client() as client:
        api = terra_api.TerraClient(
            client,
            api_url=f"{stack.terra_url}/api/v2",
            widget_url=f"{stack.terra_url}/api/widget/session",
            dev_id=stack.terra_dev_id,
            api_key=lambda: stack.terra_api_key,
        )
        connections = ConnectionStore(dynamodb, stack.tables.connections, users=users)
        table = stack.tables.sessions
        yield partial(
            erase_user,
            terra=api,
            sessions=SessionStore(dynamodb, table),
            claims=ClaimStore(dynamodb, table),
            reports=WidgetReportStore(dynamodb, table),
            connections=connections,
            users=users,
            payloads=None,
            backfills=BackfillStore(dynamodb, table, users),
        )


class Budget(Deadline):
    """A deadline that allows a number of steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(timedelta(minutes=1))
        self._steps = steps

    def left(self, at_most: timedelta) -> timedelta:
        self._steps -= 1
        return at_most if self._steps >= 0 else timedelta(0)


def test_an_erasure_that_exceeds_its_deadline_is_completed_by_repeated_requests(
    erase_in_process: partial[int], terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    connect_accounts(terra, reference_id, 40)
    left, unfinished = [len(at_terra(terra, reference_id))], 0
    while left[-1]:
        try:
            erase_in_process(ReferenceId(reference_id), deadline=Budget(30))
        except ErasureUnfinished:
            unfinished += 1
        left.append(len(at_terra(terra, reference_id)))
        assert left[-1] < left[-2], left
    assert unfinished > 1
    assert len(terra.calls(DEAUTHENTICATE)) == 40
    assert erase_in_process(ReferenceId(reference_id)) == 0
    assert items_containing(dynamodb, stack, reference_id) == []


class CutShort(Deadline):
    """Allows Terra's list and a number of deauthentications; the next one times out."""

    def __init__(self, deauthentications: int) -> None:
        super().__init__(timedelta(minutes=1))
        self._left = deauthentications + 1

    def left(self, at_most: timedelta) -> timedelta:
        if at_most == timedelta(seconds=10):
            self._left -= 1
            return at_most if self._left >= 0 else timedelta(milliseconds=100)
        return at_most if self._left >= 0 else timedelta(0)


def test_an_erasure_whose_deadline_ends_during_a_request_is_reported_as_unfinished(
    erase_in_process: partial[int], terra: Terra, dynamodb: "DynamoDBClient", stack: Stack, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    connect_accounts(terra, reference_id, 8)
    terra.fault(DEAUTHENTICATE, "slow", delay_s=1)
    with pytest.raises(ErasureUnfinished):
        erase_in_process(ReferenceId(reference_id), deadline=CutShort(3))
    erase_in_process(ReferenceId(reference_id))
    assert items_containing(dynamodb, stack, reference_id) == []


def test_an_erasure_ends_at_its_deadline_when_terra_does_not_respond(
    erase_in_process: partial[int], terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    connect_accounts(terra, reference_id, 3)
    terra.fault(DEAUTHENTICATE, "slow", delay_s=40)
    began = time.monotonic()
    with pytest.raises(TerraUnavailable):
        erase_in_process(ReferenceId(reference_id), deadline=Deadline(timedelta(seconds=2)))
    assert time.monotonic() - began < 20
    terra.reset()
