"""Lambda's detection of recursive loops over SQS, by the trace header's lineage (see `local.lineage`).

A function's requests carry the header of its own invocation. SQS keeps it with the message. A message whose chain has
invoked the function 16 times is not delivered, unless the function's RecursiveLoop is Allow: it goes to the dead-letter
queue of its queue at once.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ministack.services import lambda_svc, sqs

from local.lineage import LONGEST_CHAIN, Lineage
from tests.support.emulator.handlers import Properties, do_after

_CAUSE: ContextVar[str] = ContextVar("cause", default="")
"""The trace header of the request that is being served, or of the invocation that is being made."""


def install() -> None:
    """Replace the parts of MiniStack that a trace header goes through."""
    do_after("AWS::Lambda::Function", set_recursive_loop)
    attributes_of, run_batch = sqs._build_send_sys_attrs, lambda_svc._run_sqs_batch
    trace_of = lambda_svc._xray_trace_id_for_invocation

    def attributes_with_cause(now: float, given: Mapping[str, Any]) -> dict[str, Any]:
        return {**({"AWSTraceHeader": cause} if (cause := _CAUSE.get()) else {}), **attributes_of(now, given)}

    def trace_of_cause(configuration: Mapping[str, Any], inbound: str | None = None) -> str | None:
        return _CAUSE.get() or trace_of(configuration, inbound)

    def run_unless_loop(  # the signature is MiniStack's
        mapping: Mapping[str, Any],
        function: Mapping[str, Any],
        event: Mapping[str, Any],
        batch: list[dict[str, Any]],
        queue_url: str,
        queue_name: str,
    ) -> None:
        name = mapping["FunctionName"]
        stopped = [] if allows_loops(name) else [message for message in batch if is_loop(message, name)]
        allowed = [message for message in batch if message not in stopped]
        dead_letter(queue_url, stopped)
        if allowed:
            ids = {message["id"] for message in allowed}
            records = [record for record in event["Records"] if record["messageId"] in ids]
            longest = max(map(lineage_of, allowed), key=lambda lineage: lineage.count(name))
            with caused_by(longest.invoking(name).as_header()):
                run_batch(mapping, function, {"Records": records}, allowed, queue_url, queue_name)

    sqs._build_send_sys_attrs = attributes_with_cause
    lambda_svc._xray_trace_id_for_invocation = trace_of_cause
    lambda_svc._run_sqs_batch = run_unless_loop


@contextmanager
def caused_by(header: str) -> Iterator[None]:
    """Let the requests and invocations of the block continue the chain of a trace header."""
    token = _CAUSE.set(header)
    try:
        yield
    finally:
        _CAUSE.reset(token)


def set_recursive_loop(name: str, properties: Properties) -> None:
    """Set the function's RecursiveLoop, which MiniStack's CloudFormation ignores."""
    lambda_svc._functions[name]["recursive_loop"] = properties.get("RecursiveLoop", "Terminate")


def allows_loops(name: str) -> bool:
    return bool(lambda_svc._functions[name].get("recursive_loop") == "Allow")


def lineage_of(message: Mapping[str, Any]) -> Lineage:
    return Lineage.parse(message.get("sys", {}).get("AWSTraceHeader", ""))


def is_loop(message: Mapping[str, Any], function: str) -> bool:
    return lineage_of(message).count(function) >= LONGEST_CHAIN


def dead_letter(queue_url: str, messages: list[dict[str, Any]]) -> None:
    """Move messages to the dead-letter queue of their queue; without one they are lost."""
    if not messages:
        return
    queue = sqs._queues[queue_url]
    policy = json.loads(queue["attributes"].get("RedrivePolicy", "{}"))
    if dead_letters := sqs._queue_by_arn(policy.get("deadLetterTargetArn", "")):
        dead_letters["messages"] += [{**message, "receipt_handle": None, "visible_at": 0.0} for message in messages]
    sqs._delete_messages_for_esm(queue_url, {message["receipt_handle"] for message in messages})
    logging.getLogger("emulator").warning("RecursiveInvocationsDropped: %s messages of %s", len(messages), queue_url)
