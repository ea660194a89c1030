"""Secrets, with a stub of Secrets Manager that can fail. The integration suite uses an emulated one."""

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


def respond(manager: Stubber, text: str) -> None:
    manager.add_response("get_secret_value", {"SecretString": text}, {"SecretId": ARN})


def test_a_secret_is_cached_for_minutes(client: "SecretsManagerClient", manager: Stubber) -> None:
    clock = Clock()
    secret = Secret(client, ARN, clock=clock)
    respond(manager, '{"a": "1"}')
    assert secret.value("a") == "1"
    clock.now = KEPT_FOR.total_seconds() - 1
    assert secret.value("a") == "1"
    respond(manager, '{"a": "2"}')
    clock.now += 1
    assert secret.value("a") == "2"


def test_the_last_value_is_used_while_secrets_manager_is_down(client: "SecretsManagerClient", manager: Stubber) -> None:
    clock = Clock()
    secret = Secret(client, ARN, clock=clock)
    respond(manager, '{"a": "1"}')
    secret.values()
    clock.now = KEPT_FOR.total_seconds()
    manager.add_client_error("get_secret_value", "InternalServiceError", http_status_code=500)
    assert secret.value("a") == "1"


def test_a_secret_that_cannot_be_read_is_misconfigured(client: "SecretsManagerClient", manager: Stubber) -> None:
    manager.add_client_error("get_secret_value", "ResourceNotFoundException")
    with pytest.raises(Misconfigured):
        Secret(client, ARN).values()


@pytest.mark.parametrize("text", ["hunter2", "[]", "{}", '{"a": ""}', '{"a": 1}', '"hunter2"'])
def test_the_error_for_a_malformed_secret_does_not_quote_it(
    client: "SecretsManagerClient", manager: Stubber, text: str
) -> None:
    respond(manager, text)
    with pytest.raises(Misconfigured) as raised:
        Secret(client, ARN).values()
    assert "hunter2" not in f"{raised.value!r} {raised.value.__cause__!r}"


INVALID = [
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


@pytest.mark.parametrize("invalid", INVALID)
def test_a_value_with_an_invalid_character_is_rejected(
    client: "SecretsManagerClient", manager: Stubber, invalid: str
) -> None:
    respond(manager, json.dumps({"api_key": invalid}))
    with pytest.raises(Misconfigured) as raised:
        Secret(client, ARN).value("api_key")
    assert invalid not in str(raised.value)


@pytest.mark.parametrize("invalid", INVALID)
def test_a_malformed_value_does_not_affect_the_other_values(
    client: "SecretsManagerClient", manager: Stubber, invalid: str
) -> None:
    respond(manager, json.dumps({"old": "0123~!\"'", "new": invalid}))
    secret = Secret(client, ARN)
    assert dict(secret.values()) == {"old": "0123~!\"'"}
    with pytest.raises(Misconfigured):
        secret.value("new")


def test_empty_values_are_ignored(client: "SecretsManagerClient", manager: Stubber) -> None:
    respond(manager, '{"empty": "", "real": "x"}')
    secret = Secret(client, ARN)
    assert dict(secret.values()) == {"real": "x"}
    with pytest.raises(Misconfigured):
        secret.value("empty")
