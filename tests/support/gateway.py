"""A small stack for the gateway's tests, and a gateway that serves it from a thread."""

import asyncio
import http.client
import importlib.util
import json
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from local.gateway import Gateway
from local.gateway.access import OnAccess
from local.gateway.workers import Runtime

TEMPLATE = """
Parameters:
  Greeting: {Type: String, Default: hello}
  Limit: {Type: Number, Default: 7}
Conditions:
  IsPolite: !Not [!Equals [!Ref Greeting, ""]]
Globals:
  Function:
    Runtime: python3.13
    Handler: handler.lambda_handler
    Timeout: 20
    MemorySize: 256
    Layers: [!Ref SharedLayer, !Ref PackagesLayer]
    Environment:
      Variables:
        TABLE: !Ref Things
        GREETING: !If [IsPolite, !Ref Greeting, !Ref AWS::NoValue]
        LIMIT: !Ref Limit
        WHERE: !Sub "${AWS::Region}/${Things}/${!literal}"
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      Auth:
        DefaultAuthorizer: Callers
        Authorizers:
          Callers:
            FunctionArn: !GetAtt Authorize.Arn
            AuthorizerPayloadFormatVersion: "2.0"
            EnableSimpleResponses: true
            Identity: {Headers: [Authorization], ReauthorizeEvery: 60}
  SharedLayer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/shared}
  PackagesLayer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/packages}
  Things: {Type: AWS::DynamoDB::Table}
  Authorize:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: functions/authorize}
  Echo:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/echo
      Environment: {Variables: {OWN: "true"}}
      Events:
        Private: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: GET, Path: /private}}
        Exact: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: ANY, Path: /echo, Auth: {Authorizer: NONE}}}
        Item: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: GET, Path: "/items/{id}", Auth: {Authorizer: NONE}}}
        Nightly: {Type: ScheduleV2, Properties: {ScheduleExpression: rate(1 day)}}
  Answer:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/answer
      Events:
        Route: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: POST, Path: /answer, Auth: {Authorizer: NONE}}}
  Act:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/act
      Timeout: 2
      Events:
        Route: {Type: HttpApi, Properties: {ApiId: !Ref Api, Method: GET, Path: /act, Auth: {Authorizer: NONE}}}
"""

ECHO = """
def lambda_handler(event, context):
    return event
"""

ANSWER = """
import json

def lambda_handler(event, context):
    return json.loads(event["body"])
"""

AUTHORIZE = """
CALLS = 0

def lambda_handler(event, context):
    global CALLS
    CALLS += 1
    token = event["identitySource"][0]
    if token == "raise":
        raise RuntimeError("no decision")
    if token == "malformed":
        return {"isAuthorized": "yes"}
    if token == "text":
        return "yes"
    if token == "plain":
        return {"isAuthorized": True}
    return {"isAuthorized": token.startswith("allow"), "context": {"calls": CALLS, "who": [token], "event": event}}
"""

ACT = """
import json
import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import shared_module

WAS_CALLED = []
logging.getLogger().setLevel(logging.INFO)


def lambda_handler(event, context):
    query = event.get("queryStringParameters", {})
    WAS_CALLED.append(1)
    if "began" in query:
        Path(query["began"]).touch()
    match query.get("do", "report"):
        case "sleep":
            begun = time.time()
            time.sleep(float(query["seconds"]))
            if "mark" in query:
                with Path(query["mark"]).open("a") as marks:
                    marks.write("slept ")
            return {"pid": os.getpid(), "begun": begun, "ended": time.time()}
        case "spin":
            while True:
                WAS_CALLED[0] += 1
        case "exit":
            os._exit(7)
        case "raise":
            raise ValueError("it broke")
        case "unserializable":
            return {"value": object()}
        case "big":
            return "x" * int(query["bytes"])
        case "print":
            print("a line on stdout")
            print("a line on stderr", file=sys.stderr)
            logging.getLogger("act").info("a line by logging")
        case "die-later":
            subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(.3); os.kill({os.getpid()}, 9)"])
    return {
        "pid": os.getpid(),
        "calls": len(WAS_CALLED),
        "version": shared_module.VERSION,
        "environment": dict(os.environ),
        "path": sys.path,
        "modules": sorted(sys.modules),
        "folder": os.getcwd(),
        "argv": sys.argv,
        "pycache_prefix": sys.pycache_prefix,
        "context": {
            "arn": context.invoked_function_arn,
            "name": context.function_name,
            "version": context.function_version,
            "memory": context.memory_limit_in_mb,
            "request_id": context.aws_request_id,
            "log_group": context.log_group_name,
            "remaining": context.get_remaining_time_in_millis(),
        },
    }
"""


def write_project(root: Path) -> Path:
    """Write the small stack to disk."""
    for name, source in (("echo", ECHO), ("answer", ANSWER), ("authorize", AUTHORIZE), ("act", ACT)):
        folder = root / "functions" / name
        folder.mkdir(parents=True)
        (folder / "handler.py").write_text(source)
    (root / "layers" / "shared").mkdir(parents=True)
    (root / "layers" / "shared" / "shared_module.py").write_text("VERSION = 1\n")
    (root / "layers" / "packages").mkdir()
    (root / "layers" / "packages" / "requirements.txt").write_text("boto3\n")
    (root / "template.yaml").write_text(TEMPLATE)
    return root


class Running:
    """A gateway in a thread, and a client for it."""

    def __init__(self, gateway: Gateway, log: list[str], root: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.gateway = gateway
        self.log = log
        self.root = root
        self.loop = loop
        self.client = httpx.Client(base_url=gateway.url, timeout=30)

    def load(self) -> None:
        """Load every function."""
        asyncio.run_coroutine_threadsafe(self.gateway.load(), self.loop).result(60)

    def act(self, do: str = "report", **query: str | float) -> httpx.Response:
        """Call the function that can misbehave."""
        return self.client.get("/act", params={"do": do, **query})

    def report(self) -> dict[str, Any]:
        """Return that function's report of its environment."""
        report: dict[str, Any] = self.act().json()
        return report

    def logged(self, text: str) -> bool:
        """Return whether the log contains the text, now or within 60 s: output and response arrive independently."""
        return until(lambda: any(text in line for line in self.log))


def until(is_true: Callable[[], bool], seconds: float = 60) -> bool:
    """Return whether the condition becomes true in time."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def serving(
    root: Path,
    *,
    runtime: Runtime = "auto",
    workers: int = 4,
    reauthorize_every: timedelta | None = None,
    integration_timeout: timedelta = timedelta(seconds=30),
    on_access: OnAccess = lambda _access: None,
) -> Iterator[Running]:
    """Run a gateway for the stack at `root`."""
    log: list[str] = []
    gateway = Gateway(
        root / "template.yaml",
        parameters={},
        physical_ids={"Things": "things-table"},
        port=0,
        python=Path(sys.executable),
        dependencies=Path(sysconfig.get_path("purelib")),
        directory=root / "scratch",
        environment={"AWS_REGION": "eu-north-1", "AWS_ACCESS_KEY_ID": "local"},
        on_log=log.append,
        on_access=on_access,
        workers_per_function=workers,
        reauthorize_every=reauthorize_every,
        integration_timeout=integration_timeout,
        runtime=runtime,
    )
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(gateway.start(), loop).result(60)
        running = Running(gateway, log, root, loop)
        with running.client:
            yield running
    finally:
        asyncio.run_coroutine_threadsafe(gateway.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def as_json(value: object) -> bytes:
    """JSON as the body of a request to a test handler."""
    return json.dumps(value).encode()


def raw(api: Running, request: bytes) -> tuple[int, bytes]:
    """Send raw bytes, which no client library normalizes."""
    host, port = api.gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method=request.partition(b" ")[0].decode())
        response.begin()
        return response.status, response.read()


RUNTIMES = [
    pytest.param(
        "awslambdaric",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("awslambdaric") is None, reason="awslambdaric has no wheel for this platform"
        ),
    ),
    "own",
]
