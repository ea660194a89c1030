"""Run a function of the running stack as its schedule does: `python -m local.invoke reconcile`.

The stack is found by its stack.json (`--directory`, .local by default).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT: Final = 960.0  # seconds; no function runs longer than 900


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the function and print its response."""
    parser = argparse.ArgumentParser(prog="python -m local.invoke", description="Run a schedule of the stack now.")
    parser.add_argument("function", help="its folder (reconcile) or its name in template.yaml (Reconcile)")
    parser.add_argument("--directory", type=Path, default=ROOT / ".local", help="of the running stack")
    options = parser.parse_args(arguments)
    name = "".join(word[:1].upper() + word[1:] for word in options.function.split("_"))
    try:
        url = json.loads((options.directory / "stack.json").read_text())["control_url"]
        response = httpx.post(f"{url}/schedules/{name}", timeout=TIMEOUT, trust_env=False)
    except (FileNotFoundError, httpx.ConnectError):
        sys.stderr.write("No stack is running here: start it with make run, and try again in another terminal.\n")
        return 1
    found = response.json()
    if response.status_code != httpx.codes.OK:
        sys.stderr.write(f"{name}: {found['error']}\n")
        return 1
    sys.stdout.write(json.dumps(found["answer"]) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
