"""The account of these tests, a copy of the checkout with its build, and stages that are deployed into it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.support.account import Account, running_account
from tests.support.checkout import Checkout
from tests.support.deployment import Deployment, running_terra

STACKS = 4


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The only authority whose certificates the account trusts."""
    return trustme.CA()


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Account]:
    scratch = tmp_path_factory.mktemp("account")
    certificates = scratch / "roots.pem"
    authority.cert_pem.write_to_path(str(certificates))
    with running_account(scratch, stacks=STACKS, certificates=certificates) as running:
        yield running


@pytest.fixture(scope="session")
def checkout(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout.copy(tmp_path_factory.mktemp("checkout"), account.variables)


@pytest.fixture(scope="session")
def one(account: Account, checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The stage `one`. Its first test deploys it."""
    yield from stage("one", account, checkout, account.api_urls[0], tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="session")
def two(account: Account, checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The stage `two`, with another Terra account."""
    yield from stage("two", account, checkout, account.api_urls[1], tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="session")
def three(account: Account, checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The stage `three`, with a third Terra account."""
    yield from stage("three", account, checkout, account.api_urls[2], tmp_path_factory.mktemp("three"))


def stage(name: str, account: Account, checkout: Checkout, api_url: str, scratch: Path) -> Iterator[Deployment]:
    with running_terra(scratch, webhook_url=f"{api_url}/webhooks/terra") as terra:
        yield Deployment(checkout, account, terra, name, api_url)
