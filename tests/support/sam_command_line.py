"""The parameters that SAM's own commands read from a command line and samconfig.toml.

Runs in the Python that SAM is installed in. It reads a JSON list of command lines from stdin, and writes one to stdout:
each item has the `command` and its `parameters`, or an `error`. No command is executed.
"""

import json
import sys
from typing import Any
from unittest import mock

import click
from samcli.cli.main import cli

INVOKE = click.Command.invoke


def parameters(words: list[str]) -> dict[str, Any]:
    """Return what SAM parses; the last command of the line is recorded instead of executed."""
    found: dict[str, Any] = {}

    def record(command: click.Command, context: click.Context) -> Any:  # noqa: ANN401 - as in click
        if isinstance(command, click.Group):
            return INVOKE(command, context)
        found.update(command=context.command_path, parameters=context.params)
        return None

    with mock.patch.object(click.Command, "invoke", record):
        try:
            cli.main(args=words, prog_name="sam", standalone_mode=False)
        except click.ClickException as error:
            return {"error": error.format_message()}
    return found


if __name__ == "__main__":
    json.dump([parameters(words) for words in json.load(sys.stdin)], sys.stdout, default=str)
