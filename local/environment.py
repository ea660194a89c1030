"""The one place where the local stack reads the environment it was started in."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def variable(name: str, default: str = "") -> str:
    """Return a variable of the environment; an empty one counts as not set."""
    return os.environ.get(name) or default  # noqa: TID251  # the rule's aim is the deployed code


def everything() -> dict[str, str]:
    """Return a copy of the whole environment, for a child that needs the user's own settings."""
    return dict(os.environ)  # noqa: TID251  # as above


def without_aws() -> dict[str, str]:
    """Return the environment less what concerns AWS: nothing local may use a real account, not even by mistake."""
    ours = "AWS_PORT"
    kept = {name: value for name, value in everything().items() if name == ours or not name.startswith("AWS_")}
    loopback = "127.0.0.1,localhost"
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = f"{kept[name]},{loopback}" if kept.get(name) else loopback
    return kept


def forget_aws() -> None:
    """Do the same to this very process, whose boto3 clients would otherwise look for profiles and proxies."""
    kept = without_aws()
    os.environ.clear()  # noqa: TID251  # as above
    os.environ.update(kept)  # noqa: TID251  # as above


def cache() -> Path:
    """Return the folder outside git where fetched things are kept and shared between checkouts."""
    return Path(variable("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "terra-connections"
