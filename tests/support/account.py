"""An AWS account on this machine for whole deployments: MiniStack, extended by `tests.support.emulator`.

It runs the functions under the Python of Lambda, checks signatures, role policies and permissions boundaries, and has
one address for the API of each stack.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx
from botocore.config import Config

from local.gateway.http_server import listen
from tests.support.processes import running
from tests.support.waiting import eventually
from tools import pythons, setup
from tools.environment import ROOT

if TYPE_CHECKING:
    import subprocess

REGION = "us-east-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""MiniStack accepts them as those of the account's root user."""


@dataclass(frozen=True)
class Account:
    """A running account.

    Attributes:
        url: the endpoint of every AWS service.
        api_urls: addresses for stacks, as their PublicBaseUrl.
        log: MiniStack's log.
    """

    url: str
    api_urls: tuple[str, ...]
    log: Path

    @property
    def variables(self) -> Mapping[str, str]:
        """The environment variables with which the AWS SDK and SAM use this account."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_DEFAULT_REGION": REGION, **CREDENTIALS}

    def client(self, service: str) -> Any:  # noqa: ANN401 - a client of whichever service
        return boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(read_timeout=120, retries={"total_max_attempts": 2}),
        )


def python() -> Path:
    """Return the Python of MiniStack's environment, which must be Lambda's version: functions run under it.

    Raises:
        SetupError: there is no such Python on this machine.
    """
    interpreter = pythons.find()
    if interpreter is None:
        message = f"The functions of an emulated deployment run under Lambda's Python, and {pythons.MISSING}."
        raise setup.SetupError(message)
    return setup.tool_venv("ministack", "MiniStack for Lambda's Python", interpreter=interpreter) / "python"


@contextmanager
def running_account(scratch: Path, *, stacks: int, certificates: Path) -> Iterator[Account]:
    """Start an account for a number of stacks, and stop it afterwards.

    Args:
        scratch: the folder of its data and its log.
        stacks: the number of addresses for stacks.
        certificates: the only root certificates of HTTPS endpoints to which EventBridge sends events.
    """
    with ExitStack() as held:
        ports = [held.enter_context(listen("127.0.0.1", 0)).getsockname()[1] for _ in range(stacks + 1)]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    settings = {
        "AUTH": "true",
        "GATEWAY_PORT": str(ports[0]),
        "MINISTACK_REGION": REGION,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "SSL_CERT_FILE": str(certificates),
        "DOCKER_HOST": "unix:///nonexistent",
        "TMPDIR": str(scratch),
        "HOME": str(scratch),
        "NO_PROXY": "*",
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, setup.SIMULATOR))),
    }
    account = Account(urls[0], tuple(urls[1:]), scratch / "account.log")
    command = [str(python()), "-m", "tests.support.emulator", *map(str, ports)]
    with running(command, environment=settings, directory=scratch, log=account.log) as process:
        eventually(lambda: is_ready(process, account), within=120)
        yield account


def is_ready(process: "subprocess.Popen[bytes]", account: Account) -> bool:
    assert process.poll() is None, account.log.read_text()
    try:
        return httpx.get(f"{account.url}/_ministack/health", trust_env=False, timeout=60).is_success
    except httpx.TransportError:
        return False


def main() -> int:
    """Install what the account needs, before the tests start."""
    try:
        python()
        setup.sam_program()
    except setup.SetupError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
