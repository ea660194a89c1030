"""Records a function's AWS calls, so that a test can compare them with the function's permissions.

Loaded by path into the functions' processes, which lack this project's packages: standard library and botocore only.
"""

import json
import os
from typing import Any, Protocol

import botocore.session


class _Events(Protocol):
    def register(self, event_name: str, handler: Any) -> None: ...  # noqa: ANN401 - as in botocore


def record(function: str, file: str) -> None:
    """Record every call of the clients that are created from now on, by botocore or by boto3."""
    session = botocore.session.get_session()
    botocore.session.get_session = lambda env_vars=None: session  # noqa: ARG005 - botocore's signature
    record_calls_of(session.get_component("event_emitter"), function, file)


def record_calls_of(events: _Events, function: str, file: str) -> None:
    """Append a line of JSON to the file for each call: the function, the service, the action and its parameters.

    Args:
        events: the events of the botocore session that will create the clients.
        function: the logical id of the function.
        file: created if missing; several processes may write it.
    """
    # Lines of several processes do not mix: each is one write to a file opened for appending.
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
