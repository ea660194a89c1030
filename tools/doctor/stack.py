"""The stack to check: its location, its parameters, and the credentials to query it with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from tools import stages
from tools.stages import StageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOCAL: Final = "local"
QUEUE: Final = "AWS::SQS::Queue"
ALARM: Final = "AWS::CloudWatch::Alarm"
SECRETS: Final = ("TerraSecret", "SigningSecrets", "ServiceKeys")
"""The logical ids of the template's secrets; each has an output <id>Arn."""

_CLIENT_CONFIG: Final = Config(
    connect_timeout=5, read_timeout=15, retries={"mode": "standard", "total_max_attempts": 2}
)


@dataclass(frozen=True)
class Stack:
    """A stack.

    Attributes:
        stage: a stage of samconfig.toml, or local.
        name: CloudFormation's name of it.
        status: CloudFormation's status; empty for a local stack.
        parameters: the parameters of its deployment, defaults included.
        outputs: the template's outputs; a local stack has those that can be known.
        queues: their addresses by logical id.
        alarms: their names by logical id; a local stack has none.
        session: the AWS credentials to use.
        endpoint: the address of a local stack's AWS services; None on AWS.
    """

    stage: str
    name: str
    status: str
    parameters: Mapping[str, str]
    outputs: Mapping[str, str]
    queues: Mapping[str, str]
    alarms: Mapping[str, str]
    session: boto3.Session
    endpoint: str | None = None

    @property
    def is_local(self) -> bool:
        """Return whether it runs on this machine."""
        return self.endpoint is not None

    @property
    def keeps_data(self) -> bool:
        """Return whether it keeps data deliveries. A stack of an earlier release has no such parameter."""
        return self.parameters.get("DataDeliveries") == "keep"

    def client(self, service: str) -> Any:  # noqa: ANN401 - a client of whichever service
        """Return a client for one of its AWS services."""
        return self.session.client(service, endpoint_url=self.endpoint, config=_CLIENT_CONFIG)  # type: ignore[call-overload]


def running_here(directory: Path) -> Stack:
    """Return the local stack that runs from a folder.

    Raises:
        StageError: No stack runs there.
    """
    try:
        description = json.loads((directory / "stack.json").read_text())
    except FileNotFoundError:
        message = "No stack is running here: start one with make run, or select a deployed one (make doctor STAGE=dev)."
        raise StageError(message) from None
    session = boto3.Session(
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - the local AWS services accept any key
        region_name=description["region"],
    )
    parameters: dict[str, str] = description["parameters"]
    outputs = {f"{name}Arn": parameters[f"{name}Arn"] for name in SECRETS}
    outputs |= {"ApiUrl": description["api_url"], "WebhookUrl": f"{description['api_url']}/webhooks/terra"}
    return Stack(LOCAL, "here", "", parameters, outputs, description["queues"], {}, session, description["aws_url"])


def deployed(name: str, samconfig: Path) -> Stack:
    """Return the stack on AWS that samconfig.toml names for a stage.

    Raises:
        StageError: samconfig.toml has no such stage, AWS cannot be reached, or there is no such stack.
    """
    stage = stages.read(name, samconfig)
    try:
        session = stage.session()
        client = session.client("cloudformation", config=_CLIENT_CONFIG)
        (described,) = client.describe_stacks(StackName=stage.stack_name)["Stacks"]
        pages = client.get_paginator("list_stack_resources").paginate(StackName=stage.stack_name)
        resources = [resource for page in pages for resource in page["StackResourceSummaries"]]
    except stages.AWS_ERRORS as error:
        raise StageError(stages.unknown(stage, error)) from None
    parameters, outputs = _settings(described)
    if "ApiUrl" not in outputs:
        raise StageError(stages.without_outputs(name, stage.stack_name, described["StackStatus"]))
    of_kind: dict[str, dict[str, str]] = {QUEUE: {}, ALARM: {}}
    for resource in resources:
        if resource["ResourceType"] in of_kind:
            of_kind[resource["ResourceType"]][resource["LogicalResourceId"]] = resource["PhysicalResourceId"]
    queues, alarms = of_kind[QUEUE], of_kind[ALARM]
    return Stack(name, stage.stack_name, described["StackStatus"], parameters, outputs, queues, alarms, session)


def _settings(described: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    parameters = described.get("Parameters", [])
    outputs = described.get("Outputs", [])
    return (
        {each["ParameterKey"]: each.get("ResolvedValue", each["ParameterValue"]) for each in parameters},
        {each["OutputKey"]: each["OutputValue"] for each in outputs},
    )
