"""The other AWS services that the functions call, and no more: MiniStack on the loopback address."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config

from local import fetch
from local.processes import Child, ProcessGroup, StackError, answers
from tools import setup
from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

REGION: Final = "us-east-1"
# Dummy credentials. DynamoDB Local rejects a key with a dash.
CREDENTIALS: Final = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
SERVICES: Final = ("secretsmanager", "sqs", "events", "s3")
"""MiniStack has sixty more; services that are not needed stay off, so that they cannot be misused."""
SECRET_NAMES: Final = ("TerraSecret", "SigningSecrets", "ServiceKeys", "PseudonymKey", "NotifyKey")
"""The logical ids of template.yaml's secrets."""


@dataclass(frozen=True)
class Keys:
    """The random keys of one local stack, kept over restarts."""

    service_key: str
    signing_secret: str
    terra_api_key: str
    pseudonym_key: str
    notify_key: str

    def as_secrets(self) -> dict[str, dict[str, str]]:
        """Return the contents of the template's secrets: JSON objects of name -> value."""
        return {
            "TerraSecret": {"api_key": self.terra_api_key},
            "SigningSecrets": {"local": self.signing_secret},
            "ServiceKeys": {"local": self.service_key},
            "PseudonymKey": {"key": self.pseudonym_key},
            "NotifyKey": {"key": self.notify_key},
        }


def keys(directory: Path) -> Keys:
    """Return the stack's keys, created on the first run; only their owner can read the file."""
    file = directory / "keys.json"
    made = Keys(
        service_key=secrets.token_urlsafe(32),
        signing_secret=secrets.token_hex(32),
        terra_api_key=secrets.token_urlsafe(24),
        pseudonym_key=secrets.token_hex(32),
        notify_key=secrets.token_urlsafe(36),
    )
    try:
        # The file of an older stack lacks keys that were added later.
        held = Keys(**{**asdict(made), **(json.loads(file.read_text()) if file.exists() else {})})
    except (ValueError, TypeError):
        message = (
            f"{file} cannot be read as keys: delete that file, or run make clean, which also deletes the local tables."
        )
        raise StackError(message) from None
    write_private(file, json.dumps(asdict(held), indent=2) + "\n")
    return held


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner can read, atomically."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(file)


async def start_ministack(
    processes: ProcessGroup,
    name: str,
    port: int,
    scratch: Path,
    services: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> Child:
    """Start a MiniStack with these services that rejects foreign web pages, and wait until it responds."""
    # It writes a file with its process id and some data below TMPDIR, and would look for Docker.
    await asyncio.to_thread(scratch.mkdir, parents=True, exist_ok=True)
    settings = {
        "GATEWAY_PORT": str(port),
        "SERVICES": ",".join(services),
        # MiniStack's Lambda would run uploaded code as this user. It is not among the services; this is a safeguard.
        "LAMBDA_STRICT": "1",
        "MINISTACK_REGION": REGION,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "TMPDIR": str(scratch),
        "DOCKER_HOST": "unix:///nonexistent",
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, setup.SIMULATOR))),
    }
    command = [str(fetch.ministack()), "-m", "local.ministack_server", str(port)]
    child = await processes.start(name, command, environment={**settings, **(environment or {})})
    await answers(child, f"http://127.0.0.1:{port}/_ministack/health")
    return child


async def start(
    processes: ProcessGroup, port: int, directory: Path, held: Keys, *, keeps_objects: bool
) -> dict[str, str]:
    """Start the services, create the secrets, and return their ARNs by the template's logical ids.

    Args:
        processes: the processes of the stack.
        port: the port of all services.
        directory: the stack's folder.
        held: the contents of the secrets.
        keeps_objects: whether the objects of buckets survive a restart. Nothing else does.
    """
    kept = {"S3_PERSIST": "1", "S3_DATA_DIR": str(directory / "s3")} if keeps_objects else {}
    await start_ministack(processes, "aws", port, directory / "aws", SERVICES, kept)
    return await asyncio.to_thread(put_secrets, f"http://127.0.0.1:{port}", held)


def put_secrets(endpoint: str, held: Keys) -> dict[str, str]:
    """Create the secrets and return their ARNs."""
    client = boto3.client(
        "secretsmanager",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 2, "mode": "standard"}),
    )
    values = held.as_secrets()
    return {
        name: client.create_secret(Name=f"terra-connections/{name}", SecretString=json.dumps(values[name]))["ARN"]
        for name in SECRET_NAMES
    }
