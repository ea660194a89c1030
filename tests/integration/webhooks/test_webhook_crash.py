"""The webhook crashes between any two steps, and Terra delivers again: the result is as without a crash."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.handlers import Handlers, kill, pause
from tests.support.tables import Tables
from tests.support.terra_events import auth_event, new_user_id
from tests.support.webhooks import Webhook, now_s

Make = Callable[..., Webhook]

POINTS = [
    "secrets-manager.GetSecretValue:before",
    "secrets-manager.GetSecretValue:after",
    "dynamodb.BatchGetItem:before",
    "dynamodb.BatchGetItem:after",
    "dynamodb.TransactWriteItems:before",
    "dynamodb.TransactWriteItems:after",
    "return",
]
IS_WRITTEN = {"dynamodb.TransactWriteItems:after", "return"}


def failure(user_id: str, reference_id: str) -> dict[str, Any]:
    """Build a failure in the older format, which changes two tables besides the deliveries."""
    return {**auth_event(user_id, reference_id), "status": "error", "reason": "x", "widget_session_id": f"w-{user_id}"}


EVENTS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "auth": auth_event,
    "failure": failure,
}


def test_the_list_of_steps_is_complete(handlers: Handlers, webhook: Make, reference_id: str) -> None:
    for event in EVENTS.values():
        assert handlers.run("terra_webhook", webhook(event(new_user_id(), reference_id)).event()).points == POINTS


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("point", POINTS)
def test_a_crash_leaves_all_or_nothing_and_a_redelivery_completes_the_write(
    handlers: Handlers,
    browser: httpx.Client,
    tables: Tables,
    webhook: Make,
    reference_id: str,
    event: str,
    point: str,
) -> None:
    crashed, undisturbed = new_user_id(), new_user_id()
    t = now_s()
    at = t * 1000 - 5000
    for user_id in (crashed, undisturbed):
        # A fact is stored already, so that a write replaces an item.
        assert webhook(auth_event(user_id, reference_id), t=t - 1, ordering=at - 1000).post(browser).status_code == 200
    before = tables.connection(crashed)
    delivery = webhook(EVENTS[event](crashed, reference_id), t=t, ordering=at)

    run = handlers.run("terra_webhook", delivery.event(), kill(point))

    assert run.was_killed
    assert run.points[-1] == point
    is_written = point in IS_WRITTEN
    assert len(tables.deliveries(delivery.keys)) == (2 if is_written else 0)
    assert (tables.connection(crashed) == before) == (not is_written)
    assert (tables.session(f"widget:w-{crashed}") is not None) == (is_written and event == "failure")

    response = delivery.post(browser)
    assert (response.status_code, response.json()) == (200, {"status": "duplicate" if is_written else "accepted"})
    webhook(EVENTS[event](undisturbed, reference_id), t=t, ordering=at).post(browser)
    assert tables.facts(crashed) == tables.facts(undisturbed)
    assert len(tables.deliveries(delivery.keys)) == 2


@pytest.mark.parametrize("point", POINTS[3:])
def test_a_crash_during_a_concurrent_redelivery_affects_neither(
    handlers: Handlers, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str, point: str
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id))
    with handlers.start("terra_webhook", delivery.event(), pause(point), kill(point)) as running:
        running.until_paused()
        assert delivery.post(browser).status_code == 200
        running.resume()
        assert running.end().was_killed
    item = tables.connection(user_id)
    assert item is not None
    assert item["version"] == 1
    assert len(tables.deliveries(delivery.keys)) == 2


def test_one_complete_delivery_succeeds_after_repeated_crashes(
    handlers: Handlers, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id))
    for point in POINTS[:5]:
        assert handlers.run("terra_webhook", delivery.event(), kill(point)).was_killed
    assert tables.connection(user_id) is None
    assert delivery.post(browser).json() == {"status": "accepted"}
    assert delivery.post(browser).json() == {"status": "duplicate"}
