"""Imports cost latency: no handler imports modules that it does not need."""

import json
import subprocess
import sys

import pytest

from tests.environment import function_environment
from tools.environment import ROOT

NEEDS: dict[str, set[str]] = {
    "authorize": set(),
    "auth_failure": set(),
    "auth_retry": {"httpx"},
    "auth_success": {"httpx"},
    "create_mobile_token": {"httpx", "pydantic"},
    "create_session": {"httpx", "pydantic"},
    "disconnect": {"httpx"},
    "erase_person": {"httpx", "pydantic"},
    "get_connection": set(),
    "get_session": set(),
    "list_connections": set(),
    "list_providers": {"httpx"},
    "publish_events": set(),
    "reconcile": set(),
    "sweep_page": {"httpx"},
    "sync_connections": {"httpx", "pydantic"},
    "terra_webhook": set(),
}
HEAVY = {"httpx", "pydantic", "jwt", "aws_lambda_powertools.event_handler"}


def test_every_function_is_listed() -> None:
    assert set(NEEDS) == {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}


@pytest.mark.parametrize(("function", "needed"), NEEDS.items())
def test_a_function_imports_only_what_its_path_needs(function: str, needed: set[str]) -> None:
    assert HEAVY & imported(function, OIDC_ISSUER="") == needed


def test_the_authorizer_loads_what_reads_user_tokens_before_the_first_request_and_only_if_there_is_an_issuer() -> None:
    assert HEAVY & imported("authorize") == {"jwt"}


def imported(function: str, **changes: str) -> set[str]:
    """Return the modules that a function has imported once it is ready."""
    environment = function_environment(PYTHONPATH=str(ROOT / "layers/terra_connections"), **changes)
    program = "import handler, json, sys; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "functions" / function,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(json.loads(run.stdout))
