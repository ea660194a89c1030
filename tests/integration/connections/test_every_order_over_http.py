"""A selection of the orders that tests/unit runs in memory, over HTTP and the tables, against the same oracle."""

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
from tests.support.oracle import (
    TWO_MINUTES,
    ConnectionView,
    Input,
    Oracle,
    RedirectInput,
    SessionAttempt,
    VerificationInput,
    WebhookInput,
    stored_inputs,
)
from tests.support.scenarios import Scenario, ScenarioBuilder, everything
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.webhooks import Webhook, now_s

REFERENCE_IDS = ("alice", "bob")
LISTS = tuple(itertools.product(REFERENCE_IDS, ({}, {"include": "revoked"})))
POINTS = (
    "dynamodb.BatchGetItem:before",
    "dynamodb.BatchGetItem:after",
    "dynamodb.TransactWriteItems:before",
    "dynamodb.TransactWriteItems:after",
    "return",
)


class Reader:
    """Reads the API's view and compares it with the oracle's."""

    def __init__(self, api: httpx.Client, builder: ScenarioBuilder) -> None:
        self._api = api
        self._builder = builder
        self._ids: dict[str, str] = {}

    def check(self, inputs: Iterable[Input]) -> None:
        oracle = Oracle(frozenset(inputs))
        for user_id in sorted(oracle.user_ids):
            response = self._api.get(f"/connections/{user_id}")
            expected = oracle.connection(user_id)
            if expected is None:
                assert response.status_code == httpx.codes.NOT_FOUND
            else:
                self._compare(response.json(), expected)
        for name, query in LISTS:
            reference_id = str(self._builder.name(name))
            shown = self._api.get("/connections", params={"reference_id": reference_id, **query}).json()["connections"]
            listed = oracle.listing(reference_id, include_revoked="include" in query)
            for connection, expected in zip(shown, listed, strict=True):
                self._compare(connection, expected)

    def _compare(self, shown: dict[str, Any], expected: ConnectionView) -> None:
        assert self._ids.setdefault(expected.root, shown["connection_id"]) == shown["connection_id"]
        assert len(set(self._ids.values())) == len(self._ids)
        # Terra's responses have a position in milliseconds, and are rounded twice.
        assert abs(milliseconds(shown["connected_at"]) - expected.connected_at) <= 1
        assert (
            shown["user_id"],
            shown["reference_id"],
            shown["provider"],
            shown["status"],
            tuple(shown["scopes"]),
        ) == (expected.user_id, expected.reference_id, expected.provider, expected.status, expected.scopes)


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def new_scenario(name: str, number: int) -> tuple[ScenarioBuilder, Scenario]:
    """Return the same scenario with new users and connections."""
    builder = ScenarioBuilder(begins=now_s() - 3600, tag=f"{uuid4()}-")
    return builder, everything(builder)[name][number]


def scenarios_of_webhooks() -> list[tuple[str, int]]:
    return [
        (name, number)
        for name, scenarios in everything(ScenarioBuilder(begins=0)).items()
        for number, scenario in enumerate(scenarios)
        if all(isinstance(input_, WebhookInput) for input_ in scenario.inputs)
    ]


def webhook_of(delivered: WebhookInput, secret: str) -> Webhook:
    return Webhook(
        delivered.body.encode(), secret, t=delivered.t, trace_id=delivered.trace, ordering=delivered.ordering
    )


@pytest.mark.parametrize("half", [0, 1])
def test_the_api_returns_the_view_of_the_oracle_for_any_order_of_webhooks(
    api: httpx.Client,
    browser: httpx.Client,
    webhook: Callable[..., Webhook],
    capsys: pytest.CaptureFixture[str],
    half: int,
) -> None:
    secret = webhook({}).secret
    chosen = scenarios_of_webhooks()[half::2]
    for name, number in chosen:
        builder, scenario = new_scenario(name, number)
        dice = random.Random(f"{name} {number}")  # noqa: S311 - a repeatable choice
        order = [*scenario.inputs, dice.choice(scenario.inputs)]
        dice.shuffle(order)
        for input_ in order:
            assert isinstance(input_, WebhookInput)
            assert webhook_of(input_, secret).post(browser).status_code == httpx.codes.OK
        Reader(api, builder).check(stored_inputs(order))
    with capsys.disabled():
        print(f"\n{len(chosen)} orders over HTTP", end=" ")  # noqa: T201 - reports the test's size
    assert len(chosen) in {48, 49}


# -- with redirects and syncs ------------------------------------------------------------------------------------------


class Login:
    """A reconnect by a login that succeeded at the simulator, and all inputs that it can cause."""

    def __init__(self, api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, secret: str) -> None:
        self._api, self._browser, self._tables, self._secret = api, browser, tables, secret
        self.builder = ScenarioBuilder(begins=now_s(), tag=f"{uuid4()}-")
        self._reference_id = str(self.builder.name("alice"))
        self.session = create_session(api, self._reference_id)
        calls = terra.calls("/auth/authenticateUser")
        [call] = [call for call in calls if call["body"]["reference_id"] == self._reference_id]
        self._success, self._failure = (
            query_of(call["body"][f"auth_{outcome}_redirect_url"]) for outcome in ("success", "failure")
        )
        item = self._item()
        created_at = int(item["created_at"])
        self._user_id = str(item["user_id"])
        self.attempt = SessionAttempt(item["session_id"], self._reference_id, "FITBIT", self._user_id, created_at)
        terra.change(self._user_id, is_authenticated=True)
        self.inputs: set[Input] = {self.builder.announced(self.attempt)}

    @property
    def parts(self) -> list[Callable[[], None]]:
        new = {"user_id": self._user_id, "provider": "FITBIT", "reference_id": self._reference_id, "scopes": "A"}
        old = {**new, "user_id": self.builder.name("old")}
        auth = {"type": "auth", "status": "success", "user": new}
        return [
            lambda: self._deliver(self.builder.auth("old", -1000, scopes="B")),
            lambda: self._deliver(self.builder.delivery(1, auth)),
            lambda: self._deliver(self.builder.delivery(1, {"type": "user_reauth", "new_user": new, "old_user": old})),
            self._succeed,
            self._fail,
            self._sync,
        ]

    def _deliver(self, delivered: WebhookInput) -> None:
        assert webhook_of(delivered, self._secret).post(self._browser).status_code == httpx.codes.OK
        self.inputs.add(delivered)

    def _succeed(self) -> None:
        response = self._browser.get("/auth/success", params={**self._success, "user_id": self._user_id})
        assert response.status_code in {200, 303}
        item = self._item()
        if item.get("confirmed_user_ids"):
            self._verified(self._user_id, "authenticated", int(item["asked_at"]))

    def _fail(self) -> None:
        response = self._browser.get("/auth/failure", params={**self._failure, "reason": "missing_scopes"})
        assert response.status_code in {200, 303}
        self.inputs.add(RedirectInput(self.attempt.session_id, "missing_scopes"))

    def _sync(self) -> None:
        """Terra knows the new connection, and none of the old ones."""
        began = int(time.time() * 1000)
        response = self._api.post("/connections/sync", json={"reference_id": self._reference_id})
        assert response.status_code == httpx.codes.OK
        stored = self._request_times_since(began, self._user_id)
        self._verified(self._user_id, "authenticated", min(stored, default=began))
        old = str(self.builder.name("old"))
        for requested_at in self._request_times_since(began, old):
            self._verified(old, "unknown", requested_at)

    def _verified(self, user_id: str, result: Literal["authenticated", "unknown"], requested_at: int) -> None:
        verified = VerificationInput(user_id, requested_at, result)
        if result == "authenticated":
            # For a user who did not log in on its page, the simulator has no scopes.
            verified = replace(verified, reference_id=self._reference_id, provider="FITBIT")
        self.inputs.add(verified)
        if self._user_id in self._item().get("confirmed_user_ids", ()):
            self.inputs.add(replace(verified, confirms=self.attempt.session_id))

    def _request_times_since(self, began: int, user_id: str) -> set[int]:
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


def test_redirects_and_syncs_between_the_webhooks_of_a_reconnect_give_the_view_of_the_oracle(
    api: httpx.Client, browser: httpx.Client, terra: Terra, tables: Tables, webhook: Callable[..., Webhook]
) -> None:
    secret = webhook({}).secret
    orders = list(itertools.permutations(range(6)))[::60]
    assert len(orders) == 12
    for order in orders:
        login = Login(api, browser, terra, tables, secret)
        reader = Reader(api, login.builder)
        for number in order:
            login.parts[number]()
            view, outcome = session_status(api, login.session), Oracle(login.inputs).outcome(login.attempt)
            assert view["status"] == outcome.status
            assert view["user_id"] in outcome.user_ids or not outcome.user_ids
            assert view["reason"] in outcome.reasons or not outcome.reasons
        reader.check(login.inputs)
        assert view["status"] == "connected"


# -- with processes that are killed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario_name", ["a chain that is disconnected", "auth first", "the new id moves to another user"]
)
def test_a_process_killed_at_any_point_leaves_the_durable_inputs_and_a_redelivery_completes_them(
    handlers: Handlers,
    api: httpx.Client,
    browser: httpx.Client,
    tables: Tables,
    webhook: Callable[..., Webhook],
    scenario_name: str,
) -> None:
    secret = webhook({}).secret
    names = {
        name: [each.name for each in scenarios] for name, scenarios in everything(ScenarioBuilder(begins=0)).items()
    }
    name = next(name for name, scenarios in names.items() if scenario_name in scenarios)
    builder, scenario = new_scenario(name, names[name].index(scenario_name))
    reader, dice = Reader(api, builder), random.Random(scenario_name)  # noqa: S311 - a repeatable choice
    order: list[Input] = list(scenario.inputs)
    dice.shuffle(order)
    durable: set[Input] = set()
    for index, input_ in enumerate(order):
        assert isinstance(input_, WebhookInput)
        delivery = webhook_of(input_, secret)
        point = POINTS[(index + len(order)) % len(POINTS)]
        assert handlers.run("terra_webhook", delivery.event(), kill(point)).was_killed
        is_durable = len(tables.deliveries(delivery.keys)) == 2
        assert is_durable == (point in {"dynamodb.TransactWriteItems:after", "return"})
        durable |= {input_} if is_durable else set()
        reader.check(durable)
    dice.shuffle(order)
    for input_ in order:
        assert isinstance(input_, WebhookInput)
        assert webhook_of(input_, secret).post(browser).status_code == httpx.codes.OK
    reader.check(order)
