"""The HTTP response for a function's result: payload format 2.0, inference included."""

import base64
import binascii
import json
import re
from http import HTTPStatus
from typing import Final

from starlette.responses import JSONResponse, Response

from local.gateway.event import HOP_BY_HOP, Json

_TEXT_TYPE: Final = (b"content-type", b"text/plain;charset=UTF-8")  # if a function sets a status but no type
_WITHOUT_BODY: Final = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED})
_SERVERS_OWN: Final = HOP_BY_HOP | {"content-length", "date"}
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[^\x00\r\n]*")


class MalformedResponseError(Exception):
    """The function's result cannot be converted to a response by API Gateway."""


def message(status: HTTPStatus, text: str) -> Response:
    """API Gateway's own response."""
    return JSONResponse({"message": text}, status)


def internal_error() -> Response:
    """API Gateway's response to every error behind it."""
    return message(HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error")


def translate(payload: bytes) -> Response:
    """The response for a function's output.

    Raises:
        MalformedResponseError: The output is not JSON, or not in its declared form.
    """
    try:
        output: Json = json.loads(payload)
    except ValueError as error:
        text = "not JSON"
        raise MalformedResponseError(text) from error
    if not isinstance(output, dict) or "statusCode" not in output:
        return Response(output if isinstance(output, str) else payload, media_type="application/json")
    headers = _headers(output.get("headers"))
    if not any(name == b"content-type" for name, _ in headers):
        headers.append(_TEXT_TYPE)
    headers += [(b"set-cookie", _value("cookies", cookie)) for cookie in _cookies(output.get("cookies"))]
    status, body = _status(output["statusCode"]), _body(output)
    response = Response(b"" if status in _WITHOUT_BODY else body, status)
    # Not by Starlette's mapping: a name may have several values, which may be more than Latin-1.
    response.raw_headers += headers
    return response


def _status(value: Json) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 599:  # noqa: PLR2004 - final statuses
        return value
    text = f"statusCode {value!r}"
    raise MalformedResponseError(text)


def _headers(value: Json) -> list[tuple[bytes, bytes]]:
    if value is None:
        return []
    if not isinstance(value, dict):
        text = "headers is not an object"
        raise MalformedResponseError(text)
    headers: list[tuple[bytes, bytes]] = []
    for name, item in value.items():
        if _HEADER_NAME.fullmatch(name) is None:
            text = f"header name {name!r}"
            raise MalformedResponseError(text)
        if name.lower() not in _SERVERS_OWN:
            headers.append((name.lower().encode(), _value(name, item)))
    return headers


def _cookies(value: Json) -> list[Json]:
    if value is None:
        return []
    if isinstance(value, list):
        return value
    text = "cookies is not a list"
    raise MalformedResponseError(text)


def _value(name: str, value: Json) -> bytes:
    if isinstance(value, bool):
        value = "true" if value else "false"
    if isinstance(value, str | int | float):
        line = str(value).strip()
        if _HEADER_VALUE.fullmatch(line) is not None:
            return line.encode()
    text = f"value of {name}"
    raise MalformedResponseError(text)


def _body(output: dict[str, Json]) -> bytes:
    body = output.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        text = "body is not a string"
        raise MalformedResponseError(text)
    if output.get("isBase64Encoded") is not True:
        return body.encode("utf-8", "replace")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        text = "body is not base64"
        raise MalformedResponseError(text) from error
