"""The stages that samconfig.toml names, and the outputs of their stacks on AWS."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import boto3
from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


# The errors that boto3 raises if AWS or the user's AWS configuration fails: a profile that does not exist, a
# credential_process or AWS_CA_BUNDLE that is not a file (OSError), an invalid endpoint or region (ValueError).
AWS_ERRORS: Final = (BotoCoreError, ClientError, Boto3Error, OSError, ValueError)
CHECK_CONFIGURATION: Final = (
    "Check your AWS configuration: AWS_PROFILE, the files of ~/.aws, the AWS_ and PROXY variables of this shell "
    "(aws sts get-caller-identity tests it)."
)


class StageError(Exception):
    """An error whose text is one line that states what to do."""


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: as in `make deploy STAGE=name`.
        stack_name: the name of its CloudFormation stack.
        region, profile: None means the user's AWS configuration applies.
        parameters: the template's parameters in samconfig.toml, in any of the forms that `sam deploy` accepts.
        settings: all its deployment settings.
    """

    name: str
    stack_name: str
    region: str | None
    profile: str | None
    parameters: object
    settings: Mapping[str, Any] = field(default_factory=dict)

    def session(self) -> boto3.Session:
        """Return a boto3 session with the deploying user's credentials.

        Raises:
            StageError: no region is set. Every service would report that without the setting's name.
        """
        session = boto3.Session(profile_name=self.profile, region_name=self.region)
        if session.region_name is None:
            message = (
                f"No AWS region is set: add it to [{self.name}.global.parameters] in samconfig.toml "
                '(region = "eu-west-1", or yours), or set AWS_DEFAULT_REGION.'
            )
            raise StageError(message)
        return session


def read(name: str, config: Path = ROOT / "samconfig.toml") -> Stage:
    """Return a stage.

    Raises:
        StageError: samconfig.toml cannot be read, has no such stage, or does not name its stack.
    """
    try:
        content = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # a UnicodeDecodeError and a TOMLDecodeError are ValueErrors
        message = f"{config.name} cannot be read: {one_line(error)}"
        raise StageError(message) from error
    stages = {key: of for key, of in content.items() if isinstance(of, dict)}
    if name not in stages:
        known = ", ".join(sorted(stages.keys() - {"default"}))
        message = (
            f"There is no stage {name!r}: set STAGE to one of {known} (the tables of samconfig.toml), "
            "or STAGE=default for what `sam deploy --guided` has written."
        )
        raise StageError(message)
    commands = [stages[name].get(command, {}).get("parameters", {}) for command in ("global", "deploy")]
    settings = {key: value for parameters in commands for key, value in parameters.items()}
    if "stack_name" not in settings:
        message = f"samconfig.toml does not name the stack of {name}: add stack_name to [{name}.global.parameters]."
        raise StageError(message)
    return Stage(
        name,
        settings["stack_name"],
        settings.get("region"),
        settings.get("profile"),
        settings.get("parameter_overrides", []),
        settings,
    )


def sign_in(stage: Stage) -> None:
    """Sign in to AWS first, so that a faulty configuration gives one line instead of SAM's traceback.

    Raises:
        StageError: AWS cannot be reached, or rejects the credentials.
    """
    try:
        stage.session().client("sts").get_caller_identity()
    except AWS_ERRORS as error:
        message = f"AWS cannot be reached to deploy {stage.stack_name}: {one_line(error)} {CHECK_CONFIGURATION}"
        raise StageError(message) from error


def unknown(stage: Stage, error: Exception) -> str:
    """Return one line for a stack that AWS does not describe, with what to do."""
    remedy = (
        f"Deployed yet? (make deploy STAGE={stage.name})" if isinstance(error, ClientError) else CHECK_CONFIGURATION
    )
    return f"AWS does not describe the stack {stage.stack_name}: {one_line(error)} {remedy}"


def one_line(error: Exception) -> str:
    """Return an error's text on one line."""
    return " ".join(str(error).split()).rstrip(".") + "."


def outputs(stage: Stage) -> dict[str, str]:
    """Return the outputs of the stage's stack, found with the user's own AWS credentials.

    Raises:
        StageError: the stack does not exist yet or has no outputs, or AWS cannot be reached.
    """
    try:
        client = stage.session().client("cloudformation")
        (stack,) = client.describe_stacks(StackName=stage.stack_name)["Stacks"]
    except AWS_ERRORS as error:
        raise StageError(unknown(stage, error)) from error
    if not stack.get("Outputs"):
        raise StageError(without_outputs(stage.name, stage.stack_name, stack["StackStatus"]))
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def without_outputs(stage: str, stack: str, status: str) -> str:
    """Return one line for a stack whose first deployment is not complete, with what to do."""
    return f"The stack {stack} is {status} and has no outputs: make deploy STAGE={stage}"
