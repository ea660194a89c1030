"""Checks that the stack accepts a delivery that is signed with a secret, as `make doctor` does."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import httpx

from terra_connections.secret import KEPT_FOR
from terra_connections.webhooks.signature import sign
from tools.progress import step
from tools.stages import StageError, one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import SecretStr

CACHED_FOR: Final = KEPT_FOR + timedelta(seconds=5)
"""After this time every function has read the signing secrets again."""
GRACE: Final = timedelta(minutes=1)
"""How much longer a stack may reject a new secret, or fail because it has had none before."""
INTERVAL: Final = 5.0  # seconds


def answer(http: httpx.Client, url: str, secret: SecretStr) -> int:
    """Return the status of a signed `healthcheck`, which changes nothing.

    Raises:
        StageError: the URL cannot be reached.
    """
    body = json.dumps({"type": "healthcheck", "status": "success", "message": f"make terra {uuid4()}"}).encode()
    t = str(int(time.time()))
    signature = f"t={t},v1={sign(body, secret.get_secret_value(), t)}"
    try:
        response = http.post(
            url, content=body, headers={"content-type": "application/json", "x-terra-signature": signature}
        )
    except (httpx.TransportError, httpx.InvalidURL) as error:
        message = f"{url} cannot be reached: {one_line(error)} Nothing was changed at Terra; see make doctor."
        raise StageError(message) from None
    return response.status_code


def require(http: httpx.Client, url: str, secret: SecretStr) -> None:
    """Check that the stack accepts the secret now.

    Raises:
        StageError: it does not.
    """
    if (status := answer(http, url, secret)) != httpx.codes.OK:
        raise _refused(url, status)


def until_accepted(
    http: httpx.Client,
    url: str,
    secret: SecretStr,
    *,
    at_least: timedelta,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until every function has read a new secret: at least as long as they keep the old ones.

    Raises:
        StageError: the stack still rejects the secret after that.
    """
    began, longest = time.monotonic(), (at_least + GRACE).total_seconds()
    with step(f"waiting up to {at_least.total_seconds():.0f} s until the functions use the new signing secret"):
        while True:
            status = answer(http, url, secret)
            waited = time.monotonic() - began
            if status == httpx.codes.OK and waited >= at_least.total_seconds():
                return
            may_change = status in {httpx.codes.OK, httpx.codes.UNAUTHORIZED} or httpx.codes.is_server_error(status)
            if not may_change or waited > longest:
                raise _refused(url, status)
            sleep(min(INTERVAL, max(at_least.total_seconds() - waited, 0.2)))


def _refused(url: str, status: int) -> StageError:
    return StageError(
        f"{url} responds {status} to a test delivery that is signed correctly, so nothing was switched to it: run "
        "make doctor, and then this command again."
    )
