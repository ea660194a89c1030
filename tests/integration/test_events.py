"""events/*.json: each function has an event, which it accepts, and which has the shape of a fresh one of its source."""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from starlette.requests import Request

from local import messages
from local.gateway import schedules
from local.gateway.event import Api, Target, authorizer_event, build_event, new_request_id, with_authorizer
from local.gateway.intrinsics import ACCOUNT_ID
from local.gateway.queues import QueuePoller
from local.gateway.routes import Routes
from local.gateway.services import Threads
from local.gateway.stream import Checkpoints, StreamPoller
from local.gateway.template import Stack as GatewayStack
from local.gateway.template import read_stack
from local.gateway.triggers import QueueTrigger, ScheduleTrigger, StreamTrigger
from local.sam_invoke import EVENTS, event_of
from local.testing import Stack
from receiver import Receiver
from terra_connections.reconciliation.sweep import first_steps
from tests.support.events import EXPECTED_RESULTS, result_of
from tests.support.handlers import Handlers
from tests.support.sweeps import Sweeping, own_sweeping
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.webhooks import Webhook
from tools.environment import ROOT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Event = dict[str, Any]

FILES: dict[str, Event] = {file.stem: json.loads(file.read_text()) for file in EVENTS.glob("*.json")}
API = Api("local", "us-east-1", 4101)
SECRET_ARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:PseudonymKey-AbCdEf"


@pytest.fixture(scope="module")
def template(stack: Stack) -> GatewayStack:
    """The template as the gateway reads it."""
    return read_stack(
        ROOT / "template.yaml",
        parameters={
            "TerraDevId": "d",
            "TerraSecretArn": "a",
            "SigningSecretsArn": "a",
            "ServiceKeysArn": "a",
            "DataDeliveries": "keep",
        },
        physical_ids={
            "Connections": stack.tables.connections,
            "Sessions": stack.tables.sessions,
            "Deliveries": stack.tables.deliveries,
            "PseudonymKey": SECRET_ARN,
            **messages.physical_ids(ROOT / "template.yaml", stack.aws_url),
        },
        secrets={SECRET_ARN: '{"key": "k"}'},
        region=stack.region,
    )


@pytest.fixture
def own(handlers: Handlers, dynamodb: "DynamoDBClient", stack: Stack, terra: Terra) -> Iterator[Sweeping]:
    """Separate tables and a separate queue, because a sweep is among the events."""
    terra.settings(send_webhooks=False)
    with own_sweeping(handlers, dynamodb, stack) as sweeping:
        yield sweeping


def shape(value: object) -> object:
    """Replace each value by its type, also in JSON that is a value."""
    if isinstance(value, dict):
        return {name: shape(field) for name, field in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    if isinstance(value, str) and value.startswith("{"):
        return shape(json.loads(value))
    return type(value)


def test_every_function_has_an_event_without_a_secret() -> None:
    functions = {handler.parent.name for handler in (ROOT / "functions").glob("*/handler.py")}
    assert FILES.keys() == functions, "events/ has one event for each function"
    assert EXPECTED_RESULTS.keys() == functions, "tests/support/events.py has the result of each function's event"
    text = json.dumps(FILES)
    assert "Bearer " not in text.replace("Bearer SERVICE_KEY", "")
    assert "v1=" not in text.replace("v1=SIGNATURE", "")


def test_each_function_accepts_its_event(own: Sweeping, stack: Stack) -> None:
    results = {}
    dead = own.sqs.create_queue(QueueName=f"DeadPayloadFetches-{uuid4().hex[:8]}")["QueueUrl"]
    environment = {**own.environment, "DEAD_PAYLOAD_FETCHES_QUEUE_URL": dead}
    for function in EXPECTED_RESULTS:
        run = own.handlers.run(function, event_of(function, stack), environment=environment)
        assert run.result is not None, run.error
        results[function] = result_of(run.result)
    assert results == EXPECTED_RESULTS


# -- shapes -----------------------------------------------------------------------------------------------------------


def request_of(event: Event, headers: Mapping[str, str]) -> Request:
    """The request of an event, as the gateway receives it."""
    added = {"x-amzn-trace-id", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"}
    http = event["requestContext"]["http"]
    sent = [(name.lower().encode(), value.encode()) for name, value in headers.items() if name.lower() not in added]
    scope = {
        "type": "http",
        "http_version": http["protocol"].removeprefix("HTTP/"),
        "method": http["method"],
        "path": event["rawPath"],
        "query_string": event["rawQueryString"].encode(),
        "headers": sent,
        "client": (http["sourceIp"], 50000),
    }
    return Request(scope)


def fresh_http_event(
    template: GatewayStack, request: Request, body: bytes, caller: dict[str, Any]
) -> tuple[str, Event]:
    """Return the function that a request invokes, and its event."""
    target = Target.of(request)
    match = Routes(template.routes).find(request.method, target.path)
    assert match is not None
    event: Event = dict(build_event(request, body, target, match, API, new_request_id()))
    event = dict(with_authorizer(event, caller)) if match.route.authorizer else event
    return template.functions[match.route.function].folder.name, event


HTTP = [function for function, event in FILES.items() if "requestContext" in event and function != "authorize"]


@pytest.mark.parametrize("function", HTTP)
def test_the_event_of_a_route_has_the_shape_that_the_gateway_builds(
    template: GatewayStack, handlers: Handlers, stack: Stack, function: str
) -> None:
    event = FILES[function]
    body = event.get("body", "").encode()
    body = base64.b64decode(body) if event["isBase64Encoded"] else body
    request = request_of(event, event["headers"])
    authorized = handlers.run("authorize", event_of("authorize", stack)).result
    assert authorized is not None
    invoked, fresh = fresh_http_event(template, request, body, authorized["context"])
    assert invoked == function
    assert shape(event) == shape(fresh)


def test_the_authorizer_event_has_the_shape_that_the_gateway_builds(template: GatewayStack) -> None:
    event = FILES["authorize"]
    request = request_of(event, event["headers"])
    _, of_the_route = fresh_http_event(template, request, b"", {})
    of_the_route["requestContext"].pop("authorizer")
    fresh = authorizer_event(of_the_route, request, API, ("Bearer SERVICE_KEY",))
    assert shape(event) == shape(fresh)


def test_the_webhook_event_has_the_shape_that_terra_sends(
    template: GatewayStack, stack: Stack, terra: Terra, reference_id: str
) -> None:
    with Receiver() as receiver:
        terra.settings(webhook_url=receiver.url)
        terra.connect(reference_id)
        [arrival] = receiver.wait_for(1)
        terra.settings(webhook_url=f"{stack.api_url}/webhooks/terra")
    event = FILES["terra_webhook"]
    _, fresh = fresh_http_event(template, request_of(event, dict(arrival.headers)), arrival.body, {})
    assert shape(event) == shape(fresh)


def test_the_schedule_event_has_the_shape_that_the_gateway_builds(template: GatewayStack) -> None:
    [trigger] = [trigger for trigger in template.triggers if isinstance(trigger, ScheduleTrigger)]
    assert shape(FILES["reconcile"]) == shape(schedules.event(trigger, ACCOUNT_ID, template.region))


def test_the_queue_event_has_the_shape_that_the_gateway_receives(
    template: GatewayStack, stack: Stack, own: Sweeping
) -> None:
    [trigger] = [
        trigger
        for trigger in template.triggers
        if isinstance(trigger, QueueTrigger) and trigger.function == "SweepPage"
    ]
    # The AWS SDK sends the trace header of the function that sends a message.
    own.sqs.send_message(
        QueueUrl=own.queue_url,
        MessageBody=first_steps("sweep")[0].as_text(),
        MessageSystemAttributes={
            "AWSTraceHeader": {"DataType": "String", "StringValue": "Root=1-00000000-000000000000000000000000"}
        },
    )
    services = messages.services(stack.dynamodb_url, stack.aws_url)
    received: list[Event] = []

    async def invoke(payload: bytes, *, trace: str) -> bytes:  # noqa: ARG001 - the gateway's signature
        received.append(json.loads(payload))
        return b"{}"

    poller = QueuePoller(replace(trigger, queue_url=own.queue_url), services, invoke, print)
    asyncio.run(until(poller, lambda: bool(received)))
    assert shape(FILES["sweep_page"]["Records"]) == shape(received[0]["Records"])


def test_the_stream_event_has_the_shape_that_the_gateway_reads(
    template: GatewayStack,
    handlers: Handlers,
    stack: Stack,
    webhook: Callable[..., Webhook],
    reference_id: str,
    tmp_path: Path,
) -> None:
    [trigger] = [
        trigger
        for trigger in template.triggers
        if isinstance(trigger, StreamTrigger) and trigger.function == "PublishEvents"
    ]
    user_id = new_user_id()
    handlers.run("terra_webhook", webhook(auth_event(user_id, reference_id)).event())
    services = messages.services(stack.dynamodb_url, stack.aws_url)
    found: list[Event] = []

    async def invoke(payload: bytes) -> bytes:
        records = json.loads(payload)["Records"]
        found.extend(record for record in records if record["dynamodb"]["Keys"] == {"user_id": {"S": user_id}})
        return b"{}"

    poller = StreamPoller(trigger, services, invoke, print, Checkpoints(tmp_path / "checkpoints.json"))
    asyncio.run(until(poller, lambda: bool(found)))
    assert shape(FILES["publish_events"]["Records"]) == shape(found[:1])


async def until(poller: QueuePoller | StreamPoller, is_done: Callable[[], bool]) -> None:
    """Poll until the function was invoked with the expected event."""
    threads = Threads("events")
    async with asyncio.timeout(120):
        while not is_done():
            await poller.poll(threads)
            await asyncio.sleep(0.05)
    await poller.end()
    await threads.end()
