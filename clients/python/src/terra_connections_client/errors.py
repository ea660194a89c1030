"""The one error of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    import httpx

    from terra_connections_client.models import Problem, ProblemCode


class TerraConnectionsError(Exception):
    """A request failed, also after its retries.

    Attributes:
        status: the HTTP status; None if there is no response (`__cause__` is then httpx's error).
        code: the stable code of the error. None for an error of API Gateway, such as 403 for a wrong key. A newer API
            can have a code that this version of the client does not list.
        problem: the whole problem document, with `errors` for `invalid_request`; None as above.
        retry_after: the seconds that the API asks to wait, if it does.
        request_id: the id of the request in the logs of the stack.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        problem: Problem | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem
        self.code: ProblemCode | None = problem["code"] if problem else None
        self.retry_after = retry_after
        self.request_id = request_id

    @classmethod
    def of_response(cls, response: httpx.Response) -> Self:
        """Return the error of a response."""
        body = _json_of(response)
        problem = cast("Problem", body) if isinstance(body.get("code"), str) else None
        text = body.get("detail") or body.get("title") or body.get("message") or response.reason_phrase
        code = f" {problem['code']}" if problem else ""
        return cls(
            f"{response.status_code}{code}: {text}",
            status=response.status_code,
            problem=problem,
            retry_after=_seconds(response.headers.get("retry-after", "")),
            request_id=response.headers.get("apigw-requestid"),
        )

    @classmethod
    def of_failure(cls, error: httpx.TransportError) -> Self:
        """Return the error of a request without a response."""
        return cls(f"no response: {error or type(error).__name__}")


def _json_of(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None
