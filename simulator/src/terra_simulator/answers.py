"""Terra's forms of error responses.

Terra's sources show four: RFC 9457 problems that do not repeat the status, the older `{status: "error", message}`, an
HTML page and an empty response.
"""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response


def problem(
    request: Request,
    status: int,
    detail: str | None = None,
    *,
    media_type: str = "application/problem+json",
    **more: str,
) -> Response:
    """Return Terra's schema `Problem`; `code` and `product` are its newer members."""
    query = f"?{request.url.query}" if request.url.query else ""
    content = {"type": "about:blank", "title": _phrase(status).lower(), "instance": f"{request.url.path}{query}"} | more
    if detail is not None:
        content["detail"] = detail
    return JSONResponse(content, status, media_type=media_type)


def legacy(status: int, message: str | None = None) -> Response:
    """Return the older form."""
    return JSONResponse({"status": "error", "message": message or _phrase(status)}, status)


def page(status: int) -> Response:
    """Return the error page of a web server in front of the API."""
    title = f"{status} {_phrase(status)}"
    return HTMLResponse(
        f"<!doctype html>\n<html lang=en>\n<title>{title}</title>\n<h1>{_phrase(status)}</h1>\n"
        "<p>The server encountered an error and was unable to complete your request.</p>\n</html>\n",
        status,
    )


def empty(status: int) -> Response:
    """Return a status and nothing else."""
    return Response(status_code=status)


def rate_limited(retry_after_s: int) -> Response:
    """Return 429 with the headers that Terra's documentation names."""
    response = legacy(HTTPStatus.TOO_MANY_REQUESTS, "Rate limit exceeded")
    response.headers["Retry-After"] = str(retry_after_s)
    response.headers["X-Terra-RateLimit-Limit"] = "100"
    response.headers["X-Terra-RateLimit-Remaining"] = "0"
    response.headers["X-Terra-RateLimit-Reset"] = str(retry_after_s)
    return response


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
