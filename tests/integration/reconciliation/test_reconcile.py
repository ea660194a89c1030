"""Sweeps restore lost connections and revoke nothing wrongly, despite failures of Terra or the queue."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local.testing import Stack
from terra_connections.ids import ReferenceId
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.users.store import UserStore
from tests.support.api import connections_of
from tests.support.data import Bucket
from tests.support.handlers import Handlers, kill, pause, results_of
from tests.support.sweeps import (
    LONG_AGO,
    Message,
    Sweeping,
    connect_at_terra,
    connection_item,
    event_of,
    log_record,
    metric_sums,
    outcomes,
)
from tests.support.sweeps import own_sweeping as own_sweeping_of
from tests.support.terra import Terra
from tests.support.terra_events import new_user_id
from tests.support.waiting import BUSY, eventually
from tools import restore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PARTS = 5  # four segments, and Terra's list


@pytest.fixture
def sweeping(handlers: Handlers, dynamodb: "DynamoDBClient", stack: Stack, terra: Terra) -> Iterator[Sweeping]:
    terra.settings(send_webhooks=False)
    with own_sweeping_of(handlers, dynamodb, stack) as own:
        yield own


def on_both_sides(sweeping: Sweeping, terra: Terra, count: int) -> list[str]:
    """Create connections that exist both at Terra and in the table."""
    user_ids = connect_at_terra(terra, count)
    sweeping.load([connection_item(user_id) for user_id in user_ids])
    return user_ids


def vanish(terra: Terra, user_id: str) -> None:
    """Delete a connection at Terra, without a webhook."""
    assert terra.client.delete(f"/_control/users/{user_id}").is_success


def pending_login(terra: Terra, stack: Stack, reference_id: str) -> str:
    """Start a login that is never finished."""
    response = terra.client.post(
        "/api/v2/auth/authenticateUser",
        params={"resource": "FITBIT"},
        json={"reference_id": reference_id},
        headers={"dev-id": stack.terra_dev_id, "x-api-key": stack.terra_api_key},
    )
    assert response.is_success, response.text
    return str(response.json()["user_id"])


def users_at_terra(terra: Terra) -> set[str]:
    return {user["user_id"] for user in terra.client.get("/_control/users").json()}


# -- lost connections --------------------------------------------------------------------------------------------------


def test_a_connection_whose_webhook_was_lost_is_found(sweeping: Sweeping, terra: Terra, reference_id: str) -> None:
    user_id = terra.connect(reference_id)["user_id"]
    began = time.time()
    runs = sweeping.sweep()
    item = sweeping.connection(user_id)
    assert item is not None
    assert item["reference_id"] == reference_id
    assert set(item["facts"]) >= {"connected", "owner", "provider"}
    # The position is two minutes before the request to Terra.
    assert began - 121 <= item["facts"]["connected"]["at"] / 1000 <= time.time() - 120
    assert metric_sums(runs, "Drift") == {"lost_here": 1}
    assert metric_sums(runs, "Sweeps") == {"finished": 1}
    assert metric_sums(sweeping.sweep(), "Drift") == {}


def test_a_connection_that_vanished_at_terra_is_revoked(sweeping: Sweeping, terra: Terra) -> None:
    gone, *others = on_both_sides(sweeping, terra, 3)
    vanish(terra, gone)
    began = time.time()
    runs = sweeping.sweep()
    assert sweeping.revoked() == {gone}
    assert began - 121 <= sweeping.facts(gone)["absent"]["at"] / 1000 <= time.time() - 120
    assert metric_sums(runs, "Drift") == {"lost_at_terra": 1}
    assert metric_sums(runs, "Sweeps") == {"finished": 1}
    assert all(sweeping.connection(other) == connection_item(other) for other in others)
    assert metric_sums(sweeping.sweep(), "Drift") == {}


def test_a_sweep_of_two_sides_that_agree_writes_nothing(sweeping: Sweeping, terra: Terra) -> None:
    user_ids = on_both_sides(sweeping, terra, 3)
    runs = sweeping.sweep()
    assert [sweeping.connection(user_id) for user_id in user_ids] == [connection_item(user_id) for user_id in user_ids]
    assert metric_sums(runs, "Drift") == {}
    assert terra.calls("/userInfo") == []


def test_an_absent_connection_that_terra_lists_again_is_no_longer_revoked(sweeping: Sweeping, terra: Terra) -> None:
    [back, waiting] = connect_at_terra(terra, 2)
    absent = {"absent": {"at": LONG_AGO + 1}}
    sweeping.load([connection_item(back, absent), connection_item(waiting, absent)])
    terra.change(waiting, is_authenticated=False)
    runs = sweeping.sweep()
    assert sweeping.facts(back)["connected"]["at"] > LONG_AGO + 1
    # Terra lists it, but does not report it as authenticated: that only undoes the absence.
    assert sweeping.facts(waiting)["present"]["at"] > LONG_AGO + 1
    assert sweeping.facts(waiting)["connected"]["at"] == LONG_AGO
    assert metric_sums(runs, "Drift") == {"lost_here": 2}


def test_presence_is_written_only_if_it_ends_an_absence(sweeping: Sweeping, terra: Terra) -> None:
    [here, disconnected, troubled] = connect_at_terra(terra, 3)
    items = [
        connection_item(here),
        connection_item(disconnected, {"revoked": {"at": LONG_AGO + 1, "value": "deauth"}}),
        connection_item(troubled, {"error": {"at": LONG_AGO + 1}}),
    ]
    sweeping.load(items)
    sweeping.sweep()
    assert [sweeping.connection(item["user_id"]) for item in items] == items


def test_an_unfinished_login_stays_unconnected_and_is_not_verified_in_every_sweep(
    sweeping: Sweeping, terra: Terra, stack: Stack, reference_id: str
) -> None:
    user_id = pending_login(terra, stack, reference_id)
    assert metric_sums(sweeping.sweep(), "Drift") == {}
    assert sweeping.connection(user_id) is None
    assert len(terra.calls("/userInfo")) == 1
    [waiting] = [item for item in sweeping.sweep_items() if item["session_id"].startswith("sweep:waiting:")]
    assert user_id not in str(waiting)
    assert waiting["ttl"] > waiting["ask_at"]
    day = 24 * 60 * 60
    sweeping.change(waiting["session_id"], since=waiting["since"] - day)
    sweeping.sweep()
    sweeping.sweep()
    assert len(terra.calls("/userInfo")) == 2
    # The login finishes later, and the webhook is lost.
    terra.change(user_id, is_authenticated=True)
    sweeping.change(waiting["session_id"], ask_at=int(time.time()))
    assert metric_sums(sweeping.sweep(), "Drift") == {"lost_here": 1}
    assert sweeping.facts(user_id)["owner"]["value"] == reference_id


def test_a_connection_without_an_owner_is_not_created(sweeping: Sweeping, terra: Terra, reference_id: str) -> None:
    user_id = terra.connect(reference_id)["user_id"]
    terra.change(user_id, reference_id=None)
    assert metric_sums(sweeping.sweep(), "Drift") == {}
    assert sweeping.connection(user_id) is None


def test_an_announced_user_id_counts_as_unknown(
    sweeping: Sweeping, terra: Terra, stack: Stack, reference_id: str
) -> None:
    finished, pending = terra.connect(reference_id)["user_id"], pending_login(terra, stack, reference_id)
    fact = {"announced_for": {"at": LONG_AGO, "value": reference_id}}
    items = [
        {"user_id": user_id, "version": 1, "facts": fact, "ttl": int(time.time()) + 1000}
        for user_id in (finished, pending)
    ]
    sweeping.load(items)
    runs = sweeping.sweep()
    assert sum(log_record(run).get("checked", 0) for run in runs) == 0
    assert metric_sums(runs, "Drift") == {"lost_here": 1}
    assert set(sweeping.facts(finished)) >= {"announced_for", "connected", "owner"}
    item = sweeping.connection(finished)
    assert item is not None
    assert ("ttl" in item, item["reference_id"], item["version"]) == (False, reference_id, 2)
    assert sweeping.connection(pending) == items[1]


def test_an_erased_connection_that_exists_at_terra_is_deauthenticated(
    sweeping: Sweeping, terra: Terra, reference_id: str
) -> None:
    erased, other = (terra.connect(user)["user_id"] for user in (reference_id, f"{reference_id}-other"))
    sweeping.load([connection_item(other)])
    sweeping.put_tombstones(erased)
    runs = sweeping.sweep()
    assert users_at_terra(terra) == {other}
    assert sweeping.connection(erased) is None
    assert metric_sums(runs, "Drift") == {"erased_alive": 1}


def user_store(sweeping: Sweeping) -> UserStore:
    return UserStore(
        sweeping.dynamodb,
        connections_table=sweeping.connections_table,
        sessions_table=sweeping.sessions_table,
        pseudonyms=Pseudonyms(sweeping.handlers.environments["sweep_page"]["PSEUDONYM_KEY"]),
    )


def test_connections_left_by_an_erasure_are_erased_here_and_at_terra(
    sweeping: Sweeping, terra: Terra, stack: Stack, reference_id: str
) -> None:
    bucket = Bucket(stack)
    left, tombstoned, other = (
        str(terra.connect(name, silent=True)["user_id"]) for name in (reference_id, reference_id, f"{reference_id}-2")
    )
    items = {user_id: connection_item(user_id) for user_id in (left, tombstoned, other)}
    for user_id, item in items.items():
        item["reference_id"] = item["facts"]["owner"]["value"] = (
            f"{reference_id}-2" if user_id == other else reference_id
        )
    sweeping.load(list(items.values()))
    user_store(sweeping).begin_erasure(ReferenceId(reference_id))
    sweeping.put_tombstones(tombstoned)
    for user_id in items:
        bucket.put(user_id, 1)
    runs = sweeping.sweep()
    assert [sweeping.connection(user_id) for user_id in (left, tombstoned)] == [None, None]
    assert [len(bucket.of_user(user_id)) for user_id in (left, tombstoned, other)] == [0, 0, 1]
    assert sweeping.connection(other) is not None
    assert {left, tombstoned, other} & users_at_terra(terra) == {other}
    assert metric_sums(runs, "Drift")["erased_alive"] >= 2


def test_a_connection_that_terra_lists_for_a_just_erased_user_is_not_stored(
    sweeping: Sweeping, terra: Terra, reference_id: str
) -> None:
    users = user_store(sweeping)
    users.begin_erasure(ReferenceId(reference_id))
    users.end_erasure(ReferenceId(reference_id), since=datetime.now(UTC))
    user_id = str(terra.connect(reference_id, silent=True)["user_id"])
    sweeping.sweep()
    assert sweeping.connection(user_id) is None
    assert user_id in users_at_terra(terra)
    # The tombstone remains: the next sweep disconnects it at Terra, too.
    sweeping.sweep()
    assert user_id not in users_at_terra(terra)


def test_a_restored_backup_does_not_restore_users_erased_since(
    sweeping: Sweeping, terra: Terra, dynamodb: "DynamoDBClient", handlers: Handlers, stack: Stack, reference_id: str
) -> None:
    kept, erased, returned, tombstone = (f"{reference_id}-{number}" for number in range(4))
    ids = {name: str(terra.connect(name, silent=True)["user_id"]) for name in (kept, erased, returned)}
    items = [{**connection_item(user_id), "reference_id": name} for name, user_id in ids.items()]
    for name, item in zip(ids, items, strict=True):
        item["facts"]["owner"]["value"] = name
    with own_sweeping_of(handlers, dynamodb, stack) as restored:
        restored.load(items)
        restored.put_tombstones(tombstone)
        users = user_store(sweeping)
        users.begin_erasure(ReferenceId(erased))
        users.end_erasure(ReferenceId(erased), since=datetime.now(UTC))
        sweeping.put_tombstones(ids[returned])
        merged = restore.Merged()
        restore.merge(
            dynamodb,
            source=restored.connections_table,
            target=sweeping.connections_table,
            sessions=sweeping.sessions_table,
            key=handlers.environments["sweep_page"]["PSEUDONYM_KEY"],
            merged=merged,
        )
    assert (merged.connections, merged.tombstones) == (3, 1)
    assert [sweeping.connection(ids[name]) is not None for name in (kept, erased, returned)] == [True, False, False]
    assert sweeping.facts(ids[kept]) == items[0]["facts"]
    assert sweeping.connection(f"erased:{hashlib.sha256(tombstone.encode()).hexdigest()}") is not None
    sweeping.sweep()
    assert set(ids.values()) & users_at_terra(terra) == {ids[kept]}


def test_a_restore_keeps_the_later_of_two_tombstones_and_copies_no_expired_one(
    sweeping: Sweeping, dynamodb: "DynamoDBClient", handlers: Handlers, stack: Stack
) -> None:
    now = int(time.time())
    own = {"erased:earlier": now + 100, "erased:later": now + 300}
    others = {"erased:earlier": now + 200, "erased:later": now + 200, "erased:other": now + 200, "erased:old": now - 1}
    with own_sweeping_of(handlers, dynamodb, stack) as restored:
        for table, ttls in ((sweeping.connections_table, own), (restored.connections_table, others)):
            for name, ttl in ttls.items():
                dynamodb.put_item(TableName=table, Item={"user_id": {"S": name}, "ttl": {"N": str(ttl)}})
        merged = restore.Merged()
        restore.merge(
            dynamodb,
            source=restored.connections_table,
            target=sweeping.connections_table,
            sessions=sweeping.sessions_table,
            key=handlers.environments["sweep_page"]["PSEUDONYM_KEY"],
            merged=merged,
        )
    assert str(merged) == "0 connections and 3 tombstones"
    found = {name: sweeping.connection(name) for name in others}
    assert {name: int(item["ttl"]) for name, item in found.items() if item is not None} == {
        "erased:earlier": now + 200,
        "erased:later": now + 300,
        "erased:other": now + 200,
    }


def test_a_replaced_connection_is_neither_verified_nor_restored(sweeping: Sweeping, terra: Terra) -> None:
    [new, old_alive] = connect_at_terra(terra, 2)
    old_gone = new_user_id()
    replaced = {"replaced_by": {"at": LONG_AGO + 1, "value": new}}
    items = [connection_item(new), connection_item(old_alive, replaced), connection_item(old_gone, replaced)]
    sweeping.load(items)
    runs = sweeping.sweep()
    assert [sweeping.connection(item["user_id"]) for item in items] == items
    assert metric_sums(runs, "Drift") == {}


# -- implausible responses of Terra ------------------------------------------------------------------------------------


def test_a_sweep_with_too_many_missing_connections_revokes_nothing(sweeping: Sweeping, terra: Terra) -> None:
    user_ids = on_both_sides(sweeping, terra, 30)
    for user_id in user_ids[:11]:
        vanish(terra, user_id)
    runs = sweeping.sweep()
    assert sweeping.revoked() == set()
    assert metric_sums(runs, "Sweeps") == {"refused": 1}
    assert metric_sums(runs, "Drift") == {}
    assert terra.calls("/userInfo") == []
    # The remaining items contain no user_id.
    assert [user_id for user_id in user_ids if user_id in str(sweeping.sweep_items())] == []
    # With a higher limit, the next sweep queries Terra about them.
    sweeping.sweep(limit="50")
    assert sweeping.revoked() == set(user_ids[:11])


def test_a_sweep_with_all_connections_missing_revokes_nothing(sweeping: Sweeping, terra: Terra) -> None:
    user_ids = [new_user_id() for _ in range(4)]
    sweeping.load([connection_item(user_id) for user_id in user_ids])
    runs = sweeping.sweep(limit="100")
    assert sweeping.revoked() == set()
    assert metric_sums(runs, "Sweeps") == {"refused": 1}
    assert terra.calls("/userInfo") == []


def test_an_empty_list_of_terra_revokes_nothing(sweeping: Sweeping, terra: Terra) -> None:
    on_both_sides(sweeping, terra, 4)
    terra.fault("/bulkUserInfo", "wrong_shape", body=[])
    terra.fault("/subscriptions", "wrong_shape", body={"data": {"next": None, "max_page": 0, "results": []}})
    runs = sweeping.sweep(limit="100")
    assert sweeping.revoked() == set()
    assert metric_sums(runs, "Sweeps") == {"refused": 1}


def test_a_connection_missing_from_the_list_but_known_to_terra_is_not_revoked(sweeping: Sweeping, terra: Terra) -> None:
    [left_out, listed] = on_both_sides(sweeping, terra, 2)
    terra.fault("/bulkUserInfo", "wrong_shape", body=[{"user_id": listed}])
    runs = sweeping.sweep()
    assert sweeping.revoked() == set()
    assert metric_sums(runs, "Sweeps") == {"finished": 1}
    assert [call["query"]["user_id"] for call in terra.calls("/userInfo")] == [left_out]


def test_a_list_request_with_a_404_is_split(sweeping: Sweeping, terra: Terra) -> None:
    user_ids = on_both_sides(sweeping, terra, 12)
    vanish(terra, user_ids[0])
    terra.fault("/bulkUserInfo", "problem", status=404, times=1)
    runs = sweeping.sweep()
    assert sweeping.revoked() == {user_ids[0]}
    assert metric_sums(runs, "Sweeps") == {"finished": 1}


UNUSABLE: list[tuple[str, dict[str, Any]]] = [
    ("html", {}),
    ("html", {"status": 200}),
    ("empty", {}),
    ("empty", {"status": 200}),
    ("malformed", {}),
    ("wrong_shape", {}),
    ("wrong_shape", {"body": [{"no": "user_id"}]}),
    ("wrong_shape", {"body": {"users": None}}),
    ("wrong_shape", {"body": {"data": {"results": []}}}),
    ("wrong_shape", {"body": {"data": {"next": 0, "results": []}}}),
    ("legacy", {"status": 200}),
    ("problem", {"status": 401}),
    ("problem", {"status": 503}),
    ("disconnect", {}),
]


@pytest.mark.parametrize(("path", "task"), [("/bulkUserInfo", "ours"), ("/subscriptions", "theirs")])
def test_an_unusable_list_returns_its_page_to_the_queue(sweeping: Sweeping, terra: Terra, path: str, task: str) -> None:
    gone, *_ = on_both_sides(sweeping, terra, 20)
    vanish(terra, gone)
    assert sweeping.has_started()
    message = sweeping.next_of(task)
    before = sweeping.state()
    for kind, details in UNUSABLE:
        terra.fault(path, kind, times=1, **details)
        run = sweeping.process(message)
        assert outcomes([run]) == ["failed"], (kind, details)
        assert log_record(run)["error"] in {"TerraUnavailable", "TerraRejected"}
        assert log_record(run)["task"] == task
        assert sweeping.state() == before
    runs = [sweeping.process(message), *sweeping.process_all()]
    assert sweeping.revoked() == {gone}
    assert metric_sums(runs, "Sweeps") == {"finished": 1}


def test_an_unusable_list_revokes_nothing(sweeping: Sweeping, terra: Terra) -> None:
    gone, *_ = on_both_sides(sweeping, terra, 3)
    vanish(terra, gone)
    terra.fault("/subscriptions", "html")
    assert sweeping.has_started()
    for message in sweeping.receive_all():
        sweeping.process(message)
    # The page of Terra's list is dead; the others have reported.
    runs = sweeping.process_all()
    assert sweeping.state()["open_parts"] == 1
    assert sweeping.revoked() == set()
    assert metric_sums(runs, "Sweeps") == {}


def test_an_unusable_response_about_a_candidate_revokes_nothing(sweeping: Sweeping, terra: Terra) -> None:
    gone, *_ = on_both_sides(sweeping, terra, 2)
    vanish(terra, gone)
    assert sweeping.has_started()
    message = sweeping.next_of("revoke")
    for kind, details in UNUSABLE:
        terra.fault("/userInfo", kind, times=1, **details)
        assert outcomes([sweeping.process(message)]) == ["failed"], (kind, details)
        assert sweeping.revoked() == set()
        assert sweeping.state()["unsettled"] == 1
    assert outcomes([sweeping.process(message)]) == ["finished"]
    assert sweeping.revoked() == {gone}


def test_every_message_waits_for_the_retry_after(sweeping: Sweeping, terra: Terra) -> None:
    gone, *_ = on_both_sides(sweeping, terra, 2)
    vanish(terra, gone)
    terra.fault("/bulkUserInfo", "rate_limit", retry_after=15, times=1)
    assert sweeping.has_started()
    first = sweeping.receive_all()
    assert len(first) == PARTS
    limited_at: float | None = None
    for message in first:
        run = sweeping.process(message)
        if limited_at is not None:
            assert log_record(run)["outcome"] == "waits"
        elif log_record(run)["outcome"] == "waits":
            limited_at = time.time()
    assert limited_at is not None
    requests = len(terra.client.get("/_control/requests").json())
    assert sweeping.receive(wait_s=0) is None
    assert len(terra.client.get("/_control/requests").json()) == requests
    wait_until = sweeping.state()["wait_until"]
    assert wait_until >= limited_at + 10
    seen = sweeping.receive(wait_s=60)
    assert seen is not None
    assert time.time() >= wait_until
    runs = [sweeping.process(seen), *sweeping.process_all(wait_s=3)]
    assert sweeping.revoked() == {gone}
    assert metric_sums(runs, "Sweeps") == {"finished": 1}


def test_a_long_retry_after_is_split_into_waits_of_15_minutes(sweeping: Sweeping, terra: Terra) -> None:
    on_both_sides(sweeping, terra, 1)
    terra.fault("/subscriptions", "rate_limit", retry_after=3000)
    assert sweeping.has_started()
    runs = sweeping.process_all()
    assert "waits" in outcomes(runs)
    wait = float(sweeping.state()["wait_until"]) - time.time()
    assert 2900 < wait <= 3001
    attributes = sweeping.sqs.get_queue_attributes(QueueUrl=sweeping.queue_url, AttributeNames=["All"])["Attributes"]
    assert int(attributes["ApproximateNumberOfMessagesDelayed"]) >= 1
    # A waiting sweep counts as active: no other sweep replaces it.
    assert not sweeping.has_started()


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_thousands_of_connections_are_swept_in_pages(sweeping: Sweeping, terra: Terra) -> None:
    count = 3_000
    user_ids = connect_at_terra(terra, count + 4)
    known, lost_here, lost_at_terra = user_ids[:count], user_ids[count:], user_ids[:5]
    sweeping.load([connection_item(user_id) for user_id in known])
    sweeping.load([{"user_id": f"erased:{number:064}", "ttl": int(time.time()) + 1000} for number in range(50)])
    for user_id in lost_at_terra:
        vanish(terra, user_id)
    runs = sweeping.sweep()
    assert sweeping.revoked() == set(lost_at_terra)
    assert all(sweeping.facts(user_id)["connected"] for user_id in lost_here)
    assert metric_sums(runs, "Drift") == {"lost_here": 4, "lost_at_terra": 5}
    assert metric_sums(runs, "Sweeps") == {"finished": 1}
    assert sweeping.state()["checked"] >= count
    assert outcomes(runs).count("reported") > count // 300 + count // 500
    assert max(run.seconds for run in runs) < 15 + BUSY
    assert max(len(call["body"]) for call in terra.calls("/bulkUserInfo")) == 100
    assert len(terra.calls("/userInfo")) == 9
    # The remaining items contain no user_id.
    assert [user_id for user_id in user_ids if user_id in str(sweeping.sweep_items())] == []


def test_a_message_that_is_delivered_twice_counts_once(sweeping: Sweeping, terra: Terra) -> None:
    user_ids = on_both_sides(sweeping, terra, 40)
    for user_id in user_ids[:3]:
        vanish(terra, user_id)
    assert sweeping.has_started()
    runs = sweeping.process_all(copies=2)
    assert sweeping.state()["checked"] == 40
    assert sweeping.state()["candidates"] == 3
    assert sweeping.state()["open_parts"] == 0
    assert sweeping.revoked() == set(user_ids[:3])
    assert metric_sums(runs, "Drift") == {"lost_at_terra": 3}


def test_a_message_that_is_processed_twice_concurrently_counts_once(sweeping: Sweeping, terra: Terra) -> None:
    gone, *_ = on_both_sides(sweeping, terra, 12)
    vanish(terra, gone)
    assert sweeping.has_started()
    for message in sweeping.receive_all():
        with ExitStack() as running:
            copies = [
                running.enter_context(
                    sweeping.handlers.start(
                        "sweep_page",
                        event_of(message),
                        pause("dynamodb.TransactWriteItems:before"),
                        environment=sweeping.environment,
                    )
                )
                for _ in range(2)
            ]
            for copy in copies:
                copy.until_paused()
            for copy in copies:
                copy.resume()
            assert sorted(outcomes(results_of(copies))) == ["repeated", "reported"]
    runs = sweeping.process_all()
    assert sweeping.state()["checked"] == 12
    assert sweeping.revoked() == {gone}
    assert metric_sums(runs, "Sweeps") == {"finished": 1}


POINTS = (
    "terra.bulkUserInfo:after",
    "terra.subscriptions:after",
    "terra.userInfo:after",
    "dynamodb.TransactWriteItems:before",
    "dynamodb.TransactWriteItems:after",
    "sqs.SendMessage:before",
    "sqs.SendMessage:after",
    "return",
)


@pytest.mark.parametrize("point", POINTS)
def test_a_killed_step_is_repeated(sweeping: Sweeping, terra: Terra, reference_id: str, point: str) -> None:
    gone, *others = on_both_sides(sweeping, terra, 12)
    vanish(terra, gone)
    lost = terra.connect(reference_id)["user_id"]
    assert sweeping.has_started()
    killed, runs = 0, []
    while (message := sweeping.receive(wait_s=0)) is not None:
        first = sweeping.process(message, kill(point))
        killed += first.was_killed
        # The queue cannot know whether the message was processed.
        runs += [first, sweeping.process(message)]
    assert killed > 0
    runs = [run for run in runs if not run.was_killed]
    # The lost connection may have been found before its segment was scanned.
    assert sweeping.state()["checked"] in (12, 13)
    assert sweeping.state()["open_parts"] == 0
    assert sweeping.revoked() == {gone}
    assert sweeping.facts(lost)["owner"]["value"] == reference_id
    assert metric_sums(runs, "Sweeps")["finished"] >= 1
    assert all(sweeping.connection(other) == connection_item(other) for other in others)


def test_a_killed_schedule_is_repeated(sweeping: Sweeping, terra: Terra) -> None:
    gone, *_ = on_both_sides(sweeping, terra, 3)
    vanish(terra, gone)
    assert sweeping.start("one", kill("sqs.SendMessage#3:before")).was_killed
    assert len(sweeping.receive_all()) == 2
    # Lambda retries an event that got no response.
    assert sweeping.has_started("one")
    assert metric_sums(sweeping.process_all(), "Sweeps") == {"finished": 1}
    assert sweeping.revoked() == {gone}


def test_a_sweep_that_lost_a_message_revokes_nothing_and_is_superseded_by_the_next_one(
    sweeping: Sweeping, terra: Terra
) -> None:
    gone, *_ = on_both_sides(sweeping, terra, 3)
    vanish(terra, gone)
    assert sweeping.has_started("first")
    lost = sweeping.receive()
    assert lost is not None
    runs = sweeping.process_all()
    assert metric_sums(runs, "Sweeps") == {}
    assert sweeping.revoked() == set()
    assert not sweeping.has_started("second")
    sweeping.change("sweep:current", moved_at=int(time.time()) - 3601)
    assert sweeping.has_started("second")
    # The lost message arrives after all, and is discarded.
    assert log_record(sweeping.process(lost))["outcome"] == "superseded"
    runs = sweeping.process_all()
    assert metric_sums(runs, "Sweeps") == {"finished": 1}
    assert sweeping.revoked() == {gone}


def test_a_sweep_does_not_begin_while_another_runs(sweeping: Sweeping, terra: Terra) -> None:
    gone, *_ = on_both_sides(sweeping, terra, 3)
    vanish(terra, gone)
    assert sweeping.has_started("first")
    messages = sweeping.receive_all()
    for message in messages[:3]:
        sweeping.process(message)
    assert not sweeping.has_started("second")
    assert sweeping.state()["sweep_id"] == "first"
    runs = [sweeping.process(message) for message in messages[3:]]
    runs += sweeping.process_all()
    assert metric_sums(runs, "Sweeps") == {"finished": 1}
    assert sweeping.has_started("second")
    assert metric_sums(sweeping.process_all(), "Sweeps") == {"finished": 1}


def test_concurrent_starts_begin_one_sweep(sweeping: Sweeping, terra: Terra) -> None:
    on_both_sides(sweeping, terra, 3)
    with ExitStack() as running:
        starts = [
            running.enter_context(
                sweeping.handlers.start("reconcile", {"id": f"sweep-{number}"}, environment=sweeping.environment)
            )
            for number in range(4)
        ]
        results = [run.result for run in results_of(starts)]
    assert [result["has_started"] for result in results if result].count(True) == 1
    assert len(sweeping.receive_all()) == PARTS


def test_steps_of_an_older_sweep_change_nothing_in_a_newer_one(sweeping: Sweeping, terra: Terra) -> None:
    gone, *_ = on_both_sides(sweeping, terra, 3)
    vanish(terra, gone)
    assert sweeping.has_started("old")
    old: list[Message] = sweeping.receive_all()
    sweeping.change("sweep:current", moved_at=int(time.time()) - 3601)
    # The sweep stalled in the middle of a page, for longer than an hour.
    with sweeping.handlers.start(
        "sweep_page", event_of(old[0]), pause("dynamodb.TransactWriteItems:before"), environment=sweeping.environment
    ) as running:
        running.until_paused()
        assert sweeping.has_started("new")
        before = sweeping.state()
        running.resume()
        assert outcomes([running.end()]) == ["repeated"]
    for message in old:
        assert log_record(sweeping.process(message))["outcome"] == "superseded"
    assert sweeping.state() == before
    assert metric_sums(sweeping.process_all(), "Sweeps") == {"finished": 1}


def test_a_message_that_is_not_a_step_is_returned_to_the_queue(sweeping: Sweeping) -> None:
    run = sweeping.process({"MessageId": "m", "Body": "{}"})
    assert run.result == {"batchItemFailures": [{"itemIdentifier": "m"}]}
    assert log_record(run)["error"] == "ValueError"


def test_the_log_of_a_sweep_contains_no_reference_id_and_no_user_id(
    sweeping: Sweeping, terra: Terra, reference_id: str
) -> None:
    gone, *_ = on_both_sides(sweeping, terra, 2)
    vanish(terra, gone)
    terra.connect(reference_id)
    terra.fault(
        "/subscriptions", "wrong_shape", body={"users": [{"user_id": 1, "reference_id": reference_id}]}, times=1
    )
    log = "".join(run.log for run in sweeping.sweep())
    assert reference_id not in log
    assert gone not in log


# -- the running stack -------------------------------------------------------------------------------------------------


def test_the_schedule_of_the_running_stack_finds_a_connection_without_a_webhook(
    stack: Stack, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.settings(send_webhooks=False)
    user_id = terra.connect(reference_id)["user_id"]
    assert connections_of(api, reference_id) == []
    response = httpx.post(f"{stack.control_url}/schedules/Reconcile", timeout=60)
    assert response.is_success, response.text
    [connection] = eventually(lambda: connections_of(api, reference_id), within=60)
    assert connection["user_id"] == user_id
    assert connection["status"] == "connected"
