"""What every door does besides its own story: answer known errors, and write one log line for each request."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools.logging import Logger

from terra_connections import wiring
from terra_connections.api_gateway import Request, Response
from terra_connections.metrics import problem_answered
from terra_connections.problems import ANSWERED, code_of, problem

_log = Logger()


def _problem(error: Exception, _request: Request) -> Response:
    return problem(error, page=wiring.settings().problems_url)


def door(
    story: Callable[[Request], Response], *, answer: Callable[[Exception, Request], Response] = _problem
) -> Callable[[Mapping[str, Any], object], dict[str, Any]]:
    """A Lambda handler that tells a story.

    Args:
        story: turns a request into an answer; raises what goes wrong.
        answer: turns an error into an answer, where problem details would not be read by a program.
    """
    name = story.__name__

    def lambda_handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
        started = time.perf_counter()
        request = Request(event)
        request.notes["request_id"] = event.get("requestContext", {}).get("requestId", "")
        try:
            response = story(request)
        except ANSWERED as error:
            response = answer(error, request)
            request.notes["problem"] = code_of(error)
            problem_answered(door=name, code=code_of(error))
            # The cause by its type only: its text may quote what nobody may log.
            request.notes["cause"] = type(error.__cause__ or error).__name__
        milliseconds = round((time.perf_counter() - started) * 1000)
        _log.info(name, **request.notes, status=response.status.value, ms=milliseconds)  # type: ignore[arg-type]
        return response.as_result()

    return lambda_handler
