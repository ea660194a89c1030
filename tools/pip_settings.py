"""The user's pip settings that name package sources, without those that change what is installed or where."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

from tools.environment import everything

if TYPE_CHECKING:
    from pathlib import Path

_SOURCES: Final = frozenset(
    {
        *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "client-cert", "proxy"),
        *("timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir", "keyring-provider"),
    }
)


def environment(python: str | Path) -> dict[str, str]:
    """Return the environment in which this Python's pip installs exactly the requested packages.

    PIP_USER, PIP_TARGET, PIP_NO_BINARY and the like are left out, whether a variable or a file sets them.
    """
    given = {name: value for name, value in everything().items() if not name.startswith("PIP_")}
    given["PIP_CONFIG_FILE"] = os.devnull
    kept = {name: value for name, value in read(python).items() if name in _SOURCES}
    return given | {f"PIP_{name.upper().replace('-', '_')}": value for name, value in kept.items()}


def read(python: str | Path) -> dict[str, str]:
    """Return every setting of this Python's pip, from its files and from the environment, by pip's own names."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "config", "list"]
    given = {name: value for name, value in everything().items() if name != "PIP_PYTHON"}
    listed = subprocess.run(command, env=given, capture_output=True, text=True, check=False).stdout  # noqa: S603 - pip
    values: dict[str, str] = {}
    # pip's own precedence: the file's general part, its part for `install`, the environment.
    for section in ("global.", "install.", ":env:."):
        for line in listed.splitlines():
            name, _, value = line.partition("=")
            if name.startswith(section):
                values[name.removeprefix(section)] = value.strip("'\"").replace("\\n", " ").strip()
    return values
