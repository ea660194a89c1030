"""A selection of the orders that tests/unit tries in memory, over HTTP and the tables, against the same oracle."""

import itertools
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

import httpx
import pytest

from tests.support.api import create_session, query_of, session_status
from tests.support.handlers import Handlers, kill
from tests.support.oracle import TWO_MINUTES, Asked, Attempt, Heard, Returned, Seen, Told, World, taken
from tests.support.scenarios import Story, Teller, everything
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.webhooks import Webhook, now_s

PEOPLE = ("alice", "bob")
LISTS = tuple(itertools.product(PEOPLE, ({}, {"include": "revoked"})))
POINTS = (
    "dynamodb.BatchGetItem:before",
    "dynamodb.BatchGetItem:after",
    "dynamodb.TransactWriteItems:before",
    "dynamodb.TransactWriteItems:after",
    "return",
)


class Reader:
    """Reads the API's view and compares it with the oracle's."""

    def __init__(self, api: httpx.Client, teller: Teller) -> None:
        self._api = api
        self._teller = teller
        self._ids: dict[str, str] = {}

    def check(self, heard: Iterable[Heard]) -> None:
        world = World(frozenset(heard))
        for user_id in sorted(world.user_ids):
            answer = self._api.get(f"/connections/{user_id}")
            expected = world.connection(user_id)
            if expected is None:
                assert answer.status_code == httpx.codes.NOT_FOUND
            else:
                self._compare(answer.json(), expected)
        for reference_id, query in LISTS:
            whose = str(self._teller.name(reference_id))
            shown = self._api.get("/connections", params={"reference_id": whose, **query}).json()["connections"]
            for connection, seen in zip(shown, world.listing(whose, include_revoked="include" in query), strict=True):
                self._compare(connection, seen)

    def _compare(self, shown: dict[str, Any], seen: Seen) -> None:
        assert self._ids.setdefault(seen.root, shown["connection_id"]) == shown["connection_id"]
        assert len(set(self._ids.values())) == len(self._ids)
        # Terra's responses have a position in milliseconds, and are rounded twice.
        assert abs(milliseconds(shown["connected_at"]) - seen.connected_at) <= 1
        assert (
            shown["user_id"],
            shown["reference_id"],
            shown["provider"],
            shown["status"],
            tuple(shown["scopes"]),
        ) == (seen.user_id, seen.reference_id, seen.provider, seen.status, seen.scopes)


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def story_again(name: str, number: int) -> tuple[Teller, Story]:
    """Return the same scenario with new users and connections."""
    teller = Teller(begins=now_s() - 3600, tag=f"{uuid4()}-")
    return teller, everything(teller)[name][number]


def stories_of_webhooks_alone() -> list[tuple[str, int]]:
    return [
        (name, number)
        for name, stories in everything(Teller(begins=0)).items()
        for number, story in enumerate(stories)
        if all(isinstance(heard, Told) for heard in story.heard)
    ]


def webhook_of(told: Told, secret: str) -> Webhook:
    return Webhook(told.body.encode(), secret, t=told.t, trace_id=told.trace, ordering=told.ordering)


@pytest.mark.parametrize("half", [0, 1])
def test_the_api_returns_the_oracle_s_view_for_any_order_of_webhooks(
    api: httpx.Client,
    browser: httpx.Client,
    webhook: Callable[..., Webhook],
    capsys: pytest.CaptureFixture[str],
    half: int,
) -> None:
    secret = webhook({}).secret
    chosen = stories_of_webhooks_alone()[half::2]
    for name, number in chosen:
        teller, story = story_again(name, number)
        dice = random.Random(f"{name} {number}")  # noqa: S311 - a repeatable choice
        order = [*story.heard, dice.choice(story.heard)]
        dice.shuffle(order)
        for heard in order:
            assert isinstance(heard, Told)
            assert webhook_of(heard, secret).post(browser).status_code == httpx.codes.OK
        Reader(api, teller).check(taken(order))
    with capsys.disabled():
        print(f"\n{len(chosen)} orders over HTTP", end=" ")  # noqa: T201 - reports the test's size
    assert len(chosen) in {45, 46}


# -- with redirects and syncs ------------------------------------------------------------------------------------------


class Login:
    """A reconnect by a login that succeeded at the simulator, and all inputs that it can cause."""

    def __init__(self, api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, secret: str) -> None:
        self._api, self._browser, self._tables, self._secret = api, browser, tables, secret
        self.teller = Teller(begins=now_s(), tag=f"{uuid4()}-")
        self._person = str(self.teller.name("alice"))
        self.session = create_session(api, self._person)
        calls = terra.calls("/auth/authenticateUser")
        [call] = [call for call in calls if call["body"]["reference_id"] == self._person]
        self._success, self._failure = (
            query_of(call["body"][f"auth_{outcome}_redirect_url"]) for outcome in ("success", "failure")
        )
        item = self._item()
        created_at = int(item["created_at"])
        self._user_id = str(item["user_id"])
        self.attempt = Attempt(item["session_id"], self._person, "FITBIT", self._user_id, created_at)
        terra.change(self._user_id, is_authenticated=True)
        self.heard: set[Heard] = {self.teller.announced(self.attempt)}

    @property
    def parts(self) -> list[Callable[[], None]]:
        new = {"user_id": self._user_id, "provider": "FITBIT", "reference_id": self._person, "scopes": "A"}
        old = {**new, "user_id": self.teller.name("old")}
        auth = {"type": "auth", "status": "success", "user": new}
        return [
            lambda: self._deliver(self.teller.auth("old", -1000, scopes="B")),
            lambda: self._deliver(self.teller.told(1, auth)),
            lambda: self._deliver(self.teller.told(1, {"type": "user_reauth", "new_user": new, "old_user": old})),
            self._succeed,
            self._fail,
            self._sync,
        ]

    def _deliver(self, told: Told) -> None:
        assert webhook_of(told, self._secret).post(self._browser).status_code == httpx.codes.OK
        self.heard.add(told)

    def _succeed(self) -> None:
        answer = self._browser.get("/auth/success", params={**self._success, "user_id": self._user_id})
        assert answer.status_code in {200, 303}
        item = self._item()
        if item.get("confirmed_user_ids"):
            self._asked(self._user_id, "authenticated", int(item["asked_at"]))

    def _fail(self) -> None:
        answer = self._browser.get("/auth/failure", params={**self._failure, "reason": "missing_scopes"})
        assert answer.status_code in {200, 303}
        self.heard.add(Returned(self.attempt.session_id, "missing_scopes"))

    def _sync(self) -> None:
        """Terra knows the new connection, and none of the old ones."""
        began = int(time.time() * 1000)
        answer = self._api.post("/connections/sync", json={"reference_id": self._person})
        assert answer.status_code == httpx.codes.OK
        kept = self._positions_since(began, self._user_id)
        self._asked(self._user_id, "authenticated", min(kept, default=began))
        old = str(self.teller.name("old"))
        for asked_at in self._positions_since(began, old):
            self._asked(old, "unknown", asked_at)

    def _asked(self, user_id: str, answer: Literal["authenticated", "unknown"], asked_at: int) -> None:
        asked = Asked(user_id, asked_at, answer)
        if answer == "authenticated":
            # For a user who did not log in on its page, the simulator has no scopes.
            asked = replace(asked, reference_id=self._person, provider="FITBIT")
        self.heard.add(asked)
        if self._user_id in self._item().get("confirmed_user_ids", ()):
            self.heard.add(replace(asked, confirms=self.attempt.session_id))

    def _positions_since(self, began: int, user_id: str) -> set[int]:
        """Return the request times, derived from the stored facts: positions lie two minutes before the request."""
        item = self._tables.connection(user_id)
        positions = {int(fact["at"]) for fact in item["facts"].values()} if item else set()
        if item and "first_connected" in item:
            positions.add(int(item["first_connected"]))
        now = int(time.time() * 1000)
        return {at + TWO_MINUTES for at in positions if began - 1 <= at + TWO_MINUTES <= now + 1}

    def _item(self) -> dict[str, Any]:
        item = self._tables.session(self.session["session_id"])
        assert item is not None
        return item


def test_the_api_returns_the_oracle_s_view_with_redirects_and_syncs_during_a_reconnect(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, webhook: Callable[..., Webhook]
) -> None:
    secret = webhook({}).secret
    orders = list(itertools.permutations(range(6)))[::60]
    assert len(orders) == 12
    for order in orders:
        login = Login(api, browser, terra, tables, secret)
        reader = Reader(api, login.teller)
        for number in order:
            login.parts[number]()
            view, outcome = session_status(api, login.session), World(login.heard).outcome(login.attempt)
            assert view["status"] == outcome.status
            assert view["user_id"] in outcome.user_ids or not outcome.user_ids
            assert view["reason"] in outcome.reasons or not outcome.reasons
        reader.check(login.heard)
        assert view["status"] == "connected"


# -- with processes that are killed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name_of_story", ["a chain that is ended", "auth first", "the new one moves away"])
def test_a_killed_process_leaves_the_durable_facts_and_a_redelivery_completes_them(
    handlers: Handlers,
    api: httpx.Client,
    browser: httpx.Client,
    tables: Tables,
    webhook: Callable[..., Webhook],
    name_of_story: str,
) -> None:
    secret = webhook({}).secret
    names = [(name, story.name) for name, stories in everything(Teller(begins=0)).items() for story in stories]
    name = next(name for name, told in names if told == name_of_story)
    number = [told for of, told in names if of == name].index(name_of_story)
    teller, story = story_again(name, number)
    reader, dice = Reader(api, teller), random.Random(name_of_story)  # noqa: S311 - a repeatable choice
    order: list[Heard] = list(story.heard)
    dice.shuffle(order)
    durable: set[Heard] = set()
    for place, heard in enumerate(order):
        assert isinstance(heard, Told)
        delivery = webhook_of(heard, secret)
        point = POINTS[(place + len(order)) % len(POINTS)]
        assert handlers.run("terra_webhook", delivery.event(), kill(point)).was_killed
        is_durable = len(tables.deliveries(delivery.keys)) == 2
        assert is_durable == (point in {"dynamodb.TransactWriteItems:after", "return"})
        durable |= {heard} if is_durable else set()
        reader.check(durable)
    dice.shuffle(order)
    for heard in order:
        assert isinstance(heard, Told)
        assert webhook_of(heard, secret).post(browser).status_code == httpx.codes.OK
    reader.check(order)
