"""What the commands at Terra share: options, the stage, the token, the question, one line for an error."""

from __future__ import annotations

import argparse
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from tools import put_secrets, stages
from tools.doctor.stack import deployed
from tools.environment import ROOT
from tools.progress import say
from tools.stages import StageError, one_line
from tools.terra import token
from tools.terra.admin import TIMEOUT, AdminApi, admin_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_secretsmanager import SecretsManagerClient

    from tools.doctor.stack import Stack


@dataclass(frozen=True)
class Side:
    """A stage, and Terra's side of it.

    Attributes:
        http: the client for other requests than those of the Admin API.
    """

    stack: Stack
    api: AdminApi
    http: httpx.Client

    @property
    def url(self) -> str:
        """The URL that Terra has to deliver to."""
        return self.stack.outputs["WebhookUrl"]

    def stored_secrets(self) -> dict[str, str]:
        """Return the stack's signing secrets by name."""
        return put_secrets.signing_secrets(self._secrets_manager, self._secret_arn)

    def store_secrets(self, values: dict[str, str]) -> None:
        """Replace the stack's signing secrets."""
        put_secrets.put(self._secrets_manager, self._secret_arn, values)

    @cached_property
    def _secrets_manager(self) -> SecretsManagerClient:
        client: SecretsManagerClient = self.stack.client("secretsmanager")
        return client

    @property
    def _secret_arn(self) -> str:
        return self.stack.outputs["SigningSecretsArn"]


def parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the common options."""
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("stage", nargs="?", default="", help="a stage of samconfig.toml")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--config", type=Path, default=ROOT / "samconfig.toml")
    return parser


def run(command: Callable[[], int]) -> int:
    """Run a command; an expected error is one line."""
    try:
        return command()
    except StageError as error:
        sys.stderr.write(f"{error}\n")
    except stages.AWS_ERRORS as error:
        sys.stderr.write(f"AWS rejected the request: {one_line(error)}\n")
    except KeyboardInterrupt:
        return 130
    return 1


@contextmanager
def side(stage: str, config: Path, scopes: Sequence[str]) -> Iterator[Side]:
    """Find the stage, get a token with the scopes, and check it. The token of a login is revoked at the end.

    Raises:
        StageError: there is no such stage, stack or token, or the token has too few rights.
    """
    stack = deployed(stage, config)
    url, dev_id = admin_url(stack.parameters["TerraApiUrl"]), stack.parameters["TerraDevId"]
    with http_client() as http, authorized(http, url=url, dev_id=dev_id, scopes=scopes) as api:
        yield Side(stack, api, http)


def http_client() -> httpx.Client:
    """Return a client for calls to Terra.

    Raises:
        StageError: the shell's proxies are invalid.
    """
    try:
        return httpx.Client(timeout=TIMEOUT, follow_redirects=False)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        message = f"The HTTP client cannot be created: {one_line(error)} Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY."
        raise StageError(message) from None


@contextmanager
def authorized(
    http: httpx.Client, *, url: str, dev_id: str, scopes: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[AdminApi]:
    """Get a token with the scopes, and check it. The token of a login is revoked at the end.

    Args:
        http: the HTTP client.
        url: the Admin API's address.
        dev_id: the environment.
        scopes: what the command needs.
        optional: what a login asks for in addition.

    Raises:
        StageError: there is no token, or it has too few rights.
    """
    given = token.from_environment()
    asked = (*scopes, *optional)
    api = AdminApi(http, url=url, dev_id=dev_id, token=given or token.log_in(http, url, dev_id=dev_id, scopes=asked))
    try:
        _check(api, dev_id, scopes)
        yield api
    finally:
        if given is None:
            _end(api)


def _end(api: AdminApi) -> None:
    try:
        api.revoke_own_token()
    except StageError as error:
        say(f"The login's token was not revoked ({error}): revoke it in Terra's dashboard.")


def _check(api: AdminApi, dev_id: str, scopes: Sequence[str]) -> None:
    me = api.me()
    if missing := [each for each in scopes if each not in me.scopes]:
        message = f"The Admin token lacks the scopes {', '.join(missing)}: create one with them (docs/terra.md)."
        raise StageError(message)
    if me.dev_ids is not None and dev_id not in me.dev_ids:
        message = (
            f"The Admin token does not reach the environment {dev_id}, only {', '.join(me.dev_ids) or 'none'}: compare "
            "the dev-id."
        )
        raise StageError(message)


def confirmed(question: str, *, is_confirmed: bool) -> bool:
    """Ask before something is changed.

    Raises:
        StageError: there is no terminal to ask on.
    """
    if is_confirmed:
        return True
    if not sys.stdin.isatty():
        message = (
            "Nothing was changed, because there is no terminal to ask on. YES=1 confirms in advance; DRY_RUN=1 shows "
            "the plan only."
        )
        raise StageError(message)
    if input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}:
        return True
    say("Nothing was changed.")
    return False
