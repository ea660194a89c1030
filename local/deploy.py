"""`make deploy STAGE=...`: hand what `make build` built to SAM, with what samconfig.toml says of the stage.

SAM moves the functions' alias for new code only. So that a changed parameter takes effect, too, each function's folder
gets a hash of the stage's parameters: new parameters are new code, equal ones change nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from typing import TYPE_CHECKING

from local import setup, stages
from local.environment import ROOT, everything, variable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BUILT = ROOT / ".aws-sam" / "build"
MARK = "parameters.sha256"
REQUIRED = "TerraDevId"


def main(arguments: Sequence[str] | None = None) -> int:
    """Hand over to `sam deploy`."""
    parser = argparse.ArgumentParser(prog="make deploy")
    parser.add_argument("stage", nargs="?", default="", help="a stage of samconfig.toml")
    asked, more = parser.parse_known_args(arguments)
    try:
        stage = stages.read(asked.stage)
        parameters = complete(stage)
        mark(BUILT, parameters)
        program = setup.sam_program()
    except (stages.StageError, setup.SetupError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    # Here, unlike in the other uses of SAM, the user's own AWS configuration is what counts.
    ours = {name: value for name, value in setup.sam_environment().items() if not name.startswith("AWS_")}
    command = [str(program), "deploy", "--config-env", stage.name, "--no-fail-on-empty-changeset", *more]
    command += ["--parameter-overrides", *parameters]
    return subprocess.run(command, cwd=ROOT, env=everything() | ours, check=False).returncode  # noqa: S603 - SAM


def complete(stage: stages.Stage) -> list[str]:
    """Return the stage's parameters with the one that has no default, which is asked for where samconfig.toml lacks it.

    Raises:
        StageError: nobody can be asked.
    """
    parameters = list(stage.parameters)
    if any(f"{REQUIRED}=" in text or f"ParameterKey={REQUIRED}," in text for text in parameters):
        return parameters
    dev_id = variable("TERRA_DEV_ID")
    if not dev_id and sys.stdin.isatty():
        dev_id = input("TerraDevId, the dev-id of your Terra account (its dashboard, API credentials): ").strip()
    if not dev_id:
        message = (
            f'TerraDevId is missing: add "{REQUIRED}=..." to parameter_overrides of [{stage.name}.deploy.parameters].'
        )
        raise stages.StageError(message)
    return [*parameters, f"{REQUIRED}={dev_id}"]


def mark(built: Path, parameters: Sequence[str]) -> None:
    """Make the parameters a part of each function.

    Raises:
        StageError: nothing is built.
    """
    functions = [handler.parent for handler in built.glob("*/handler.py")]
    if not functions:
        message = "Nothing is built: make build first."
        raise stages.StageError(message)
    digest = hashlib.sha256("\n".join(sorted(parameters)).encode()).hexdigest()
    for function in functions:
        (function / MARK).write_text(f"{digest}\n")


if __name__ == "__main__":
    raise SystemExit(main())
