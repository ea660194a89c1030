"""Writes down what a function asks of AWS, so that a test can hold it against the function's rights.

Loaded by path into the functions' processes, which have none of this project's packages: standard library and botocore.
"""

import json
import os
from typing import Any, Protocol

import botocore.session


class _Events(Protocol):
    def register(self, event_name: str, handler: Any) -> None: ...  # noqa: ANN401 - as botocore has it


def record(function: str, file: str) -> None:
    """Record every call of the clients that are made from now on, by botocore or by boto3."""
    session = botocore.session.get_session()
    botocore.session.get_session = lambda env_vars=None: session  # noqa: ARG005 - botocore's signature
    record_calls_of(session.get_component("event_emitter"), function, file)


def record_calls_of(events: _Events, function: str, file: str) -> None:
    """Append a line of JSON to the file for each call: who calls which action of which service, with what.

    Args:
        events: botocore's, of the session that will make the clients.
        function: the logical id of the function.
        file: made if missing; several processes may write it.
    """
    # Lines of several processes do not mix: each is one write to a file that is opened for appending.
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(params: dict[str, Any], model: Any, **_more: object) -> None:  # noqa: ANN401 - botocore's own
        call = {
            "function": function,
            "service": model.service_model.signing_name,
            "operation": model.name,
            "params": params,
        }
        os.write(descriptor, json.dumps(call, default=str).encode() + b"\n")

    events.register("before-parameter-build", write)
