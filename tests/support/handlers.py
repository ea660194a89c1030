"""The test's side of handler_process.py: run a handler, kill it, fake responses, inspect its actions."""

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

import boto3

from local import aws_services, messages, oidc_issuer
from local.gateway.template import read_stack
from local.stack import PSEUDONYM_KEY
from local.testing import Stack
from tests.support.processes import kill_with_descendants
from tools.environment import ROOT

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

RUN_TIMEOUT_S = 60.0
Rule = dict[str, Any]


def kill(at: str) -> Rule:
    """End the process with SIGKILL."""
    return {"at": at, "do": "kill"}


def pause(at: str, *, times: int = 1) -> Rule:
    return {"at": at, "do": "pause", "times": times}


def lost_response(at: str, *, times: int = 1) -> Rule:
    """The request takes effect, but its response is lost."""
    return {"at": at, "do": "lose", "times": times}


def broken_connection(at: str, how: str) -> Rule:
    """Break the connection; `how` is `no connection`, `reset` or `silence`."""
    return {"at": at, "do": "break", "how": how}


def fake_response(at: str, body: Mapping[str, Any], *, status: int = 200, times: int | None = None) -> Rule:
    """Return a fake AWS response; the request is not sent."""
    rule: Rule = {"at": at, "do": "answer", "status": status, "body": body}
    return rule if times is None else {**rule, "times": times}


def aws_error(at: str, code: str, *, status: int = 400, times: int | None = None, **more: object) -> Rule:
    """Return an error from DynamoDB."""
    body = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "ordered by a test", **more}
    return fake_response(at, body, status=status, times=times)


def s3_error(at: str, code: str, *, status: int, times: int | None = None) -> Rule:
    """Return an error from S3, whose responses are XML."""
    rule: Rule = {"at": at, "do": "answer", "status": status, "body": f"<Error><Code>{code}</Code></Error>"}
    return rule if times is None else {**rule, "times": times}


def cancelled(*codes: str, times: int | None = None) -> Rule:
    """Cancel the transaction; `codes` holds one reason for each of its writes."""
    reasons = [{"Code": code} if code == "None" else {"Code": code, "Message": "ordered by a test"} for code in codes]
    at = "dynamodb.TransactWriteItems*:before"
    return aws_error(at, "TransactionCanceledException", times=times, CancellationReasons=reasons)


STALE_INDEX = fake_response("dynamodb.Query*:before", {"Items": [], "Count": 0, "ScannedCount": 0})
"""The index is not up to date yet and returns nothing."""


@dataclass
class Run:
    """The result of one run. `result` is None if the process was killed."""

    result: dict[str, Any] | None = None
    error: str | None = None
    log: str = ""
    points: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def status(self) -> int:
        assert self.result is not None, self.error or f"killed after {self.points}"
        status: int = self.result.get("statusCode", 0)
        return status

    @property
    def json(self) -> dict[str, Any]:
        assert self.result is not None, self.error or f"killed after {self.points}"
        content: dict[str, Any] = json.loads(self.result["body"])
        return content

    @property
    def was_killed(self) -> bool:
        return self.result is None and self.error is None

    @property
    def trips(self) -> list[str]:
        """The calls to DynamoDB and to Terra, in order."""
        return [
            point.removesuffix(":before").partition("#")[0]
            for point in self.points
            if point.endswith(":before") and not point.startswith("secrets-manager")
        ]


class Running:
    """A run in progress."""

    def __init__(self, connection: socket.socket, job: Mapping[str, Any]) -> None:
        self._began = time.monotonic()
        self._connection = connection
        self._in = connection.makefile("r")
        self._run = Run()
        self._send(json.dumps(job))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._in.close()
        self._connection.close()

    def until_paused(self) -> str:
        """Wait until the run pauses, and return the point."""
        for message in self._messages():
            if "paused" in message:
                point: str = message["paused"]
                return point
        raise AssertionError(self._run)

    def resume(self) -> None:
        self._send("")

    def end(self) -> Run:
        """Wait until the run has ended, normally or by SIGKILL."""
        for message in self._messages():
            self._run.result = message.get("result", self._run.result)
            self._run.error = message.get("error", self._run.error)
            self._run.log = message.get("log", self._run.log)
        self._run.seconds = time.monotonic() - self._began
        return self._run

    def _messages(self) -> Iterator[dict[str, Any]]:
        try:
            for line in self._in:
                message = json.loads(line)
                if "point" in message:
                    self._run.points.append(message["point"])
                else:
                    yield message
        except ConnectionResetError:
            return

    def _send(self, line: str) -> None:
        self._connection.sendall(line.encode() + b"\n")


@dataclass(frozen=True)
class Handlers:
    """Runs the project's handlers against the running stack.

    Attributes:
        stack: the running stack.
        path: the socket of the program that loads handlers.
        environments: the environment of each handler.
        loaded: the sockets of the handlers that are loaded with their own environment.
    """

    stack: Stack
    path: Path
    environments: Mapping[str, Mapping[str, str]]
    loaded: dict[str, str] = field(default_factory=dict)

    def start(
        self,
        function: str,
        event: Mapping[str, Any],
        *rules: Rule,
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a handler, named by its folder."""
        if environment:
            path = self._load(function, environment, runs=1)
        elif function in self.loaded:
            path = self.loaded[function]
        else:
            path = self.loaded[function] = self._load(function, {}, runs=None)
        return Running(_connected(path), {"event": event, "rules": rules})

    def _load(self, function: str, changes: Mapping[str, str], *, runs: int | None) -> str:
        """Load a handler for a number of runs, and return its socket."""
        path = self.path.with_name(uuid4().hex)
        wanted = {
            "function": function,
            "environment": {**self.environments[function], **changes},
            "aws_calls": str(self.stack.aws_calls),
            "socket": str(path),
            "runs": runs,
        }
        with _connected(str(self.path)) as connection, connection.makefile("rw") as lines:
            lines.write(json.dumps(wanted) + "\n")
            lines.flush()
            assert lines.readline() == "ready\n", f"{function} was not loaded"
        return str(path)

    def run(
        self, function: str, event: Mapping[str, Any], *rules: Rule, environment: Mapping[str, str] | None = None
    ) -> Run:
        """Run a handler to its end, normal or not."""
        with self.start(function, event, *rules, environment=environment) as running:
            return running.end()


def _connected(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(RUN_TIMEOUT_S)
    connection.connect(path)
    return connection


@contextmanager
def running_handlers(stack: Stack) -> Iterator[Handlers]:
    """Start the program that runs handlers, with the environment that the running stack gives each of them."""
    with tempfile.TemporaryDirectory(prefix="terra-handlers-") as directory:
        path = Path(directory) / "socket"
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.handler_process", str(path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,  # the pipe closes when this process ends, which ends the program
            stdout=subprocess.PIPE,
            # Without it, a fork on macOS must not call Apple's frameworks, which Python queries for proxies.
            env={"PATH": "/usr/bin:/bin", "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"},
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield Handlers(stack, path, environments(stack))
        finally:
            kill_with_descendants(process)
            process.communicate()


def environments(stack: Stack) -> dict[str, dict[str, str]]:
    """Return each function's environment, by folder, from template.yaml and the parameters of the running stack."""
    arns = secret_arns(stack)
    parameters = {
        "TerraDevId": stack.terra_dev_id,
        "TerraApiUrl": f"{stack.terra_url}/api/v2",
        "TerraWidgetUrl": f"{stack.terra_url}/api/widget/session",
        "ReturnTargets": json.dumps({"web": f"{stack.demo_url}/connected", "ios": "terraconnections-demo://connected"}),
        "PublicBaseUrl": stack.api_url,
        "OidcIssuer": stack.oidc_issuer,
        "OidcAudience": oidc_issuer.AUDIENCE,
        "AwsEndpointUrlDynamodb": stack.dynamodb_url,
        "AwsEndpointUrlSecretsManager": stack.aws_url,
        "AwsEndpointUrlSqs": stack.aws_url,
        "AwsEndpointUrlEventbridge": stack.aws_url,
        "AwsEndpointUrlS3": stack.aws_url,
        "PayloadUrls": f"{stack.terra_url}/payloads/",
        "DataDeliveries": "keep",
        **{f"{name}Arn": arn for name, arn in arns.items() if name != PSEUDONYM_KEY},
    }
    tables = stack.tables
    ids = {"Connections": tables.connections, "Sessions": tables.sessions, "Deliveries": tables.deliveries}
    ids |= messages.physical_ids(ROOT / "template.yaml", stack.aws_url)
    ids[PSEUDONYM_KEY] = arns[PSEUDONYM_KEY]
    secrets = {arns[PSEUDONYM_KEY]: secret_value(stack, arns[PSEUDONYM_KEY])}
    template = read_stack(
        ROOT / "template.yaml", parameters=parameters, physical_ids=ids, region=stack.region, secrets=secrets
    )
    always = {
        **aws_services.CREDENTIALS,
        "AWS_REGION": stack.region,
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "*",
    }
    return {
        spec.folder.name: {**always, **spec.environment, "AWS_LAMBDA_FUNCTION_NAME": spec.logical_id}
        for spec in template.functions.values()
    }


def secret_arns(stack: Stack) -> dict[str, str]:
    """Return the secrets' ARNs by the template's logical ids."""
    found = _secrets_manager(stack).list_secrets()["SecretList"]
    return {secret["Name"].rpartition("/")[2]: secret["ARN"] for secret in found}


def secret_value(stack: Stack, secret: str) -> str:
    """Return the value of a secret."""
    return _secrets_manager(stack).get_secret_value(SecretId=secret)["SecretString"]


def _secrets_manager(stack: Stack) -> "SecretsManagerClient":
    return boto3.client(
        "secretsmanager",
        endpoint_url=stack.aws_url,
        region_name=stack.region,
        aws_access_key_id=aws_services.CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=aws_services.CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )


def http_event(
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
    is_base64: bool = False,
    path_parameters: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return an event as an HTTP API sends it to a function: payload format 2.0, from a caller with a service key."""
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": f"{method} {path}",
        "rawPath": path,
        "rawQueryString": query,
        "headers": dict(headers or {}),
        "requestContext": {
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
            "authorizer": {"lambda": {"caller": "service"}},
            "domainName": "local.execute-api.us-east-1.amazonaws.com",
            "requestId": "integration",
            "stage": "$default",
        },
        "isBase64Encoded": is_base64,
    }
    if body is not None:
        event["body"] = body
    if path_parameters:
        event["pathParameters"] = dict(path_parameters)
    return event


def results_of(runs: Sequence[Running]) -> list[Run]:
    """Wait for concurrent runs and return their results."""
    return [running.end() for running in runs]
