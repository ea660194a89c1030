"""Runs the project's handlers, each in its own process, which a test can kill, pause or mock at a named point.

A point is a step that is visible from outside: before and after each call to AWS (botocore's own events) and to
Terra (around httpx), and `return`, when the handler is done but has not sent its result. Examples:
`dynamodb.BatchGetItem:before`, `dynamodb.BatchGetItem#2:after` (the second such call), `terra.userInfo:before`.

The program and the handlers that it loads listen on Unix sockets. Each connection is one job, in a fork: the program
has loaded boto3, and a fork of it loads one handler with one environment, as a cold start does. Each run is a fork of
that process, which has handled no event before. No project code is loaded before the first fork.

The program receives one line of JSON (`function`, `environment`, `aws_calls`, `socket`, `runs`), and returns `ready`
when the handler is loaded and listens. The handler's process receives one line of JSON (`event`, `rules`) for a run. It
returns lines: `{"point": ...}` for each point passed, then `{"result": ..., "log": ...}` or `{"error": ...}`, also if
the handler could not be loaded. A killed process writes nothing after its point. A rule is
`{"at": pattern, "do": ...}`:

kill     end this process with SIGKILL
pause    report the point and wait for a line
answer   return a fake AWS response, with `status` and `body`; the request is not sent
lose     send the request, and lose its response
break    do not send the request; break the connection as stated in `how`

`times` limits how often a rule applies; without it, always.
"""

import argparse
import importlib
import importlib.util
import io
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

import boto3
import botocore.session
import httpx
import pydantic
from aws_lambda_powertools import logging, metrics
from aws_lambda_powertools.utilities import batch
from boto3.dynamodb import types
from botocore import exceptions
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.httpsession import URLLib3Session
from botocore.loaders import create_loader

from local.aws_calls import record_calls_of
from tools.setup import BYTE_CODE

ROOT = Path(__file__).resolve().parents[2]
LAYER = ROOT / "layers/terra_connections"
LOADED_BEFORE_THE_FORK = (batch, boto3, httpx, logging, metrics, pydantic, types)
MODELS = create_loader()
"""botocore's service models: large files, read once."""
Job = Callable[[TextIO, TextIO], None]
BREAKS: Mapping[str, type[exceptions.BotoCoreError]] = {
    "no connection": exceptions.ConnectTimeoutError,
    "reset": exceptions.ConnectionClosedError,
    "silence": exceptions.ReadTimeoutError,
}


class Points:
    """Reports every point, and applies the rules."""

    def __init__(self) -> None:
        self._trips: Counter[str] = Counter()

    def begin(self, rules: Sequence[dict[str, Any]], line_in: TextIO, line_out: TextIO) -> None:
        """Begin a run. A handler that passes a point while it is loaded fails: there are no rules yet."""
        self._rules = rules
        self._in = line_in
        self._out = line_out

    def before(self, trip: str) -> dict[str, Any] | None:
        """Report that a call begins. Return the rule that replaces its response, if any."""
        self._trips[trip] += 1
        return self.passed(f"{self._numbered(trip)}:before")

    def after(self, trip: str) -> None:
        """Report that a call has ended."""
        self.passed(f"{self._numbered(trip)}:after")

    def passed(self, point: str) -> dict[str, Any] | None:
        """Report a point, and apply the rules that match it."""
        self.send({"point": point})
        for rule in self._rules:
            if not fnmatchcase(point, rule["at"]) or rule.get("times") == 0:
                continue
            if "times" in rule:
                rule["times"] -= 1
            if rule["do"] == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if rule["do"] == "pause":
                self.send({"paused": point})
                self._in.readline()
                continue
            return rule
        return None

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one line of JSON to the test."""
        self._out.write(json.dumps(message) + "\n")
        self._out.flush()

    def _numbered(self, trip: str) -> str:
        count = self._trips[trip]
        return trip if count == 1 else f"{trip}#{count}"

    # -- the hooks -----------------------------------------------------------------------------------------------------

    def before_aws(self, request: AWSPreparedRequest, event_name: str, **_more: object) -> AWSResponse | None:
        """Handle botocore's `before-send`: a return value is the response, an exception a broken connection."""
        rule = self.before(event_name.partition(".")[2])
        if rule is None:
            return None
        if rule["do"] == "answer":
            return aws_response(request, rule)
        if rule["do"] == "lose":
            URLLib3Session().send(request)
            raise exceptions.ReadTimeoutError(endpoint_url=request.url)
        raise BREAKS[rule["how"]](endpoint_url=request.url)

    def after_aws(self, event_name: str, **_more: object) -> None:
        """Handle botocore's `response-received`."""
        self.after(event_name.partition(".")[2])

    def around_terra(self) -> type[httpx.HTTPTransport]:
        """Return an httpx transport with points before a request and after the response's headers."""
        points = self

        class HTTPTransport(httpx.HTTPTransport):
            def handle_request(self, request: httpx.Request) -> httpx.Response:
                trip = f"terra.{Path(request.url.path).name}"
                points.before(trip)
                response = super().handle_request(request)
                points.after(trip)
                return response

        return HTTPTransport


class _Raw(io.BytesIO):
    def stream(self) -> Iterator[bytes]:
        yield self.read()


def aws_response(request: AWSPreparedRequest, rule: Mapping[str, Any]) -> AWSResponse:
    """Build a fake AWS response."""
    body = rule["body"]
    content = (body if isinstance(body, str) else json.dumps(body)).encode()
    content_type = "application/xml" if isinstance(body, str) else "application/x-amz-json-1.0"
    headers = HTTPHeaders.from_dict({"content-type": content_type})
    return AWSResponse(request.url, rule.get("status", 200), headers, _Raw(content))


def new_session() -> botocore.session.Session:
    """Create a botocore session that does not reload the models."""
    session = botocore.session.get_session()
    session.register_component("data_loader", MODELS)
    return session


def serve(listener: socket.socket, job: Job, *, jobs: int | None = None) -> None:
    """Do the job of each connection in a fork: `jobs` times, or until the test session ends and closes our input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # reaps children automatically
    while jobs != 0 and sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            with connection, connection.makefile("r") as line_in, connection.makefile("w") as line_out:
                job(line_in, line_out)
            os._exit(0)
        connection.close()
        jobs = None if jobs is None else jobs - 1


@contextmanager
def listening(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(64)
        yield listener


def load(line_in: TextIO, line_out: TextIO) -> None:
    """Load a handler, and serve its runs."""
    wanted = json.loads(line_in.readline())
    environment = os.environ  # noqa: TID251 - like Lambda, this program creates a handler's environment
    environment.clear()
    environment.update(wanted["environment"])
    printed = sys.stdout = io.StringIO()
    points = Points()
    error, handler = "", None
    try:
        session = new_session()
        botocore.session.get_session = lambda env_vars=None: session  # noqa: ARG005 - botocore's signature
        events = session.get_component("event_emitter")
        events.register("before-send", points.before_aws)
        events.register("response-received", points.after_aws)
        record_calls_of(events, environment["AWS_LAMBDA_FUNCTION_NAME"], wanted["aws_calls"])
        httpx.HTTPTransport = points.around_terra()  # type: ignore[misc]
        handler = import_handler(ROOT / "functions" / wanted["function"])
    except Exception:  # noqa: BLE001 - the test must see every error
        error = traceback.format_exc()

    def run(line_in: TextIO, line_out: TextIO) -> None:
        job = json.loads(line_in.readline())
        points.begin(job["rules"], line_in, line_out)
        if handler is None:
            points.send({"error": error, "log": printed.getvalue()})
            return
        try:
            result = handler.lambda_handler(job["event"], None)
            points.passed("return")
            points.send({"result": result, "log": printed.getvalue()})
        except Exception:  # noqa: BLE001 - the test must see every error
            points.send({"error": traceback.format_exc(), "log": printed.getvalue()})

    with listening(wanted["socket"]) as listener:
        line_out.write("ready\n")
        line_out.flush()
        serve(listener, run, jobs=wanted["runs"])


def import_handler(folder: Path) -> ModuleType:
    """Import a handler as Lambda does: its folder and the layer are on the module path."""
    sys.pycache_prefix = str(BYTE_CODE)  # keeps the project's folders clean
    sys.path[:0] = [str(folder), str(LAYER)]
    return importlib.import_module("handler")


def main() -> None:
    """Load handlers until the test session ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    path = parser.parse_args().socket
    for service in ("dynamodb", "events", "s3", "secretsmanager", "sqs"):
        # Makes botocore load now what it would load at first use. No connection is made.
        new_session().create_client(
            service, region_name="local", aws_access_key_id="local", aws_secret_access_key="local"
        )
    with listening(path) as listener:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        serve(listener, load)


if __name__ == "__main__":
    main()
