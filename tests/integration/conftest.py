"""Fixtures: handlers in separate processes, the tables behind them, and Terra's deliveries."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from local.testing import Stack
from terra_connections.users.pseudonym import Pseudonyms
from terra_connections.users.store import UserStore
from tests.support.api import connections_of
from tests.support.handlers import Handlers, running_handlers
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.waiting import eventually
from tests.support.webhooks import Webhook, as_bytes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(scope="session")
def handlers(stack: Stack) -> Iterator[Handlers]:
    with running_handlers(stack) as running:
        yield running


@pytest.fixture(scope="session")
def tables(stack: Stack, dynamodb: "DynamoDBClient") -> Tables:
    return Tables(dynamodb, stack)


@pytest.fixture(scope="session")
def webhook(stack: Stack) -> Callable[..., Webhook]:
    """Make a delivery, signed with the stack's secret."""

    def make(body: object, **details: Any) -> Webhook:  # noqa: ANN401 - any field of Webhook
        return Webhook(as_bytes(body), stack.signing_secret, **details)

    return make


@pytest.fixture
def user_id(api: httpx.Client, terra: Terra, reference_id: str) -> str:
    """Return the user_id of a connection of the test's user."""
    user = terra.connect(reference_id)
    eventually(lambda: connections_of(api, reference_id))
    return str(user["user_id"])


@pytest.fixture
def users(handlers: Handlers, stack: Stack, dynamodb: "DynamoDBClient") -> UserStore:
    """The store of users, configured as in the functions."""
    return UserStore(
        dynamodb,
        connections_table=stack.tables.connections,
        sessions_table=stack.tables.sessions,
        pseudonyms=Pseudonyms(handlers.environments["erase_person"]["PSEUDONYM_KEY"]),
    )
