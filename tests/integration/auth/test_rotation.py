"""Signing secrets are rotated without a deployment: two are active for a while, and matches are counted per secret."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import boto3
import pytest

from local import aws_services
from local.testing import Stack
from tests.support.handlers import Handlers, secret_arns
from tests.support.metrics import metrics
from tests.support.terra_events import auth_event, new_user_id
from tests.support.webhooks import Webhook

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

Put = Callable[[dict[str, str]], None]


@pytest.fixture
def put_signing_secrets(stack: Stack) -> Iterator[Put]:
    """Write the secret, and restore it afterwards."""
    client: SecretsManagerClient = boto3.client(
        "secretsmanager",
        endpoint_url=stack.aws_url,
        region_name=stack.region,
        aws_access_key_id=aws_services.CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws_services.CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    arn = secret_arns(stack)["SigningSecrets"]
    before = client.get_secret_value(SecretId=arn)["SecretString"]
    yield lambda values: client.put_secret_value(SecretId=arn, SecretString=json.dumps(values)) and None
    client.put_secret_value(SecretId=arn, SecretString=before)


def test_both_secrets_are_accepted_during_a_rotation(
    handlers: Handlers, webhook: Callable[..., Webhook], put_signing_secrets: Put, reference_id: str
) -> None:
    put_signing_secrets({"old": "one", "new": "two"})
    for name, secret in (("old", "one"), ("new", "two")):
        run = handlers.run("terra_webhook", webhook(auth_event(new_user_id(), reference_id)).but(secret=secret).event())
        assert run.status == 200
        assert [signature["secret"] for signature in metrics(run)["Signatures"]] == [name]


def test_a_withdrawn_secret_is_rejected(
    handlers: Handlers, webhook: Callable[..., Webhook], put_signing_secrets: Put, reference_id: str
) -> None:
    put_signing_secrets({"new": "two"})
    run = handlers.run("terra_webhook", webhook(auth_event(new_user_id(), reference_id)).but(secret="one").event())
    assert run.status == 401
