"""The template, and a starting function, reject URLs that would send a secret unencrypted."""

import re

import pytest

from terra_connections.errors import Misconfigured
from terra_connections.settings import Settings
from tests import cloudformation
from tests.environment import function_environment

SAFE = [
    "https://connect.example.com",
    "https://connect.example.com:8443",
    "http://localhost:3000",
    "http://127.0.0.1:3000",
]
WITH_A_PATH = ["https://access.tryterra.co/api/v2", "http://127.0.0.1:4000/api/widget/session", "https://a.example/~b/"]
UNSAFE = [
    "http://connect.example.com",
    "http://localhost.example.com",
    "http://127.0.0.1.example.com",
    "http://10.0.0.1",
    "https://user:password@connect.example.com",
    "https://user@localhost",
    "http://localhost@connect.example.com",
    "https://connect.example.com?x=1",
    "https://connect.example.com#x",
    "https://connect.example.com /x",
    " https://connect.example.com",
    "https://connect.example.com\n",
    "https://connect.example.com\\@evil.example",
    "https://",
    "https:///path",
    "HTTPS//connect.example.com",
    "ftp://connect.example.com",
    "connect.example.com",
]
PARAMETERS = cloudformation.parsed()["Parameters"]
ADDRESSES = [
    ("PUBLIC_BASE_URL", "PublicBaseUrl"),
    ("TERRA_API_URL", "TerraApiUrl"),
    ("TERRA_WIDGET_URL", "TerraWidgetUrl"),
]


def starts(monkeypatch: pytest.MonkeyPatch, **changes: str) -> bool:
    for name, value in function_environment(**changes).items():
        monkeypatch.setenv(name, value)
    try:
        Settings.read()
    except Misconfigured:
        return False
    return True


def takes(parameter: str, value: str) -> bool:
    return re.fullmatch(PARAMETERS[parameter]["AllowedPattern"], value) is not None


@pytest.mark.parametrize(("variable", "parameter"), ADDRESSES)
def test_an_address_that_carries_secrets_readably_is_refused(
    variable: str, parameter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = UNSAFE if variable != "PUBLIC_BASE_URL" else UNSAFE + WITH_A_PATH
    # At a deployment, and, if the environment was changed in another way, when a function starts.
    assert [value for value in wrong if takes(parameter, value)] == []
    assert [value for value in wrong if starts(monkeypatch, **{variable: value})] == []


@pytest.mark.parametrize(("variable", "parameter"), ADDRESSES)
def test_an_https_address_or_one_of_this_machine_is_taken(
    variable: str, parameter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = [*SAFE, ""] if variable == "PUBLIC_BASE_URL" else SAFE + WITH_A_PATH
    assert [value for value in right if not takes(parameter, value)] == []
    assert [value for value in right if not starts(monkeypatch, **{variable: value})] == []


def test_only_a_stack_on_this_machine_reaches_terra_by_another_name_without_tls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # From the stack's containers.
    simulator = "http://host.docker.internal:4000/api/v2"
    assert starts(monkeypatch, TERRA_API_URL=simulator, PUBLIC_BASE_URL="http://127.0.0.1:3000")
    assert not starts(monkeypatch, TERRA_API_URL=simulator, PUBLIC_BASE_URL="https://connect.example.com")
    assert not starts(monkeypatch, TERRA_API_URL=simulator)


def test_a_default_of_the_template_is_one_that_functions_start_with(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, parameter in ADDRESSES:
        assert starts(monkeypatch, **{variable: PARAMETERS[parameter]["Default"]})


def test_the_refusal_names_the_variable_and_repeats_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in function_environment(TERRA_API_URL="https://user:password@terra.example.com").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured, match="TERRA_API_URL must read https://host") as refused:
        Settings.read()
    assert "password" not in str(refused.value)
