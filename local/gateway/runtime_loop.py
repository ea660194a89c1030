"""A Lambda runtime of our own, for machines without a wheel of awslambdaric. Standard library only.

It behaves like awslambdaric, as far as a handler or the Runtime API can observe.
"""

import http.client
import importlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NoReturn

Function = Callable[[Any, "Context"], Any]

_PREFIX = "/2018-06-01/runtime"
_ENVIRON = os.environ  # noqa: TID251 - this program is the runtime: AWS passes its settings in the environment


class Context:
    """The second argument of a handler."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        self.aws_request_id = headers["lambda-runtime-aws-request-id"]
        self.invoked_function_arn = headers["lambda-runtime-invoked-function-arn"]
        self.function_name = _ENVIRON.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = _ENVIRON.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = _ENVIRON.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = _ENVIRON.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = _ENVIRON.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.client_context = None
        self.identity = None
        self._deadline_ms = int(headers["lambda-runtime-deadline-ms"])

    def get_remaining_time_in_millis(self) -> int:
        """Return the time left until the function's timeout."""
        return max(0, self._deadline_ms - int(time.time() * 1000))


class _RequestIdFilter(logging.Filter):
    """Adds the id of the current request to every log record."""

    request_id = ""

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.request_id
        return True


class _RuntimeApi:
    """The Runtime API over one persistent connection."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address)

    def next(self) -> tuple[bytes, dict[str, str]]:
        self._connection.request("GET", f"{_PREFIX}/invocation/next")
        response = self._connection.getresponse()
        return response.read(), {name.lower(): value for name, value in response.getheaders()}

    def post(self, path: str, body: bytes, error_type: str | None = None) -> None:
        headers = {"content-type": "application/json"}
        if error_type is not None:
            headers["lambda-runtime-function-error-type"] = error_type
        self._connection.request("POST", f"{_PREFIX}/{path}", body, headers)
        response = self._connection.getresponse()
        content = response.read()
        if response.status != http.client.ACCEPTED:
            message = f"POST {path}: {response.status} {content.decode('utf-8', 'replace')}"
            raise RuntimeError(message)


def _load(handler: str) -> Function:
    module, _, name = handler.rpartition(".")
    if not module:
        message = f"Bad handler '{handler}'"
        raise ValueError(message)
    function: Function = getattr(importlib.import_module(module.replace("/", ".")), name)
    return function


def _to_json(value: object) -> object:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    message = f"Object of type {type(value).__name__} is not JSON serializable"
    raise TypeError(message)


def _report(error: BaseException, request_id: str = "") -> tuple[bytes, str]:
    """An error in the Runtime API's format; its traceback starts at the function's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    sys.stdout.write("".join(traceback.format_exception(error)))
    sys.stdout.flush()
    report = {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": request_id,
        "stackTrace": traceback.format_list(own),
    }
    return json.dumps(report).encode(), type(error).__name__


def _set_up_logging() -> _RequestIdFilter:
    requests = _RequestIdFilter()
    lines = logging.StreamHandler(sys.stdout)
    form = "[%(levelname)s]\t%(asctime)s.%(msecs)dZ\t%(aws_request_id)s\t%(message)s"
    formatter = logging.Formatter(form, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    lines.setFormatter(formatter)
    lines.addFilter(requests)
    logging.getLogger().addHandler(lines)
    return requests


def run(handler: str, address: str) -> NoReturn:
    """Load the handler and run it for every invocation, until the process is ended."""
    api = _RuntimeApi(address)
    requests = _set_up_logging()
    try:
        function = _load(handler)
    except Exception as error:  # noqa: BLE001 - a runtime reports whatever the function raises while it loads
        api.post("init/error", *_report(error))
        sys.exit(1)
    while True:
        body, headers = api.next()
        request_id = requests.request_id = headers["lambda-runtime-aws-request-id"]
        _ENVIRON["_X_AMZN_TRACE_ID"] = headers["lambda-runtime-trace-id"]
        try:
            answer = json.dumps(function(json.loads(body), Context(headers)), default=_to_json).encode()
        except Exception as error:  # noqa: BLE001 - a runtime reports whatever the function raises
            api.post(f"invocation/{request_id}/error", *_report(error, request_id))
        else:
            sys.stdout.flush()
            api.post(f"invocation/{request_id}/response", answer)
