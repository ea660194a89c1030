"""The Admin token: from TERRA_ADMIN_TOKEN, or by a login in the browser."""

from __future__ import annotations

import platform
import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

import httpx
from pydantic import BaseModel, SecretStr, ValidationError

from tools.environment import variable
from tools.progress import say
from tools.put_secrets import problem_in
from tools.stages import StageError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_Model = TypeVar("_Model", bound=BaseModel)

TOKEN_VARIABLE: Final = "TERRA_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
PREFIX: Final = "terra_at_"
CLIENT_ID: Final = "terra-connections"
GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"


class Started(BaseModel):
    """A login that waits for the user."""

    device_code: SecretStr
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_in: float
    interval: float = 5.0


class Polled(BaseModel):
    """The response to a poll: a token, or why there is none."""

    access_token: SecretStr | None = None
    error: str = ""
    error_description: str = ""


_ENDS: Final = {
    "access_denied": "the login was denied.",
    "expired_token": "the code has expired.",
}


def from_environment() -> SecretStr | None:
    """Return the token of the environment.

    Raises:
        StageError: it is not a token of the Admin API.
    """
    value = variable(TOKEN_VARIABLE).strip()
    if not value:
        return None
    if problem := problem_in(value):
        message = f"{TOKEN_VARIABLE} contains an invalid character or quotes: {problem}."
        raise StageError(message)
    if not value.startswith(PREFIX):
        message = (
            f"{TOKEN_VARIABLE} is not a token of Terra's Admin API ({PREFIX}...): API keys and data tokens do not "
            "work there. Create one in Terra's dashboard, Settings > Personal Access Tokens."
        )
        raise StageError(message)
    return SecretStr(value)


def log_in(
    http: httpx.Client,
    url: str,
    *,
    dev_id: str,
    scopes: Sequence[str],
    sleep: Callable[[float], None] = time.sleep,
) -> SecretStr:
    """Let the user log in by a browser, and return a token that reaches one environment only (RFC 8628).

    Raises:
        StageError: there is no terminal, the login failed, or Terra cannot be reached.
    """
    if not sys.stdin.isatty():
        message = f"{TOKEN_VARIABLE} is not set, and without a terminal there is no login (docs/terra.md)."
        raise StageError(message)
    form = {
        "client_id": CLIENT_ID,
        "scope": " ".join(scopes),
        "requested_dev_ids": dev_id,
        "requester_hostname": platform.node(),
    }
    started = _read(Started, _post(http, f"{url}/auth/device", form))
    say(f"Open {started.verification_uri_complete or started.verification_uri} and enter the code {started.user_code}.")
    poll = {"grant_type": GRANT, "device_code": started.device_code.get_secret_value(), "client_id": CLIENT_ID}
    interval, left = started.interval, started.expires_in
    while left > 0:
        sleep(interval)
        left -= max(interval, 0.1)
        polled = _read(Polled, _post(http, f"{url}/auth/token", poll))
        if polled.access_token is not None:
            return polled.access_token
        if polled.error == "slow_down":
            interval += 5
        elif polled.error != "authorization_pending":
            reason = _ENDS.get(polled.error, f"{polled.error or 'no reason'}.")
            message = f"Terra issues no Admin token: {reason}"
            raise StageError(message)
    message = f"Terra issues no Admin token: {_ENDS['expired_token']}"
    raise StageError(message)


def _post(http: httpx.Client, url: str, form: dict[str, str]) -> object:
    try:
        response = http.post(url, data=form)
    except httpx.TransportError as error:
        message = f"Terra's Admin API cannot be reached at {url}: {one_line(error)}"
        raise StageError(message) from None
    try:
        content = response.json()
    except ValueError:
        content = None
    # Errors of OAuth have the status 400, and are read by the caller.
    if not response.is_success and (response.status_code != HTTPStatus.BAD_REQUEST or "/device" in url):
        said = content.get("error_description") or content.get("error") if isinstance(content, dict) else None
        message = f"Terra starts no login: {url} responds {response.status_code} {said or ''}".rstrip() + "."
        raise StageError(message)
    return content


def _read(model: type[_Model], content: object) -> _Model:
    try:
        return model.model_validate(content)
    except ValidationError:
        message = "Terra's Admin API responds to the login with something that is not a login."
        raise StageError(message) from None
