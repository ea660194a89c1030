"""Find a Python of the version that Lambda runs, and verify it by running it.

A pyenv shim is on PATH whether or not its version is selected, and fails if it is not: the name alone proves nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tools.environment import home as home_folder
from tools.environment import variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LAMBDA = (3, 13)
"""The runtime that template.yaml names."""

MISSING = "no Python 3.13, Lambda's own, was found: .venv/bin/uv python install 3.13 installs one, as pyenv or apt may"

# Requires an ordinary CPython: the free-threaded build needs other wheels.
_PROBE = """
import json, platform, sys, sysconfig
print(json.dumps([sys.implementation.name, bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
                  platform.python_version(), sys.version_info[:2]]))
"""


class Interpreter(NamedTuple):
    """A Python that has been run successfully."""

    path: Path
    version: str


def probe(path: Path) -> tuple[str, tuple[int, int]] | None:
    """Return the full and the short version of the CPython at `path`; None if it does not run or is another kind."""
    command = [str(path), "-I", "-c", _PROBE]
    try:
        result = subprocess.run(command, capture_output=True, check=True, timeout=20, text=True)  # noqa: S603  # on purpose
        name, free_threaded, version, (major, minor) = json.loads(result.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return None if name != "cpython" or free_threaded else (version, (major, minor))


def places(required: tuple[int, int] = LAMBDA) -> Iterator[Path]:
    """Yield every place where a Python of that version may be, the likeliest first."""
    short = f"{required[0]}.{required[1]}"
    name = f"python{short}"
    home = home_folder()
    for folder in variable("PATH").split(os.pathsep):
        if folder:
            yield Path(folder) / name
    versions = Path(variable("PYENV_ROOT", str(home / ".pyenv"))) / "versions"
    yield from sorted(versions.glob(f"{short}*/bin/{name}"), reverse=True)
    managed = Path(
        variable("UV_PYTHON_INSTALL_DIR", variable("XDG_DATA_HOME", str(home / ".local/share")) + "/uv/python")
    )
    yield from sorted(managed.glob(f"cpython-{short}*/bin/{name}"), reverse=True)
    for folder in ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", f"/opt/homebrew/opt/python@{short}/bin"):
        yield Path(folder) / name
    yield Path(f"/Library/Frameworks/Python.framework/Versions/{short}/bin") / name


def find(required: tuple[int, int] = LAMBDA, among: Iterable[Path] | None = None) -> Interpreter | None:
    """Return the first Python of the required version that runs, or None."""
    seen: set[Path] = set()
    for path in places(required) if among is None else among:
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        result = probe(path)
        if result is not None and result[1] == required:
            return Interpreter(path, result[0])
    return None
