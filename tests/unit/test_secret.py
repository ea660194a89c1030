"""The integration suite uses the real Secrets Manager. This one fails on demand, which the real one cannot."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import Stubber

from terra_connections.errors import Misconfigured
from terra_connections.secret import KEPT_FOR, Secret

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:test"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def client() -> "SecretsManagerClient":
    return boto3.client("secretsmanager", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")


@pytest.fixture
def manager(client: "SecretsManagerClient") -> Iterator[Stubber]:
    with Stubber(client) as stubber:
        yield stubber


def says(manager: Stubber, text: str) -> None:
    manager.add_response("get_secret_value", {"SecretString": text}, {"SecretId": ARN})


def test_it_is_read_once_and_again_after_minutes(client: "SecretsManagerClient", manager: Stubber) -> None:
    clock = Clock()
    secret = Secret(client, ARN, clock=clock)
    says(manager, '{"a": "1"}')
    assert secret.value("a") == "1"
    clock.now = KEPT_FOR.total_seconds() - 1
    assert secret.value("a") == "1"
    says(manager, '{"a": "2"}')
    clock.now += 1
    assert secret.value("a") == "2"


def test_the_last_value_serves_while_secrets_manager_is_down(client: "SecretsManagerClient", manager: Stubber) -> None:
    clock = Clock()
    secret = Secret(client, ARN, clock=clock)
    says(manager, '{"a": "1"}')
    secret.values()
    clock.now = KEPT_FOR.total_seconds()
    manager.add_client_error("get_secret_value", "InternalServiceError", http_status_code=500)
    assert secret.value("a") == "1"


def test_one_that_was_never_read_is_no_value(client: "SecretsManagerClient", manager: Stubber) -> None:
    manager.add_client_error("get_secret_value", "ResourceNotFoundException")
    with pytest.raises(Misconfigured):
        Secret(client, ARN).values()


@pytest.mark.parametrize("text", ["hunter2", "[]", "{}", '{"a": ""}', '{"a": 1}', '"hunter2"'])
def test_a_malformed_one_is_told_without_being_quoted(
    client: "SecretsManagerClient", manager: Stubber, text: str
) -> None:
    says(manager, text)
    with pytest.raises(Misconfigured) as raised:
        Secret(client, ARN).values()
    assert "hunter2" not in f"{raised.value!r} {raised.value.__cause__!r}"


ODD = [
    "\u201ckey\u201d",
    "key\u00a0",
    "key\n",
    " key",
    "k ey",
    "k\u200bey",
    "\ufeffkey",
    "schl\u00fcssel",
    "\x00",
    "\ud800",
]


@pytest.mark.parametrize("odd", ODD)
def test_a_value_with_a_character_that_no_key_has_is_none(
    client: "SecretsManagerClient", manager: Stubber, odd: str
) -> None:
    says(manager, json.dumps({"api_key": odd}))
    with pytest.raises(Misconfigured) as raised:
        Secret(client, ARN).value("api_key")
    assert odd not in str(raised.value)


@pytest.mark.parametrize("odd", ODD)
def test_a_malformed_value_costs_only_itself(client: "SecretsManagerClient", manager: Stubber, odd: str) -> None:
    says(manager, json.dumps({"old": "0123~!\"'", "new": odd}))
    secret = Secret(client, ARN)
    assert dict(secret.values()) == {"old": "0123~!\"'"}
    with pytest.raises(Misconfigured):
        secret.value("new")


def test_empty_values_are_none(client: "SecretsManagerClient", manager: Stubber) -> None:
    says(manager, '{"empty": "", "real": "x"}')
    secret = Secret(client, ARN)
    assert dict(secret.values()) == {"real": "x"}
    with pytest.raises(Misconfigured):
        secret.value("empty")
