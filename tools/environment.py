"""The one place where the local stack reads the environment it was started in."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EVERYWHERE = "*"

_forgotten: list[dict[str, str]] = []
"""The proxies that `forget_aws` took from this process, for the children that reach the network."""


def variable(name: str, default: str = "") -> str:
    """Return a variable of the environment; an empty one counts as not set."""
    return os.environ.get(name) or default  # noqa: TID251  # the rule's aim is the deployed code


def everything() -> dict[str, str]:
    """Return a copy of the whole environment, for a child that needs the user's own settings."""
    environment = dict(os.environ)  # noqa: TID251  # as above
    if _forgotten and environment.get("NO_PROXY") == EVERYWHERE:
        return {name: value for name, value in environment.items() if not _is_proxy(name)} | _forgotten[0]
    return environment


def without_aws() -> dict[str, str]:
    """Return the environment for programs that talk to this machine only.

    It lacks what concerns AWS, because nothing local may use a real account, and every proxy: none leads back here.
    """
    ours = "AWS_PORT"
    kept = {
        name: value
        for name, value in everything().items()
        if name == ours or not (name.startswith("AWS_") or _is_proxy(name))
    }
    # Said in words, because macOS has proxies outside the environment, too.
    return {**kept, "NO_PROXY": EVERYWHERE, "no_proxy": EVERYWHERE}


def forget_aws() -> None:
    """Do the same to this very process, whose boto3 and httpx clients would otherwise look for profiles and proxies."""
    kept = without_aws()
    if not _forgotten:
        _forgotten.append({name: value for name, value in everything().items() if _is_proxy(name)})
    os.environ.clear()  # noqa: TID251  # as above
    os.environ.update(kept)  # noqa: TID251  # as above


def _is_proxy(name: str) -> bool:
    return name.upper().endswith("_PROXY")


def home() -> Path:
    """Return the user's folder; one that is not there where the system knows none (a container's nameless user)."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def cache() -> Path:
    """Return the folder outside git where fetched things are kept and shared between checkouts."""
    named = Path(variable("XDG_CACHE_HOME"))
    return (named if named.is_absolute() else home() / ".cache") / "terra-connections"
