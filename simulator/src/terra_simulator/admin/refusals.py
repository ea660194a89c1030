"""The Admin API's problems: `application/problem+json` without a status in the body; a client branches on `code`."""

from http import HTTPStatus
from typing import NoReturn

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response


class Refusal(Exception):
    """A call that is rejected."""

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        detail: str | None = None,
        *,
        errors: list[str] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail or code)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s

    def response(self, request: Request) -> Response:
        """Return the problem."""
        content: dict[str, object] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "instance": request.url.path,
            "code": self.code,
        }
        if self.detail is not None:
            content["detail"] = self.detail
        if self.errors is not None:
            content["errors"] = self.errors
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return JSONResponse(content, self.status, headers, media_type="application/problem+json")


def reject(*errors: str) -> NoReturn:
    """Reject an invalid request; each error is `field: message`."""
    raise _invalid(list(errors))


def not_found(what: str) -> NoReturn:
    """Reject a request about a resource that does not exist."""
    raise Refusal(HTTPStatus.NOT_FOUND, "not_found", f"no such {what}")


def invalid_fields(error: ValidationError) -> Refusal:
    """Return the problem of a body that is not of the expected form."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return _invalid([f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in found])


def _invalid(errors: list[str]) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, "validation_failed", "The request is invalid.", errors=errors)
