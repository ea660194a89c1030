"""A sweep of more pages than Lambda allows invocations in one chain, in the gateway, which counts as Lambda does."""

import asyncio
import json
import re
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest

from local import database, messages
from local.aws_services import CREDENTIALS
from local.gateway import Gateway
from local.stack import PSEUDONYM_KEY
from local.testing import Stack
from tests.support import cloudformation
from tests.support.gateway import until
from tests.support.handlers import secret_arns, secret_value
from tools.environment import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PAGES = 24
TIMEOUT_S = 500  # seconds


class Terra(BaseHTTPRequestHandler):
    """Lists one user per page, and reports each one as connected."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = parse_qs(address.query)
        if address.path == "/subscriptions":
            page = int(query.get("page", ["0"])[0])
            following = page + 1 if page + 1 < PAGES else None
            self._answer({"data": {"next": following, "results": [user(page)]}})
        else:
            number = int(query["user_id"][0].rpartition("-")[2])
            self._answer({"status": "success", "is_authenticated": True, "user": user(number)})

    def do_POST(self) -> None:
        """Report every requested user as known."""
        user_ids = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer([user(int(user_id.rpartition("-")[2])) for user_id in user_ids])

    def _answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def user(number: int) -> dict[str, Any]:
    return {"user_id": f"user-{number}", "provider": "FITBIT", "reference_id": f"reference-{number}", "active": True}


@contextmanager
def terra_with_many_pages() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Terra) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def sweeping_part(path: Path, suffix: str, *, loops: str | None) -> None:
    """Write the project's template with only the functions of a sweep, and with separate queues."""
    template = cloudformation.parsed()
    kept = {}
    for name, resource in template["Resources"].items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            if name not in {"Reconcile", "SweepPage"}:
                continue
            properties["CodeUri"] = str(ROOT / properties["CodeUri"])
        elif resource["Type"] == "AWS::Serverless::LayerVersion":
            properties["ContentUri"] = str(ROOT / properties["ContentUri"])
        elif name not in {"SweepQueue", "DeadSweepPages", "SweepQueueToSweepPage", "Connections", "Sessions"}:
            continue
        kept[name] = resource
    assert kept["SweepPage"]["Properties"].pop("RecursiveLoop") == "Allow"
    if loops:
        kept["SweepPage"]["Properties"]["RecursiveLoop"] = loops
    text = json.dumps({**template, "Resources": kept})
    path.write_text(re.sub(r"\b(SweepQueue|DeadSweepPages)\b", rf"\g<1>{suffix}", text))


@contextmanager
def sweeping(stack: Stack, root: Path, *, loops: str | None) -> Iterator[tuple[Gateway, str, str, list[str]]]:
    """Run a gateway that has started a sweep. Yield it, the connections table, the dead-letter queue and the log."""
    suffix = uuid4().hex[:8]
    template = root / "template.yaml"
    sweeping_part(template, suffix, loops=loops)
    declared = database.declared_tables(template)
    tables = {name: f"{name}-{suffix}" for name in declared}
    asyncio.run(database.make_tables(stack.dynamodb_url, {tables[name]: declared[name] for name in declared}))
    messages.make(template, stack.aws_url)
    queues = messages.physical_ids(template, stack.aws_url)
    arns = secret_arns(stack)
    log: list[str] = []
    with terra_with_many_pages() as terra_url:
        gateway = Gateway(
            template,
            parameters={
                "TerraDevId": stack.terra_dev_id,
                "TerraApiUrl": terra_url,
                "TerraWidgetUrl": f"{terra_url}/widget",
                "AwsEndpointUrlDynamodb": stack.dynamodb_url,
                "AwsEndpointUrlSecretsManager": stack.aws_url,
                "AwsEndpointUrlSqs": stack.aws_url,
                "AwsEndpointUrlEventbridge": stack.aws_url,
                **{f"{name}Arn": arn for name, arn in arns.items() if name != PSEUDONYM_KEY},
            },
            physical_ids={
                **tables,
                "Deliveries": "none",
                "EventBus": "none",
                PSEUDONYM_KEY: arns[PSEUDONYM_KEY],
                **queues,
            },
            secrets={arns[PSEUDONYM_KEY]: secret_value(stack, arns[PSEUDONYM_KEY])},
            port=0,
            python=Path(sys.executable),
            dependencies=Path(sysconfig.get_path("purelib")),
            directory=root / "scratch",
            environment={"AWS_REGION": stack.region, "AWS_DEFAULT_REGION": stack.region, **CREDENTIALS},
            on_log=log.append,
        )
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()

        async def begin() -> object:
            await gateway.start()
            await gateway.start_sources(dynamodb_url=stack.dynamodb_url, sqs_url=stack.aws_url)
            return await gateway.run_schedule("Reconcile")

        try:
            asyncio.run_coroutine_threadsafe(begin(), loop).result(120)
            yield gateway, tables["Connections"], queues[f"DeadSweepPages{suffix}"], log
        finally:
            asyncio.run_coroutine_threadsafe(gateway.stop(), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()
            client = database.connect(stack.dynamodb_url)
            for name in tables.values():
                client.delete_table(TableName=name)


def found(dynamodb: "DynamoDBClient", table: str) -> set[str]:
    return {item["user_id"]["S"] for item in dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]}


def finished(log: list[str]) -> bool:
    return any('"outcome":"finished"' in line.replace(" ", "") for line in list(log))


@pytest.mark.timeout(600)
def test_a_sweep_of_more_than_17_pages_is_completed(stack: Stack, dynamodb: "DynamoDBClient", tmp_path: Path) -> None:
    with sweeping(stack, tmp_path, loops="Allow") as (_, table, _, log):
        assert until(lambda: finished(log), TIMEOUT_S), log[-20:]
        assert found(dynamodb, table) == {f"user-{number}" for number in range(PAGES)}


@pytest.mark.timeout(600)
def test_lambda_stops_a_sweep_after_16_pages_without_the_setting(
    stack: Stack, dynamodb: "DynamoDBClient", tmp_path: Path
) -> None:
    with sweeping(stack, tmp_path, loops=None) as (_, table, dead, log):
        assert until(lambda: any("RecursiveInvocationsDropped" in line for line in list(log)), TIMEOUT_S), log[-20:]
        sqs = messages.services(stack.dynamodb_url, stack.aws_url).queues()
        [message] = sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=5)["Messages"]
        assert json.loads(message["Body"])["number"] == 16, "pages are counted from 0"
        assert found(dynamodb, table) == {f"user-{number}" for number in range(16)}
        assert not finished(log)
