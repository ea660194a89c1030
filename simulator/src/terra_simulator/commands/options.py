"""Options and values that several commands have."""

import argparse
import json

from terra_simulator.control_client import URL, ControlError


def add_url(parser: argparse.ArgumentParser) -> None:
    """Add the option that names a running simulator."""
    parser.add_argument("--url", default=URL, help=f"of the running simulator ({URL})")


def assignment(text: str) -> tuple[str, object]:
    """Return the name and the value of NAME=VALUE; a value is JSON or text."""
    name, separator, value = text.partition("=")
    if not separator:
        message = f"{text}: must be NAME=VALUE"
        raise ControlError(message)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
