"""A stage that the product's own commands deploy into an emulated account, with a Terra account of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from local.gateway.http_server import listen
from tests.support.account import REGION, Account
from tests.support.api import connections_of, create_session, decide
from tests.support.checkout import Checkout, stack_name
from tests.support.processes import running
from tests.support.terra import Terra
from tests.support.waiting import eventually
from tools.environment import ROOT, everything

TABLES = ("Connections", "Sessions", "Deliveries")
QUEUES = ("SweepQueue", "DeadSweepPages", "UnpublishedEvents")


@dataclass(frozen=True)
class TerraAccount:
    """A running simulator, and the credentials of its only account."""

    url: str
    dev_id: str
    api_key: str
    signing_secret: str


@contextmanager
def running_terra(scratch: Path, *, webhook_url: str) -> Iterator[TerraAccount]:
    """Start a Terra simulator, whose webhooks go to this URL, and stop it afterwards."""
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    account = TerraAccount(f"http://127.0.0.1:{port}", f"dev-{uuid4().hex[:8]}", uuid4().hex, uuid4().hex)
    command = [sys.executable, "-m", "terra_simulator", "serve", "--port", str(port), "--dev-id", account.dev_id]
    command += ["--webhook-url", webhook_url, "--retry-scale", "0.01"]
    secrets = {"TERRA_SIMULATOR_API_KEY": account.api_key, "TERRA_SIMULATOR_SIGNING_SECRET": account.signing_secret}
    environment = {**everything(), **secrets}
    with running(command, environment=environment, directory=ROOT, log=scratch / f"{account.dev_id}.log"):
        eventually(lambda: is_up(f"{account.url}/_control/health"))
        yield account


def is_up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30).is_success
    except httpx.TransportError:
        return False


def _without_metadata(response: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}


def responds(api: httpx.Client, route: str) -> bool:
    """Send a request without parameters and body; return whether the route's function handled it."""
    method, _, path = route.partition(" ")
    try:
        response = api.request(method, re.sub(r"{\w+}", "none", path))
    except httpx.TransportError:
        return False
    return not response.is_server_error


@dataclass
class Deployment:
    """A stage of a checkout.

    Attributes:
        stage: its name in samconfig.toml.
        api_url: the PublicBaseUrl of its stack.
        parameters: the parameters in samconfig.toml.
    """

    checkout: Checkout
    account: Account
    terra: TerraAccount
    stage: str
    api_url: str
    parameters: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        connected = f"{self.terra.url}/_control/health"
        self.configure(
            TerraDevId=self.terra.dev_id,
            TerraApiUrl=f"{self.terra.url}/api/v2",
            TerraWidgetUrl=f"{self.terra.url}/api/widget/session",
            PublicBaseUrl=self.api_url,
            ReturnTargets=json.dumps(
                {
                    "web": connected,
                    "ios": "exampleapp://connected",
                    "android": {
                        "url": "exampleapp://connected",
                        "android_package": "com.example.app",
                        "fallback_url": connected,
                    },
                }
            ),
        )

    @property
    def stack_name(self) -> str:
        return stack_name(self.stage)

    def configure(self, **parameters: str) -> None:
        """Write parameters into samconfig.toml. One that is not written there keeps its value in a deployed stack."""
        self.parameters |= parameters
        self.checkout.write_stage(self.stage, self.parameters)

    def return_targets(self) -> dict[str, Any]:
        """Return the parameter ReturnTargets."""
        targets: dict[str, Any] = json.loads(self.parameters["ReturnTargets"])
        return targets

    def make(self, goal: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `make GOAL STAGE=...`."""
        return self.checkout.make(goal, f"STAGE={self.stage}", *arguments, **variables)

    def deploy(self) -> str:
        """Run `make deploy` and return its output."""
        done = self.make("deploy")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def put_secrets(self) -> str:
        """Run `make secrets` with the credentials of the Terra account, and return its output."""
        done = self.make("secrets", TERRA_API_KEY=self.terra.api_key, TERRA_SIGNING_SECRET=self.terra.signing_secret)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def aliases(self) -> dict[str, dict[str, Any]]:
        """Return the configuration of the version that each function's alias `live` leads to, by logical id."""
        cloudformation, lambda_ = self.account.client("cloudformation"), self.account.client("lambda")
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=self.stack_name)
        functions = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for page in pages
            for resource in page["StackResourceSummaries"]
            if resource["ResourceType"] == "AWS::Lambda::Function"
        }
        return {
            name: _without_metadata(lambda_.get_function_configuration(FunctionName=function, Qualifier="live"))
            for name, function in functions.items()
        }

    def connect(self, reference_id: str) -> str:
        """Connect a wearable of a user by a login, and return Terra's user_id."""
        with self.api() as api:
            session = create_session(api, reference_id)
            decide(session["auth_url"], "allow")
            [connection] = eventually(lambda: connections_of(api, reference_id))
        return str(connection["user_id"])

    def items(self, table: str = "") -> dict[str, Any]:
        """Return the items of Connections, or of another table of connections, by key."""
        client = self.account.client("dynamodb")
        pages = client.get_paginator("scan").paginate(TableName=table or self.outputs()["ConnectionsTable"])
        return {item["user_id"]["S"]: item for page in pages for item in page["Items"]}

    def days_of_data(self) -> set[str]:
        """Return the keys of the days of the last data in Sessions."""
        pages = self.account.client("dynamodb").get_paginator("scan").paginate(TableName=self.resource("Sessions"))
        found = {item["session_id"]["S"] for page in pages for item in page["Items"]}
        return {name for name in found if name.startswith("data:")}

    def delete(self) -> None:
        """Run `sam delete` as docs/deploying.md shows it."""
        name = self.stack_name
        done = self.checkout.sam("delete", "--stack-name", name, "--s3-prefix", name, "--no-prompts")
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> str:
        """Return the status of the stack; empty if there is none."""
        client = self.account.client("cloudformation")
        try:
            (stack,) = client.describe_stacks(StackName=self.stack_name)["Stacks"]
        except client.exceptions.ClientError:
            return ""
        return str(stack["StackStatus"])

    def outputs(self) -> Mapping[str, str]:
        (stack,) = self.account.client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    def resource(self, logical_id: str) -> str:
        """Return the physical id of a resource."""
        client = self.account.client("cloudformation")
        found = client.describe_stack_resource(StackName=self.stack_name, LogicalResourceId=logical_id)
        return str(found["StackResourceDetail"]["PhysicalResourceId"])

    def secret(self, output: str) -> dict[str, str]:
        """Return the content of a secret, whose ARN is an output."""
        stored = self.account.client("secretsmanager").get_secret_value(SecretId=self.outputs()[output])
        content: dict[str, str] = json.loads(stored["SecretString"])
        return content

    @contextmanager
    def api(self) -> Iterator[httpx.Client]:
        """Return a client with the stack's service key."""
        headers = {"authorization": f"Bearer {self.secret('ServiceKeysArn')['backend']}"}
        with httpx.Client(base_url=self.api_url, headers=headers, timeout=300) as client:
            yield client

    def warm_up(self) -> None:
        """Request every route until it responds: each function has started then, also on a busy machine."""
        client = self.account.client("apigatewayv2")
        routes = [route["RouteKey"] for route in client.get_routes(ApiId=self.resource("HttpApi"))["Items"]]
        with self.api() as api, ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda route: eventually(lambda: responds(api, route), within=180), routes))

    @contextmanager
    def control(self) -> Iterator[Terra]:
        """Return a client of the simulator's control API."""
        with httpx.Client(base_url=self.terra.url, timeout=300) as client:
            yield Terra(client, self.terra.signing_secret)

    def describe(self, directory: Path) -> Path:
        """Write stack.json, as a running `make run` does, so that STACK=<directory> selects this stack."""
        (directory / "log").mkdir(parents=True)
        description = {
            "api_url": self.api_url,
            "terra_url": self.terra.url,
            "terra_dev_id": self.terra.dev_id,
            "terra_api_key": self.terra.api_key,
            "dynamodb_url": self.account.url,
            "aws_url": self.account.url,
            "control_url": "",
            "queues": {name: self.resource(name) for name in QUEUES},
            "event_buses": {"EventBus": self.outputs()["EventBusName"]},
            "payloads": None,
            "parameters": self.parameters,
            "region": REGION,
            "service_key": self.secret("ServiceKeysArn")["backend"],
            "signing_secret": self.terra.signing_secret,
            "notify_key": "",
            "tables": {name.lower(): self.resource(name) for name in TABLES},
            "demo_url": "",
            "oidc_issuer": "",
            "engine": "ministack",
            "python": "3.13",
            "pid": os.getpid(),
        }
        (directory / "stack.json").write_text(json.dumps(description))
        self.write_log(directory)
        return directory

    def write_log(self, directory: Path) -> None:
        """Write what the functions logged until now to log/functions.log."""
        client = self.account.client("logs")
        pages = client.get_paginator("filter_log_events").paginate(logGroupName=self.resource("FunctionsLog"))
        lines = [event["message"] for page in pages for event in page["events"]]
        (directory / "log" / "functions.log").write_text("\n".join(lines) + "\n")
