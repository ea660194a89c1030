"""`make secrets STAGE=...`: store Terra's API key and signing secret in the secrets that the stage's functions read.

The values are prompted for without echo, or read from TERRA_API_KEY and TERRA_SIGNING_SECRET. They never appear on a
command line, in a file or in a stack parameter. Instead of the API key you may give a data token (terra_dt_...), which
has fewer rights: it needs the scopes auth:write, connections:read, connections:write and providers:read.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from tools import stages
from tools.environment import ROOT, variable
from tools.progress import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_secretsmanager import SecretsManagerClient

API_KEY = "TERRA_API_KEY"
SIGNING_SECRET = "TERRA_SIGNING_SECRET"  # noqa: S105 - the name of a variable
DATA_TOKEN = "terra_dt_"  # noqa: S105 - its prefix
ADMIN_API_PREFIXES = ("terra_at_", "terra_st_")
"""Prefixes of tokens that the data API never accepts."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Store the values that are given; leave the others unchanged."""
    parser = argparse.ArgumentParser(prog="make secrets", description=__doc__)
    parser.add_argument("stage", nargs="?", default="", help="a stage of samconfig.toml")
    parser.add_argument("--name", default="main", help="the signing secret's name; another one is valid beside the old")
    parser.add_argument("--forget", metavar="NAME", help="the signing secret that is no longer valid")
    parser.add_argument("--config", type=Path, default=ROOT / "samconfig.toml")
    options = parser.parse_args(arguments)
    try:
        stage = stages.read(options.stage, options.config)
        outputs = stages.outputs(stage)
        client = stage.session().client("secretsmanager")
        api_key = given(API_KEY, "Terra's API key or data token")
        signing_secret = (
            "" if options.forget else given(SIGNING_SECRET, "The signing secret of Terra's webhook destination")
        )
        if api_key:
            put(client, outputs["TerraSecretArn"], {"api_key": api_key})
            say("Stored Terra's data token." if api_key.startswith(DATA_TOKEN) else "Stored Terra's API key.")
        if signing_secret or options.forget:
            valid = signing_secrets(client, outputs["SigningSecretsArn"])
            valid.pop(options.forget, None)
            if signing_secret:
                valid[options.name] = signing_secret
            put(client, outputs["SigningSecretsArn"], valid)
            names = ", ".join(sorted(valid)) or "none: every webhook is rejected"
            say(f"Valid signing secrets: {names}.")
        is_changed = bool(api_key or signing_secret or options.forget)
        say("Functions use them within two minutes." if is_changed else "Nothing was changed.")
    except stages.StageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except stages.AWS_ERRORS as error:
        sys.stderr.write(f"AWS rejected the request: {stages.one_line(error)}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def given(name: str, what: str, *, empty: str = "keep the stored one") -> str:
    """Return a secret from the environment or the terminal; empty if there is none, for the purpose that is shown."""
    value = variable(name)
    if not value and sys.stdin.isatty():
        value = getpass.getpass(f"{what} (press Enter to {empty}): ")
    value = value.strip()
    if problem := problem_in(value):
        message = f"{what} contains an invalid character or quotes: {problem}."
        raise stages.StageError(message)
    if value.startswith(ADMIN_API_PREFIXES):
        message = (
            f"{what} is a token of Terra's Admin API or dashboard, which the data API rejects: use the API key, or a "
            f"data token ({DATA_TOKEN}...)."
        )
        raise stages.StageError(message)
    return value


def problem_in(value: str) -> str | None:
    """Return what is invalid in a value, with its position, or None; the value itself is not quoted."""
    for place, character in enumerate(value, start=1):
        if not "!" <= character <= "~":
            name = unicodedata.name(character, "a control character")
            return f"character {place} of {len(value)} is U+{ord(character):04X}, {name}"
    return "it is in quotation marks" if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'`" else None


def signing_secrets(client: SecretsManagerClient, arn: str) -> dict[str, str]:
    """Return the signing secrets that are valid now."""
    try:
        stored = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
    except ValueError:
        stored = None
    if not isinstance(stored, dict):
        message = (
            f"{arn} contains no JSON object of names and secrets: store one with `aws secretsmanager put-secret-value`."
        )
        raise stages.StageError(message)
    return stored


def put(client: SecretsManagerClient, arn: str, values: dict[str, str]) -> None:
    """Write a secret's new version."""
    client.put_secret_value(SecretId=arn, SecretString=json.dumps(values))


if __name__ == "__main__":
    raise SystemExit(main())
