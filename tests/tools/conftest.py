"""A replacement for an AWS account, because the local stack runs fewer AWS services."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from local import fetch
from local.aws_services import CREDENTIALS
from local.gateway.http_server import listen
from local.testing import Stack
from tests.support.deployed import Deployed
from tests.support.endpoint import Endpoint
from tests.support.processes import kill_with_descendants
from tests.support.terra import Terra
from tests.support.terra_side import SCOPES, TerraSide
from tests.support.waiting import eventually
from tools import setup
from tools.environment import ROOT
from tools.terra import admin

SERVICES = ("cloudformation", "cloudwatch", "logs", "s3", "secretsmanager", "sns", "sqs")


@pytest.fixture(scope="session")
def account(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack with the AWS services of a deployed one: MiniStack's, including CloudFormation."""
    scratch = tmp_path_factory.mktemp("account")
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    settings = {
        "GATEWAY_PORT": str(port),
        "SERVICES": ",".join(SERVICES),
        "MINISTACK_REGION": stack.region,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "LAMBDA_STRICT": "1",
        "DOCKER_HOST": "unix:///nonexistent",
        "TMPDIR": str(scratch),
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, setup.SIMULATOR))),
        "PATH": os.defpath,
    }
    command = [str(fetch.ministack()), "-m", "local.ministack_server", str(port)]
    with (scratch / "log").open("wb") as log:
        process = subprocess.Popen(command, env=settings, cwd=scratch, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: is_ready(process, url, scratch / "log"), within=300)
        yield replace(stack, aws_url=url)
    finally:
        kill_with_descendants(process)


def is_ready(process: "subprocess.Popen[bytes]", url: str, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return httpx.get(f"{url}/_ministack/health", trust_env=False, timeout=60).is_success
    except httpx.TransportError:
        return False


@pytest.fixture
def plan(
    account: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Deployed:
    """A stack that is not deployed yet."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": account.aws_url, "NO_PROXY": "*"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    return Deployed(account, tmp_path / "samconfig.toml", lambda: capsys.readouterr().out)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def side(
    plan: Deployed,
    terra: Terra,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> TerraSide:
    """A new stack without a signing secret, and an account that has the destination of another stack."""

    def output() -> tuple[str, str]:
        captured = capsys.readouterr()
        return captured.out, captured.err

    monkeypatch.setattr(admin, "PACE", 0.0)
    side = TerraSide(plan.deploy(WebhookUrl=endpoint.url), terra, endpoint, monkeypatch, output)
    side.store({})
    endpoint.secrets = side.stored
    side.authorize(*SCOPES)
    return side
