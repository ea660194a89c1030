"""GET /connections for all users: complete passes while others write, cursors, limits, and no data of erased users."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local.testing import Stack
from terra_connections.connections.cursor import VALID_FOR, Cursors
from terra_connections.connections.facts import VERIFICATION_LAG
from terra_connections.connections.store import ConnectionStore
from terra_connections.ids import ReferenceId, UserId
from terra_connections.users.store import UserStore
from tests.support.handlers import Handlers, http_event
from tests.support.tables import Tables, own_tables
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.webhooks import Webhook, now_s

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Make = Callable[..., Webhook]
Page = dict[str, Any]

MANY = 400


def stored(user_id: str, reference_id: str | None, **facts: object) -> dict[str, Any]:
    """Build an item as the webhook writes it."""
    at = (now_s() - 10_000) * 1000
    owner = {} if reference_id is None else {"owner": {"at": at, "value": reference_id}}
    item = {
        "user_id": user_id,
        "version": 1,
        "reference_id": reference_id,
        "first_connected": at,
        "facts": {"connected": {"at": at}, "login": {"at": at}, **owner, **facts},
    }
    return {name: value for name, value in item.items() if value is not None}


def connection_id_of(root: str) -> str:
    return f"con_{hashlib.sha256(f'connection:{root}'.encode()).hexdigest()[:24]}"


def reauth_event(old: str, new: str, reference_id: str) -> dict[str, Any]:
    users = {
        name: auth_event(user_id, reference_id)["user"] for name, user_id in (("old_user", old), ("new_user", new))
    }
    return {"type": "user_reauth", "status": "warning", **users}


def pages(api: httpx.Client, limit: int, **query: str) -> Iterator[Page]:
    """Yield every page of a pass."""
    cursor: dict[str, str] = {}
    while True:
        response = api.get("/connections", params={"limit": limit, **query, **cursor})
        assert response.status_code == httpx.codes.OK, response.text
        page: Page = response.json()
        assert page.keys() == {"connections", "next_cursor"}
        assert len(page["connections"]) <= limit
        yield page
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def passed(api: httpx.Client, limit: int = 1000, **query: str) -> dict[str, dict[str, Any]]:
    """Return what a pass has delivered, by `user_id`."""
    return {found["user_id"]: found for page in pages(api, limit, **query) for found in page["connections"]}


@pytest.fixture
def loaded(tables: Tables, reference_id: str) -> Iterator[list[str]]:
    """The `user_id`s of several hundred connections, each of another user."""
    ids = [new_user_id() for _ in range(MANY)]
    tables.add_connections(stored(user_id, f"{reference_id}-{n}") for n, user_id in enumerate(ids))
    yield ids
    tables.remove_connections(ids)


@pytest.fixture
def own(dynamodb: "DynamoDBClient", stack: Stack) -> Iterator[tuple[str, Tables]]:
    """A table of connections that no other test writes to."""
    with own_tables(dynamodb, "Connections") as [name]:
        yield name, Tables(dynamodb, replace(stack, tables=replace(stack.tables, connections=name)))


# -- passes ------------------------------------------------------------------------------------------------------------


def test_a_pass_delivers_what_the_other_routes_return(
    api: httpx.Client, browser: httpx.Client, webhook: Make, loaded: list[str], reference_id: str
) -> None:
    webhook(deauth_event(loaded[0], f"{reference_id}-0")).post(browser)
    found = passed(api)
    assert loaded[0] not in found
    assert found.keys() >= set(loaded[1:])
    for user_id in loaded[1:4]:
        assert found[user_id] == api.get(f"/connections/{user_id}").json()
    assert passed(api, include="revoked")[loaded[0]]["status"] == "revoked"


@pytest.mark.parametrize("limit", [37, 400])
def test_every_connection_that_exists_throughout_a_pass_is_delivered_while_others_are_written_and_deleted(
    api: httpx.Client,
    stack: Stack,
    tables: Tables,
    webhook: Make,
    loaded: list[str],
    reference_id: str,
    limit: int,
) -> None:
    reconnected, revoked, deleted, kept = (loaded[n::4] for n in range(4))
    name_of = {user_id: f"{reference_id}-{n}" for n, user_id in enumerate(loaded)}
    has_begun, is_over, written = threading.Event(), threading.Event(), list[str]()

    def write() -> None:
        """Reconnect and disconnect connections, delete some, and connect new users, until the pass is over."""
        with httpx.Client(base_url=stack.api_url, timeout=30) as terra:
            for n in count():
                if is_over.is_set():
                    return
                new = new_user_id()
                written.append(new)
                if n < len(reconnected):
                    old = reconnected[n]
                    webhook(reauth_event(old, new, name_of[old])).post(terra).raise_for_status()
                    webhook(deauth_event(revoked[n], name_of[revoked[n]])).post(terra).raise_for_status()
                    tables.remove_connections([deleted[n]])
                else:
                    webhook(auth_event(new, f"{reference_id}-new")).post(terra).raise_for_status()
                has_begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert has_begun.wait(60)
        delivered = [found for page in pages(api, limit, include="revoked") for found in page["connections"]]
    finally:
        is_over.set()
        writer.join()
        tables.remove_connections(written)
    ids = {found["connection_id"] for found in delivered}
    assert {connection_id_of(user_id) for user_id in (*reconnected, *revoked, *kept)} <= ids


def test_a_connection_that_moves_behind_the_cursor_is_delivered(
    api: httpx.Client, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    """Between two pages each connection gets a new user_id, whose place in the table is random."""
    current = {new_user_id(): f"{reference_id}-{n}" for n in range(20)}
    roots = {name: user_id for user_id, name in current.items()}
    tables.add_connections(stored(user_id, name) for user_id, name in current.items())
    written = list(current)
    delivered: dict[str, str] = {}
    for number, page in enumerate(pages(api, 5)):
        delivered |= {found["connection_id"]: found["user_id"] for found in page["connections"]}
        for old, name in list(current.items() if number < 8 else ()):
            new = new_user_id()
            assert webhook(reauth_event(old, new, name)).post(browser).status_code == httpx.codes.OK
            del current[old]
            current[new] = name
            written.append(new)
    assert {connection_id_of(root) for root in roots.values()} <= delivered.keys()
    tables.remove_connections(written)


def test_each_connection_is_complete_and_current_on_every_page_on_which_it_is_delivered(
    own: tuple[str, Tables], dynamodb: "DynamoDBClient", users: UserStore, reference_id: str
) -> None:
    table, tables = own
    chain = [new_user_id() for _ in range(12)]
    at = now_s() * 1000
    for n, user_id in enumerate(chain):
        links: dict[str, object] = {"replaced_by": {"at": at, "value": chain[n + 1]}} if n + 1 < len(chain) else {}
        links |= {f"replaces:{chain[n - 1]}": {"at": at}} if n else {}
        tables.add_connections([stored(user_id, reference_id, **links)])
    tables.add_connections(stored(new_user_id(), f"{reference_id}-{n}") for n in range(20))
    store = ConnectionStore(dynamodb, table, users=users)

    def delivered(limit: int) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        start = None
        while True:
            page, start = store.page_of_connections(start=start, limit=limit)
            found += [(each.connection_id, each.user_id) for each in page if each.reference_id == reference_id]
            if start is None:
                return found

    expected = (connection_id_of(chain[0]), chain[-1])
    assert delivered(limit=1) == [expected] * len(chain)
    assert delivered(limit=1000) == [expected]


def test_a_connection_without_a_user_is_delivered(api: httpx.Client, browser: httpx.Client, webhook: Make) -> None:
    user_id = new_user_id()
    webhook(auth_event(user_id, None)).post(browser)
    assert passed(api)[user_id]["reference_id"] is None


def test_announced_and_never_connected_user_ids_are_not_delivered(
    api: httpx.Client, browser: httpx.Client, webhook: Make, tables: Tables, reference_id: str
) -> None:
    disconnected, announced = new_user_id(), new_user_id()
    webhook(deauth_event(disconnected, reference_id)).post(browser)
    at = now_s() * 1000
    item = {"user_id": announced, "version": 1, "ttl": now_s() + 1000}
    tables.add_connections([{**item, "facts": {"announced_for": {"at": at, "value": reference_id}}}])
    assert not {disconnected, announced} & passed(api, include="revoked").keys()


# -- erased users ------------------------------------------------------------------------------------------------------


def test_a_pass_and_facts_show_nothing_that_an_unfinished_erasure_or_a_restore_has_left(
    api: httpx.Client,
    tables: Tables,
    dynamodb: "DynamoDBClient",
    stack: Stack,
    users: UserStore,
    reference_id: str,
) -> None:
    erased, successor, of_erased_user, without_owner, kept = (new_user_id() for _ in range(5))
    at = (now_s() - 5_000) * 1000
    user = f"{reference_id}-erased"
    items = [
        stored(erased, reference_id, replaced_by={"at": at, "value": successor}),
        stored(successor, reference_id, **{f"replaces:{erased}": {"at": at}}),
        stored(of_erased_user, user, replaced_by={"at": at, "value": without_owner}),
        stored(without_owner, None, **{f"replaces:{of_erased_user}": {"at": at}}),
        stored(kept, f"{reference_id}-kept"),
    ]
    tables.add_connections(items)
    ids = [item["user_id"] for item in items]
    assert set(passed(api)) & set(ids) == {successor, without_owner, kept}
    assert {api.get(f"/connections/{user_id}/facts").status_code for user_id in ids} == {httpx.codes.OK}
    ConnectionStore(dynamodb, stack.tables.connections, users=users).put_tombstones([UserId(successor)])
    users.begin_erasure(ReferenceId(user))
    assert set(passed(api)) & set(ids) == {kept}
    statuses = [api.get(f"/connections/{user_id}/facts").status_code for user_id in ids]
    assert statuses == [404, 404, 404, 404, 200]
    tables.remove_connections(ids)


def test_a_user_who_has_connected_again_after_an_erasure_is_delivered(
    api: httpx.Client, tables: Tables, users: UserStore, reference_id: str
) -> None:
    new, newest = new_user_id(), new_user_id()
    users.begin_erasure(ReferenceId(reference_id))
    users.end_erasure(ReferenceId(reference_id), since=datetime.now(UTC))
    later = (now_s() + int(VERIFICATION_LAG.total_seconds())) * 1000
    of_login = stored(new, reference_id, owner={"at": later, "value": reference_id})
    of_login["facts"]["replaced_by"] = {"at": later, "value": newest}
    # A reconnect without the user's name: it has its owner from what it replaced.
    tables.add_connections([of_login, stored(newest, None, **{f"replaces:{new}": {"at": later}})])
    assert passed(api)[newest]["reference_id"] == reference_id
    tables.remove_connections([new, newest])


# -- cursors, limits and callers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["0", "1001", "abc", "", "-1", "1.5", "1e2"])
def test_a_limit_is_a_whole_number_from_1_to_1000(api: httpx.Client, limit: str) -> None:
    response = api.get("/connections", params={"limit": limit})
    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert response.json()["errors"] == [{"field": "limit", "message": "must be a whole number from 1 to 1000"}]


def test_a_missing_reference_id_is_rejected_and_names_the_alternative(api: httpx.Client) -> None:
    [error] = api.get("/connections").json()["errors"]
    assert (error["field"], "give limit instead" in error["message"]) == ("reference_id", True)


def test_a_cursor_is_valid_for_a_day_and_for_its_own_stack(
    api: httpx.Client, handlers: Handlers, loaded: list[str]
) -> None:
    cursors = Cursors(handlers.environments["list_connections"]["PSEUDONYM_KEY"])
    now = datetime.now(UTC)
    foreign = Cursors("0" * 64)
    own = next(pages(api, 1))["next_cursor"]
    wrong = {
        "older than a day": [cursors.issue(loaded[0], now=now - VALID_FOR - timedelta(seconds=5))],
        "has issued": [
            foreign.issue(loaded[0], now=now),
            *("", "x", "null", loaded[0], f"erased:{'0' * 64}", "A" * 60, "A" * 401, "\u00e9" * 40),
            *(own[:-1], own + "A", own.swapcase(), own[::-1], f"{own}=", f" {own}"),
            '{"user_id": {"S": "x"}}',
        ],
    }
    for message, every in wrong.items():
        for cursor in every:
            response = api.get("/connections", params={"cursor": cursor, "limit": 1})
            assert (response.status_code, response.json()["code"]) == (400, "invalid_request"), cursor
            [error] = response.json()["errors"]
            assert error["field"] == "cursor"
            assert message in error["message"]
    twice = api.get(f"/connections?limit=1&cursor={own}&cursor={own}")
    assert (twice.status_code, twice.json()["errors"][0]["field"]) == (400, "cursor")


def test_a_cursor_of_a_deleted_item_continues_and_can_be_repeated(
    api: httpx.Client, tables: Tables, handlers: Handlers, loaded: list[str]
) -> None:
    cursors = Cursors(handlers.environments["list_connections"]["PSEUDONYM_KEY"])
    cursor = cursors.issue(loaded[0], now=datetime.now(UTC))
    before = api.get("/connections", params={"cursor": cursor, "limit": 5}).json()["connections"]
    tables.remove_connections(loaded[:1])
    for _ in range(2):
        assert api.get("/connections", params={"cursor": cursor, "limit": 5}).json()["connections"] == before


def test_a_cursor_contains_no_id(api: httpx.Client, loaded: list[str]) -> None:
    assert loaded
    for page in pages(api, 50):
        if page["next_cursor"]:
            assert re.fullmatch(r"[A-Za-z0-9_-]{30,400}", page["next_cursor"])
            assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}|erased", page["next_cursor"])


@pytest.mark.parametrize(
    "query", ["limit=1", "cursor={cursor}", "limit=1000&include=revoked", "cursor={cursor}&limit=5"]
)
def test_a_user_token_gets_no_page_and_causes_no_read(handlers: Handlers, reference_id: str, query: str) -> None:
    cursor = Cursors(handlers.environments["list_connections"]["PSEUDONYM_KEY"]).issue("x", now=datetime.now(UTC))
    event = http_event("GET", "/connections", query=query.format(cursor=cursor))
    event["requestContext"]["authorizer"]["lambda"] = {"caller": "user", "reference_id": reference_id}
    run = handlers.run("list_connections", event)
    assert (run.status, run.json["code"], run.trips) == (403, "forbidden", [])


@pytest.mark.parametrize("query", ["", "include=revoked", "reference_id={own}"])
def test_a_user_token_never_scans(handlers: Handlers, reference_id: str, query: str) -> None:
    event = http_event("GET", "/connections", query=query.format(own=reference_id))
    event["requestContext"]["authorizer"]["lambda"] = {"caller": "user", "reference_id": reference_id}
    run = handlers.run("list_connections", event)
    assert (run.json, run.trips) == ({"connections": []}, ["dynamodb.Query"])


# -- costs -------------------------------------------------------------------------------------------------------------


def test_a_page_costs_a_scan_and_a_read_of_the_tombstones_of_fifty_connections(
    handlers: Handlers, own: tuple[str, Tables], reference_id: str
) -> None:
    table, tables = own
    tables.add_connections(stored(new_user_id(), f"{reference_id}-{n}") for n in range(100))

    def trips(limit: int) -> list[str]:
        event = http_event("GET", "/connections", query=f"limit={limit}")
        run = handlers.run("list_connections", event, environment={"CONNECTIONS_TABLE": table})
        assert (run.status, len(run.json["connections"])) == (200, min(limit, 100))
        return run.trips

    assert trips(1) == ["dynamodb.Scan", "dynamodb.BatchGetItem"]
    assert trips(1000) == ["dynamodb.Scan", *["dynamodb.BatchGetItem"] * 2]
