"""The Lambda handler of a route. It maps known errors to responses, and writes one log line for each request."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools.logging import Logger

from terra_connections import settings
from terra_connections.api_gateway import Request, Response
from terra_connections.metrics import problem_returned
from terra_connections.problems import ANSWERED, code_of, problem

_log = Logger()


def http_handler(
    function: Callable[[Request], Response], *, on_error: Callable[[Exception, Request], Response] | None = None
) -> Callable[[Mapping[str, Any], object], dict[str, Any]]:
    """Return a Lambda handler for API Gateway events.

    Args:
        function: returns the response to a request, or raises an error of `errors.py`. Its name names the log line and
            the metric's dimension.
        on_error: returns the response to an error; problem details (RFC 9457) by default.
    """
    name = function.__name__
    respond = on_error or _problem_details()

    def lambda_handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        started = time.perf_counter()
        request = Request(event)
        request.log_fields["request_id"] = event.get("requestContext", {}).get("requestId", "")
        try:
            response = function(request)
        except ANSWERED as error:
            response = respond(error, request)
            request.log_fields["problem"] = code_of(error)
            problem_returned(function=name, code=code_of(error))
            # Only the type of the cause is logged: its text may quote secrets or personal data.
            request.log_fields["cause"] = type(error.__cause__ or error).__name__
        milliseconds = round((time.perf_counter() - started) * 1000)
        _log.info(name, **request.log_fields, status=response.status.value, ms=milliseconds)  # type: ignore[arg-type]
        return response.to_proxy_result()

    return lambda_handler


def _problem_details() -> Callable[[Exception, Request], Response]:
    page = settings.problems_url()
    return lambda error, _request: problem(error, page=page)
