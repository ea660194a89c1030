"""Run a function once with its recorded event by `sam local invoke`: `python -m local.sam_invoke create_session`.

Needs a running `make sam-local`, whose database, secrets and Terra it uses (`--directory`, .local by default).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local import events, sam_local, testing
from local.processes import StackError
from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the function and print its response."""
    parser = argparse.ArgumentParser(prog="python -m local.sam_invoke", description="Run a function by sam local.")
    parser.add_argument("function", help="its folder, as create_session")
    parser.add_argument("--directory", type=Path, default=ROOT / ".local", help="of the running stack")
    asked = parser.parse_args(arguments)
    try:
        stack = testing.read(asked.directory)
        event = json.loads((events.FOLDER / f"{asked.function}.json").read_text())
        answer = sam_local.invoke(asked.function, events.with_secrets(event, stack), stack)
    except FileNotFoundError as error:
        sys.stderr.write(f"{error.filename} is missing: it takes an event in events/, and a running make sam-local.\n")
        return 1
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
