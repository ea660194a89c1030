"""Runs the commands of a document as written, in a shell with `make` and a small `aws`.

The machine may lack the AWS CLI. The program here supports the options that the documents use, with the same effect.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.checkout import Checkout
from tools.environment import ROOT

AWS = f"""#!{sys.executable}
import sys, boto3
service, operation, *words = sys.argv[1:]
waiter = words.pop(0) if operation == "wait" else None
options = {{}}
while words:
    name = words.pop(0).removeprefix("--")
    has_value = words and not words[0].startswith("--")
    options[name] = words.pop(0) if has_value else True
query, _ = options.pop("query", ""), options.pop("output", "")
parameters = {{"".join(map(str.capitalize, name.split("-"))): value for name, value in options.items()}}
client = boto3.client(service)
if waiter:
    client.get_waiter(waiter.replace("-", "_")).wait(**parameters)
    sys.exit()
found = getattr(client, operation.replace("-", "_"))(**parameters)
for name in query.split(".") if query else []:
    found = found[name]
print(found)
"""


def blocks(document: str, heading: str) -> list[str]:
    """Return the shell blocks below a heading of a document in docs/."""
    text = (ROOT / "docs" / document).read_text()
    [section] = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def run(commands: str, checkout: Checkout, programs: Path, variables: Mapping[str, str]) -> str:
    """Run commands in the checkout, which must succeed, and return their output.

    Args:
        commands: lines of a document.
        checkout: where they run.
        programs: an empty folder for `aws` and `make`.
        variables: further variables of their environment.
    """
    programs.mkdir()
    make = shlex.join(checkout.command("")[:-1])
    for name, program in {"aws": AWS, "make": f'#!/bin/sh\nexec /usr/bin/env PATH="$REAL_PATH" {make} "$@"\n'}.items():
        (programs / name).write_text(program)
        (programs / name).chmod(0o700)
    environment = checkout.environment(**variables)
    path = environment["PATH"]
    done = subprocess.run(
        ["/bin/sh", "-euc", commands],
        cwd=checkout.directory,
        env={**environment, "PATH": f"{programs}:{path}", "REAL_PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
