"""Keeps the trace header with the messages that a function sends, as SQS does.

The AWS SDK sends `X-Amzn-Trace-Id` with every request of a function. SQS keeps it as the message's `AWSTraceHeader`;
MiniStack keeps that attribute only if the request's body has it, so the header is copied there.

Loaded by path into the functions' processes, which lack this project's packages: standard library and botocore only.
"""

import json
from typing import Any

import botocore.session


def keep() -> None:
    """Copy the header into every SendMessage and SendMessageBatch of clients that are created from now on."""
    session = botocore.session.get_session()
    botocore.session.get_session = lambda env_vars=None: session  # noqa: ARG005 - botocore's signature
    events = session.get_component("event_emitter")
    for operation in ("SendMessage", "SendMessageBatch"):
        # First: signing is a handler of the same event.
        events.register_first(f"request-created.sqs.{operation}", _copy)


def _copy(request: Any, **_more: object) -> None:  # noqa: ANN401 - botocore's own
    header = request.headers.get("X-Amzn-Trace-Id")
    if not header:
        return
    body = json.loads(request.data)
    for message in body.get("Entries", [body]):
        attributes = message.setdefault("MessageSystemAttributes", {})
        attributes["AWSTraceHeader"] = {"DataType": "String", "StringValue": header}
    request.data = json.dumps(body).encode()
