"""The only module of the local stack and the tools that reads environment variables."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVERYWHERE = "*"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""The names of this machine, to which http is allowed."""

_removed_proxies: list[dict[str, str]] = []
"""The proxies that `remove_aws_settings` removed from this process, for the child processes that use the network."""


def variable(name: str, default: str = "") -> str:
    """Return an environment variable; an empty one counts as not set."""
    return os.environ.get(name) or default  # noqa: TID251  # the rule is meant for the deployed code


def everything() -> dict[str, str]:
    """Return a copy of the whole environment, for a child process that needs the user's own settings."""
    environment = dict(os.environ)  # noqa: TID251  # as above
    if _removed_proxies and environment.get("NO_PROXY") == EVERYWHERE:
        return {name: value for name, value in environment.items() if not _is_proxy(name)} | _removed_proxies[0]
    return environment


def without_aws() -> dict[str, str]:
    """Return the environment for programs that only talk to this machine.

    It has no AWS settings, because nothing local may use a real account, and no proxies: a proxy does not lead back
    to this machine.
    """
    ours = "AWS_PORT"
    kept = {
        name: value
        for name, value in everything().items()
        if name == ours or not (name.startswith("AWS_") or _is_proxy(name))
    }
    # Set explicitly, because macOS also has proxies outside the environment.
    return {**kept, "NO_PROXY": EVERYWHERE, "no_proxy": EVERYWHERE}


def remove_aws_settings() -> None:
    """Do the same to this process, whose boto3 and httpx clients would otherwise use profiles and proxies."""
    kept = without_aws()
    if not _removed_proxies:
        _removed_proxies.append({name: value for name, value in everything().items() if _is_proxy(name)})
    os.environ.clear()  # noqa: TID251  # as above
    os.environ.update(kept)  # noqa: TID251  # as above


def _is_proxy(name: str) -> bool:
    return name.upper().endswith("_PROXY")


def home() -> Path:
    """Return the user's home, or a missing folder if the system knows none (a container's nameless user)."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def cache() -> Path:
    """Return the folder outside git for downloaded files, shared between checkouts."""
    named = Path(variable("XDG_CACHE_HOME"))
    return (named if named.is_absolute() else home() / ".cache") / "terra-connections"
