"""The stages that samconfig.toml names, and what their stacks on AWS put out."""

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


# What boto3 raises where AWS, or the user's own configuration of it, does not work: a profile that is not there, a
# credential_process or AWS_CA_BUNDLE that is no file (OSError), an endpoint or a region that is none (ValueError).
AWS_TROUBLES: Final = (BotoCoreError, ClientError, Boto3Error, OSError, ValueError)
CHECK_CONFIGURATION: Final = (
    "Check your AWS configuration: AWS_PROFILE, the files of ~/.aws, the AWS_ and PROXY variables of this shell "
    "(aws sts get-caller-identity tries it)."
)


class StageError(Exception):
    """The text is one line that says what to do."""


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: as in `make deploy STAGE=name`.
        stack_name: of its CloudFormation stack.
        region, profile: None is what the user's AWS configuration says.
        parameters: what samconfig.toml says of the template's parameters, in any of the forms that `sam deploy` takes.
        settings: everything that it says of a deployment.
    """

    name: str
    stack_name: str
    region: str | None
    profile: str | None
    parameters: object
    settings: Mapping[str, Any] = field(default_factory=dict)

    def session(self) -> boto3.Session:
        """Return what makes clients of AWS, as the user who deploys."""
        return boto3.Session(profile_name=self.profile, region_name=self.region)


def read(name: str, config: Path = ROOT / "samconfig.toml") -> Stage:
    """Return a stage.

    Raises:
        StageError: samconfig.toml has no such stage, or does not name its stack.
    """
    stages = {key: of for key, of in tomllib.loads(config.read_text()).items() if isinstance(of, dict)}
    if name not in stages:
        known = ", ".join(sorted(stages.keys() - {"default"}))
        message = (
            f"There is no stage {name!r}: say STAGE= one of {known} (the tables of samconfig.toml), "
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
    """Ask AWS who deploys, so that a configuration with a fault is one line and not SAM's traceback.

    Raises:
        StageError: AWS cannot be asked, or does not accept the credentials.
    """
    try:
        stage.session().client("sts").get_caller_identity()
    except AWS_TROUBLES as error:
        message = f"AWS cannot be asked to deploy {stage.stack_name}: {one_line(error)} {CHECK_CONFIGURATION}"
        raise StageError(message) from error


def unknown(stage: Stage, error: Exception) -> str:
    """Return one line for a stack of which AWS says nothing, with what to do."""
    remedy = (
        f"Deployed yet? (make deploy STAGE={stage.name})" if isinstance(error, ClientError) else CHECK_CONFIGURATION
    )
    return f"AWS tells nothing of the stack {stage.stack_name}: {one_line(error)} {remedy}"


def one_line(error: Exception) -> str:
    """Return what an error says, on one line."""
    return " ".join(str(error).split()).rstrip(".") + "."


def outputs(stage: Stage) -> dict[str, str]:
    """Return the outputs of the stage's stack, found with the user's own AWS credentials.

    Raises:
        StageError: there is no such stack yet, or AWS cannot be asked.
    """
    try:
        client = stage.session().client("cloudformation")
        (stack,) = client.describe_stacks(StackName=stage.stack_name)["Stacks"]
    except AWS_TROUBLES as error:
        raise StageError(unknown(stage, error)) from error
    return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
