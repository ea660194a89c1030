"""Selects the Terra of the local stack: the simulator, or the one that TERRA_* in the environment names.

Each variable that is not set has the simulator's value. Values are never printed: a URL may contain a password, too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from local.processes import StackError
from tools.environment import LOOPBACK, variable

API_URL: Final = "TERRA_API_URL"
WIDGET_URL: Final = "TERRA_WIDGET_URL"
DEV_ID: Final = "TERRA_DEV_ID"
API_KEY: Final = "TERRA_API_KEY"
SIGNING_SECRET: Final = "TERRA_SIGNING_SECRET"  # noqa: S105 - the name of a variable
VARIABLES: Final = (API_URL, WIDGET_URL, DEV_ID, API_KEY, SIGNING_SECRET)

_URL: Final = re.compile(r"https?://[!-~]+", re.ASCII)
_DEV_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_SECRET: Final = re.compile(r"[!-~]+", re.ASCII)


@dataclass(frozen=True)
class TerraAccount:
    """A Terra API, and the credentials for it.

    Attributes:
        is_simulator: whether every call goes to the simulator of this stack.
    """

    api_url: str
    widget_url: str
    dev_id: str
    api_key: str
    signing_secret: str
    is_simulator: bool

    @property
    def urls_here(self) -> list[str]:
        """The http addresses on this machine, without their paths."""
        parts = [urlsplit(url) for url in (self.api_url, self.widget_url)]
        return [f"http://{each.netloc}" for each in parts if each.scheme == "http" and each.port]


def read(simulator_url: str, *, dev_id: str, api_key: str, signing_secret: str) -> TerraAccount:
    """Read the environment; the arguments are the simulator's own values.

    Raises:
        StackError: a value is unusable, or another Terra is named without what it needs.
    """
    defaults = {
        API_URL: f"{simulator_url}/api/v2",
        WIDGET_URL: f"{simulator_url}/api/widget/session",
        DEV_ID: dev_id,
        API_KEY: api_key,
        SIGNING_SECRET: signing_secret,
    }
    given = check()
    chosen = defaults | given
    if urlsplit(chosen[API_URL]).hostname not in LOOPBACK:
        missing = [name for name in (WIDGET_URL, DEV_ID, API_KEY) if name not in given]
        if missing:
            message = f"{API_URL} names another Terra, which needs {' and '.join(missing)}, too (docs/local.md)."
            raise StackError(message)
    return TerraAccount(
        api_url=chosen[API_URL].rstrip("/"),
        widget_url=chosen[WIDGET_URL],
        dev_id=chosen[DEV_ID],
        api_key=chosen[API_KEY],
        signing_secret=chosen[SIGNING_SECRET],
        is_simulator=not given.keys() & {API_URL, WIDGET_URL},
    )


def check() -> dict[str, str]:
    """Return the variables that are set. Called before anything is fetched, so that a mistake is reported at once.

    Raises:
        StackError: a value is unusable.
    """
    given = {name: value for name in VARIABLES if (value := variable(name))}
    for name in (API_URL, WIDGET_URL):
        if name in given and not is_address(given[name]):
            message = (
                f"{name} is not an address that can be used: it begins with https:// (or http:// for a Terra on this "
                "machine), and has no user name, query or fragment."
            )
            raise StackError(message)
    if DEV_ID in given and not _DEV_ID.fullmatch(given[DEV_ID]):
        message = f"{DEV_ID} is not a dev-id: it has 1 to 128 letters, digits, dots, dashes and underscores."
        raise StackError(message)
    for name in (API_KEY, SIGNING_SECRET):
        if name in given and not _SECRET.fullmatch(given[name]):
            message = f"{name} has spaces or other characters that no key has: it was copied with something else."
            raise StackError(message)
    return given


def is_address(value: str) -> bool:
    """Return whether a value is an https URL, or an http one of this machine, without password, query and fragment."""
    if not _URL.fullmatch(value):
        return False
    try:
        parts = urlsplit(value)
        is_known = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    is_safe = parts.scheme == "https" or parts.hostname in LOOPBACK
    return is_known and is_safe and not (parts.query or parts.fragment or "@" in parts.netloc)
