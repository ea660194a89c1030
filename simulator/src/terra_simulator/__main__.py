"""The command `terra-simulator`: serve, trigger, listen, data."""

import argparse
import sys
from collections.abc import Sequence

from terra_simulator.commands import data, listen, serve, trigger
from terra_simulator.control_client import ControlError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit status; an error is one line."""
    options = parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (ControlError, serve.CannotServeError, listen.CannotListenError) as error:
        print(f"terra-simulator: {error}", file=sys.stderr)
        return 1
    return status


def parser() -> argparse.ArgumentParser:
    """Return the parser of every subcommand."""
    whole = argparse.ArgumentParser(
        prog="terra-simulator", description="Terra on your machine, for developing and testing an integration offline."
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    for each in (serve, trigger, listen, data):
        each.add_to(commands)
    return whole


if __name__ == "__main__":
    sys.exit(main())
