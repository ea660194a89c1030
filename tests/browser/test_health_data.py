"""The user's health data in the demo: from events on the bus, through the consumer's table, to the page."""

import json
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import expect

from local.testing import Stack
from tests.support.api import connections_of
from tests.support.chromium import DESKTOP, OpenPage
from tests.support.data_events import Bucket, Event, client, daily, erased, sleep
from tests.support.demo_page import TIMEOUT, examine, row, sign_in
from tests.support.terra import Terra
from tests.support.waiting import eventually

START = int(time.time() * 1000)


@pytest.fixture(scope="module")
def bucket(stack: Stack) -> Bucket:
    made = Bucket(client(stack, "s3"), f"payloads-{uuid4().hex[:8]}")
    made.s3.create_bucket(Bucket=made.name)
    return made


class Wearable:
    """A connected wearable of a user, whose payloads are announced on the bus as the stack does."""

    def __init__(self, stack: Stack, terra: Terra, api: httpx.Client, bucket: Bucket, reference_id: str) -> None:
        self.user_id: str = terra.connect(reference_id)["user_id"]
        [connection] = eventually(lambda: connections_of(api, reference_id))
        self._stack, self._bucket = stack, bucket
        self._ids = {"connection_id": connection["connection_id"], "reference_id": reference_id}

    def deliver(self, type_: str, body: object, number: int, **more: object) -> None:
        ids = {**self._ids, "user_id": self.user_id}
        publish(self._stack, self._bucket.store(type_, body, START + number, **ids, **more))


def publish(stack: Stack, event: Event) -> None:
    events: Any = client(stack, "events")
    detail = json.dumps(event["detail"])
    bus = stack.event_buses["EventBus"]
    entry = {"EventBusName": bus, "Source": event["source"], "DetailType": event["detail-type"], "Detail": detail}
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0


@pytest.fixture
def wearable(stack: Stack, terra: Terra, api: httpx.Client, bucket: Bucket, reference_id: str) -> Wearable:
    return Wearable(stack, terra, api, bucket, reference_id)


def test_steps_and_sleep_are_shown_as_charts_and_as_a_table(
    chromium: OpenPage, stack: Stack, wearable: Wearable, reference_id: str
) -> None:
    page = chromium(**DESKTOP, locale="en-GB", reduced_motion="reduce")
    errors: list[str] = []
    page.context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    sign_in(page, stack, reference_id)
    expect(page.get_by_text("No data yet.")).to_be_visible(timeout=TIMEOUT)
    expect(row(page, "Fitbit")).to_contain_text("Connected · added just now", timeout=TIMEOUT)
    for number, steps in enumerate((4_000, 11_000, 7_500), 1):
        day = f"2026-07-0{number}"
        wearable.deliver("daily", daily(steps, day=day), number, first_day=day, last_day=day)
    wearable.deliver("sleep", sleep(25_200, ends="2026-07-03T07:00:00+01:00", summary_id="night"), 4)
    # A correction that arrives twice, and an older delivery after it.
    for number, steps in ((6, 8_250), (6, 8_250), (5, 1)):
        wearable.deliver("daily", daily(steps, day="2026-07-03"), number)
    data = page.get_by_role("region", name="Your data")
    expect(data.get_by_text("Steps: 8,250 on 3 Jul 2026")).to_be_visible(timeout=TIMEOUT)
    expect(data.get_by_text("Sleep: 7 h 0 min on 3 Jul 2026")).to_be_visible(timeout=TIMEOUT)
    expect(data.get_by_role("img", name="Steps of the last 3 days")).to_be_visible()
    heights = data.locator(".steps rect").evaluate_all("bars => bars.map(bar => Number(bar.getAttribute('height')))")
    assert [round(height / heights[1] * 11_000) for height in heights] == [4_000, 11_000, 8_250]
    data.get_by_text("The days as a table").click()
    rows = [cells.all_inner_texts() for cells in (each.locator("th, td") for each in data.get_by_role("row").all())]
    assert rows == [
        ["Day", "Steps", "Sleep"],
        ["1 Jul 2026", "4,000", ""],
        ["2 Jul 2026", "11,000", ""],
        ["3 Jul 2026", "8,250", "7 h 0 min"],
    ]
    expect(data.get_by_role("listitem").first).to_contain_text("Fitbit daily", timeout=TIMEOUT)
    expect(row(page, "Fitbit")).to_contain_text("Connected · synced just now", timeout=TIMEOUT)
    expect(data.locator("#deliveries").get_by_role("listitem")).to_have_count(5)
    expect(page.get_by_text("event data_received: sleep")).to_have_count(1, timeout=TIMEOUT)
    examine(page, "data")
    assert errors == []


def test_erased_data_disappears(chromium: OpenPage, stack: Stack, wearable: Wearable, reference_id: str) -> None:
    page = sign_in(chromium(locale="en-GB"), stack, reference_id)
    wearable.deliver("daily", daily(4_000), 1)
    data = page.get_by_role("region", name="Your data")
    expect(data.get_by_text("Steps: 4,000 on 1 Jul 2026")).to_be_visible(timeout=TIMEOUT)
    publish(stack, erased(wearable.user_id, reference_id, START + 100))
    expect(data.get_by_role("img")).to_have_count(0, timeout=TIMEOUT)


def test_the_progress_of_past_data_is_shown_for_each_type(
    chromium: OpenPage, stack: Stack, wearable: Wearable, reference_id: str
) -> None:
    assert wearable.user_id
    page = sign_in(chromium(locale="en-GB"), stack, reference_id)
    page.get_by_role("button", name="Load the last 30 days").click()
    progress = page.get_by_role("list", name="Progress of the past data").get_by_role("listitem")
    expect(progress).to_have_count(7, timeout=TIMEOUT)
    expect(progress.filter(has_text="Fitbit daily")).to_contain_text("complete, 5 of 5", timeout=4 * TIMEOUT)
    expect(progress.filter(has_text="Fitbit athlete")).to_contain_text("complete, 1 of 1", timeout=4 * TIMEOUT)


def test_the_back_end_of_the_demo_returns_data_only_for_a_user_s_token(stack: Stack, reference_id: str) -> None:
    url = f"{stack.demo_url}/data.json"
    for path in ("/data.json", "/reasons.json"):
        for headers in ({}, {"authorization": "Bearer wrong"}):
            assert httpx.get(stack.demo_url + path, headers=headers, timeout=60).status_code in {401, 403}
    body = {"subject": reference_id}
    token = httpx.post(f"{stack.oidc_issuer}/token", json=body, timeout=60).json()["access_token"]
    found = httpx.get(url, headers={"authorization": f"Bearer {token}"}, timeout=60)
    assert found.json() == {"deliveries": [], "connections": [], "last_data": {}}
