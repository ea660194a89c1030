"""Run a function once with its event in events/ by `sam local invoke`: `python -m local.sam_invoke create_session`.

Needs a running `make sam-local`, whose database, secrets and Terra it uses (`--directory`, .local by default).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local import sam_local, testing
from local.processes import StackError
from terra_simulator.signature import sign
from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENTS: Final = ROOT / "events"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the function and print its response."""
    parser = argparse.ArgumentParser(prog="python -m local.sam_invoke", description="Run a function by sam local.")
    parser.add_argument("function", nargs="?", default="", help="its folder, as create_session")
    parser.add_argument("--directory", type=Path, default=ROOT / ".local", help="of the running stack")
    options = parser.parse_args(arguments)
    if options.function not in (known := sorted(file.stem for file in EVENTS.glob("*.json"))):
        what = f"There is no function {options.function}" if options.function else "No function is named"
        sys.stderr.write(f"{what}: make invoke F=create_session. The functions are {', '.join(known)}.\n")
        return 1
    try:
        stack = testing.read(options.directory)
        response = sam_local.invoke(options.function, event_of(options.function, stack), stack)
    except FileNotFoundError:
        sys.stderr.write("No stack is running here: run make sam-local, and try again in a second terminal.\n")
        return 1
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(response, indent=2) + "\n")
    return 0


def event_of(function: str, stack: testing.Stack) -> dict[str, Any]:
    """Return a function's event as this stack accepts it: with its service key, and signed now with its secret."""
    text = (EVENTS / f"{function}.json").read_text()
    event: dict[str, Any] = json.loads(text.replace("SERVICE_KEY", stack.service_key))
    for name, value in event.get("headers", {}).items():
        if value.endswith("v1=SIGNATURE"):
            event["headers"][name] = sign(event["body"].encode(), t=int(time.time()), secrets=[stack.signing_secret])
    return event


if __name__ == "__main__":
    raise SystemExit(main())
