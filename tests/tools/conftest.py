"""A replacement for an AWS account, because the local stack runs fewer AWS services."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from local import fetch
from local.gateway.http_server import listen
from local.testing import Stack
from tests.support.processes import kill_with_descendants
from tests.support.waiting import eventually
from tools import setup
from tools.environment import ROOT

SERVICES = ("cloudformation", "cloudwatch", "s3", "secretsmanager", "sns", "sqs")


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
