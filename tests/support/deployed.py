"""A deployed stack as `make doctor` and `make terra` find it: MiniStack's CloudFormation describes it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3

from local.testing import Stack
from tools.doctor.__main__ import main
from tools.doctor.stack import SECRETS


@dataclass
class Deployed:
    """A stack as CloudFormation describes it."""

    stack: Stack
    samconfig: Path
    printed: Callable[[], str]
    name: str = field(default_factory=lambda: f"doctor-{uuid4().hex[:8]}")
    changed: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    resources: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)

    def client(self, service: str) -> Any:  # noqa: ANN401 - a client of any service
        return boto3.client(service, endpoint_url=self.stack.aws_url, region_name=self.stack.region)  # type: ignore[call-overload]

    def deploy(self, *, counts: bool = True, **outputs: str) -> "Deployed":
        self.samconfig.write_text(f'[dev.deploy.parameters]\nstack_name = "{self.name}"\nregion = "us-east-1"\n')
        texts = {
            "TerraSecret": {"api_key": self.stack.terra_api_key},
            "SigningSecrets": {"main": self.stack.signing_secret},
            "ServiceKeys": {"backend": self.stack.service_key},
        }
        make = self.client("secretsmanager").create_secret
        for name in SECRETS:
            made = make(Name=f"{self.name}/{name}", SecretString=json.dumps(texts[name]))
            self.outputs[f"{name}Arn"] = made["ARN"]
        api_url = self.stack.api_url
        self.outputs |= {"ApiUrl": api_url, "WebhookUrl": f"{api_url}/webhooks/terra", **outputs}
        # The local stack keeps data, a deployed one does so only with the parameter.
        self.given = {
            **self.stack.parameters,
            "DataDeliveries": "ignore",
            "AlarmTopicArn": self.topic(),
            **self.changed,
        }
        self.client("cloudformation").create_stack(StackName=self.name, **self._described())
        if counts:
            self.count_delivery("auth")
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.name)
        found = [each for page in pages for each in page["StackResourceSummaries"]]
        self.resources = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in found}
        return self

    def update(self, **changed: str) -> None:
        """Change parameters."""
        self.given |= changed
        self.client("cloudformation").update_stack(StackName=self.name, **self._described())

    def _described(self) -> dict[str, Any]:
        return {
            "TemplateBody": json.dumps(template(self.given, self.outputs)),
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in self.given.items()],
        }

    def another(self, **changed: str) -> "Deployed":
        return Deployed(self.stack, self.samconfig, self.printed, changed=changed)

    def count_delivery(self, type_: str) -> None:
        """Write the metric that CloudWatch derives from terra_webhook's log."""
        by = {"service": self.name, "type": type_, "outcome": "accepted"}
        dimensions = [{"Name": name, "Value": value} for name, value in by.items()]
        counted = [{"MetricName": "Deliveries", "Dimensions": dimensions, "Value": 1}]
        self.client("cloudwatch").put_metric_data(Namespace="TerraConnections", MetricData=counted)

    def count_discarded(self) -> None:
        """Write the metric of a data delivery whose content was discarded."""
        dimensions = [{"Name": "service", "Value": self.name}]
        counted = [{"MetricName": "DataDiscarded", "Dimensions": dimensions, "Value": 1}]
        self.client("cloudwatch").put_metric_data(Namespace="TerraConnections", MetricData=counted)

    def topic(self, *, is_subscribed: bool = True) -> str:
        sns = self.client("sns")
        arn: str = sns.create_topic(Name=f"alarms-{uuid4().hex[:8]}")["TopicArn"]
        if is_subscribed:
            sns.subscribe(TopicArn=arn, Protocol="email", Endpoint="on-call@example.com")
        return arn

    def put(self, secret: str, text: str) -> None:
        self.client("secretsmanager").put_secret_value(SecretId=self.outputs[f"{secret}Arn"], SecretString=text)

    def findings(self) -> tuple[int, list[str]]:
        """Return the exit status, and each line with a problem, followed by its remedy."""
        self.printed()
        status = main(["--stage", "dev", "--samconfig", str(self.samconfig)])
        lines = self.printed().splitlines()
        return status, [f"{line} {after}" for line, after in pairwise(lines) if line.startswith(("✗", "?"))]

    def problem(self) -> str:
        """Return the only problem."""
        status, (line,) = self.findings()
        assert status == 1
        return line


def template(parameters: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, Any]:
    """Two dead-letter queues, the queue of one of them, and an alarm."""
    redrive = {"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 5}
    alarm = {"Namespace": "x", "MetricName": "y", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1}
    alarm |= {"Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}
    return {
        "Parameters": {name: {"Type": "String"} for name in parameters},
        "Resources": {
            "Dead": {"Type": "AWS::SQS::Queue"},
            "DeadPayloadFetches": {"Type": "AWS::SQS::Queue"},
            "Work": {"Type": "AWS::SQS::Queue", "Properties": {"RedrivePolicy": redrive}},
            "TerraFailing": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm},
        },
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
