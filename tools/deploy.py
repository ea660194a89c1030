"""`make deploy STAGE=...`: deploy what `make build` built with SAM, using the stage's settings in samconfig.toml.

SAM publishes a function version when the template or the location of its code has changed, and Lambda rejects a
version with unchanged code. Each function's folder therefore gets a hash of the parameters, the template and the
location. A changed parameter then takes effect, a changed location does not fail, and an identical deployment changes
nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tools import setup, stages
from tools.environment import ROOT, everything, variable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BUILT = ROOT / ".aws-sam" / "build"
MARK = "parameters.sha256"
REQUIRED = "TerraDevId"
READ_HERE = ("--s3-bucket", "--s3-prefix", "--profile", "--region")
"""Options of `sam deploy` that this program reads and passes on."""
NOT_DEPLOYED = (
    "The deployment did not finish: the messages above state why. CloudFormation completes or reverts a change that it "
    "has begun. Then run the same command again."
)
_STAGE_NAMES_IT = "STAGE names a table of samconfig.toml."
NOT_OPTIONS = {
    "--parameter-overrides": "set parameter_overrides of [{stage}.deploy.parameters] in samconfig.toml.",
    "--config-env": _STAGE_NAMES_IT,
    "--config-file": _STAGE_NAMES_IT,
    "--guided": "run `sam deploy --guided` directly; it writes STAGE=default.",
    "-g": "run `sam deploy --guided` directly; it writes STAGE=default.",
    "--template": "make deploy deploys the output of make build.",
    "--template-file": "make deploy deploys the output of make build.",
    "-t": "make deploy deploys the output of make build.",
}
"""Options that would deploy something other than what this program has checked, with the alternative to each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the stage and run `sam deploy`."""
    parser = argparse.ArgumentParser(prog="make deploy", allow_abbrev=False)
    parser.add_argument("stage", nargs="?", default="", help="a stage of samconfig.toml")
    parser.add_argument("--check", action="store_true", help="check the stage, and deploy nothing")
    for option in READ_HERE:
        parser.add_argument(option)
    options, more = parser.parse_known_args(arguments)
    try:
        stage = stages.read(options.stage)
        reject(more, stage)
        stage = replace(stage, region=options.region or stage.region, profile=options.profile or stage.profile)
        stages.sign_in(stage)
        program = setup.sam_program()
        parameters, overrides = read(stage, program.parent / "python")
        if options.check:
            # On a terminal the deployment prompts for it.
            if REQUIRED not in parameters and not sys.stdin.isatty():
                dev_id(stage)
            return 0
        if REQUIRED not in parameters:
            parameters[REQUIRED] = dev_id(stage)
            overrides.append(f'{REQUIRED}="{parameters[REQUIRED]}"')
        place = {"s3_bucket": options.s3_bucket, "s3_prefix": options.s3_prefix}
        place = {name: value or stage.settings.get(name) for name, value in place.items()}
        mark(BUILT, parameters, place)
        # Unlike the other SAM commands, this one uses the user's own AWS configuration.
        ours = {name: value for name, value in setup.sam_environment().items() if not name.startswith("AWS_")}
        command = [str(program), "deploy", "--config-env", stage.name, "--no-fail-on-empty-changeset", *more]
        for option in READ_HERE:
            if value := getattr(options, option.strip("-").replace("-", "_")):
                command += [option, value]
        command += ["--parameter-overrides", *overrides]
        status = subprocess.run(command, cwd=ROOT, env=everything() | ours, check=False).returncode  # noqa: S603 - SAM
    except (stages.StageError, setup.SetupError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        status = 130
    if status:
        sys.stderr.write(f"{NOT_DEPLOYED}\n")
    return status


def reject(options: Sequence[str], stage: stages.Stage) -> None:
    """Reject options that belong in samconfig.toml.

    Raises:
        StageError: an option is rejected.
    """
    for option in options:
        name = option.partition("=")[0]
        if name in NOT_OPTIONS:
            message = f"OPTIONS cannot contain {name}: {NOT_OPTIONS[name].format(stage=stage.name)}"
            raise stages.StageError(message)


def read(stage: stages.Stage, python: Path) -> tuple[dict[str, str], list[str]]:
    """Return the stage's parameters as CloudFormation will get them, and as arguments of SAM's command line.

    Args:
        stage: the stage to read.
        python: the Python that SAM is installed in.

    Raises:
        StageError: SAM would deploy a value other than the written one.
    """
    (result,) = parse_with_sam([stage.parameters], python)
    if "error" in result:
        message = f"samconfig.toml, parameter_overrides of [{stage.name}.deploy.parameters]: {result['error']}"
        raise stages.StageError(message)
    return result["parameters"], result["arguments"]


def parse_with_sam(written: Sequence[object], python: Path) -> list[dict[str, Any]]:
    """Return SAM's interpretation of each value: see tools/sam_parameters.py."""
    done = subprocess.run(  # noqa: S603 - our own program
        [str(python), "-m", "tools.sam_parameters"],
        cwd=ROOT,
        input=json.dumps(written, default=str),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def dev_id(stage: stages.Stage) -> str:
    """Return the parameter that has no default, and prompt for it if samconfig.toml lacks it.

    Raises:
        StageError: there is no terminal to prompt on.
    """
    given = variable("TERRA_DEV_ID")
    if not given and sys.stdin.isatty():
        given = input("TerraDevId, the dev-id of your Terra account (its dashboard, API credentials): ").strip()
    if not given:
        message = (
            f"TerraDevId is missing: add it to parameter_overrides of [{stage.name}.deploy.parameters] "
            "in samconfig.toml, or set TERRA_DEV_ID."
        )
        raise stages.StageError(message)
    return given


def mark(built: Path, parameters: Mapping[str, str], place: Mapping[str, str | None]) -> None:
    """Put a hash of the parameters, the template and the code location into each function: versions depend on them.

    Raises:
        StageError: nothing is built.
    """
    functions = [handler.parent for handler in built.glob("*/handler.py")]
    template = built / "template.yaml"
    if not functions or not template.is_file():
        message = "Nothing is built: run make build first."
        raise stages.StageError(message)
    settings = json.dumps([sorted(parameters.items()), sorted(place.items())]).encode()
    digest = hashlib.sha256(settings + template.read_bytes()).hexdigest()
    for function in functions:
        (function / MARK).write_text(f"{digest}\n")


if __name__ == "__main__":
    raise SystemExit(main())
