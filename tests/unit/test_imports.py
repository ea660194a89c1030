"""Imports cost latency: no handler imports modules that it does not need."""

import pytest

from tests.support.environment import loaded
from tools.environment import ROOT

NEEDS: dict[str, set[str]] = {
    "authorize": {"jwt"},  # to read user tokens
    "announce_data": set(),
    "auth_failure": set(),
    "auth_retry": {"httpx"},
    "auth_success": {"httpx"},
    "create_backfill": {"pydantic"},
    "create_mobile_token": {"httpx", "pydantic"},
    "create_replay": {"pydantic"},
    "create_session": {"httpx", "pydantic"},
    "disconnect": {"httpx"},
    "erase_person": {"httpx", "pydantic"},
    "fetch_payload": set(),
    "get_backfill": set(),
    "get_connection": set(),
    "get_facts": set(),
    "get_session": set(),
    "list_connections": set(),
    "list_providers": {"httpx"},
    "publish_data": set(),
    "publish_events": set(),
    "reconcile": set(),
    "run_backfill": {"httpx"},
    "sweep_page": {"httpx"},
    "sync_connections": {"httpx", "pydantic"},
    "terra_webhook": set(),
}
HEAVY = {"httpx", "pydantic", "jwt", "aws_lambda_powertools.event_handler"}


def test_every_function_is_listed() -> None:
    functions = {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
    assert set(NEEDS) == functions, "NEEDS, above, lists each function with the heavy packages that it imports"


@pytest.mark.parametrize(("function", "needed"), NEEDS.items())
def test_a_function_imports_only_what_its_path_needs(function: str, needed: set[str]) -> None:
    assert HEAVY & loaded(function).modules == needed


def test_the_authorizer_loads_the_jwt_packages_only_with_an_issuer() -> None:
    assert HEAVY & loaded("authorize", OIDC_ISSUER="").modules == set()
