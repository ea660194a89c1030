"""Requests and responses of an API Gateway HTTP API (payload format 2.0).

Source: AWS, "Create AWS Lambda proxy integrations for HTTP APIs". API Gateway sends header names in lower case,
`sam local` as the client wrote them. Both are read.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from terra_connections.auth.caller import Caller
from terra_connections.errors import Forbidden, InvalidRequest
from terra_connections.ids import reference_id_from

_MAX_PARAMETERS = 50
_APPENDED_BY = re.compile(r"[&?](?:amp;)*")
"""Separators of a redirect's parameters: some senders append with a second "?", or escape "&" as HTML does."""
_SECURITY = {
    "x-content-type-options": "nosniff",
    # Without includeSubDomains: a custom domain may have subdomains that are not this stack's.
    "strict-transport-security": "max-age=31536000",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        event: the event of the Lambda runtime.
        log_fields: fields that the handler adds to the log line of this request: ids only, no personal data.
    """

    event: Mapping[str, Any]
    log_fields: dict[str, str | int | bool] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """GET, POST, ..."""
        method: str = self.event["requestContext"]["http"]["method"]
        return method

    def header(self, name: str) -> str | None:
        """A header's value; copies of one header are joined by commas."""
        wanted = name.lower()
        headers = self.event.get("headers") or {}
        return next((value for key, value in headers.items() if key.lower() == wanted), None)

    @property
    def body(self) -> bytes:
        """The bytes as the client sent them.

        Raises:
            InvalidRequest: the gateway marked the body as base64, and it is not.
        """
        body = self.event.get("body") or ""
        if not self.event.get("isBase64Encoded"):
            return bytes(body, "utf-8", "surrogatepass")
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest([("body", "is not base64")]) from None

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters.

        Raises:
            InvalidRequest: a parameter is repeated, there are too many, or the query is not UTF-8.
        """
        try:
            pairs = parse_qsl(
                self.event.get("rawQueryString") or "",
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MAX_PARAMETERS,
            )
        except ValueError:
            raise InvalidRequest([("query", "is not a query string in UTF-8 of at most 50 parameters")]) from None
        query = dict(pairs)
        if len(query) != len(pairs):
            twice = sorted({name for name, _ in pairs if [key for key, _ in pairs].count(name) > 1})
            raise InvalidRequest([(name, "is given more than once") for name in twice])
        return query

    @property
    def redirect_query(self) -> dict[str, str]:
        """The query of a redirect. It is untrusted, and never rejected: Terra and providers append parameters to it.

        The first value of a repeated parameter counts, because our parameters come first in the URL given to Terra.
        Bytes that are not UTF-8 become replacement characters, which no id and no secret contains.
        """
        query: dict[str, str] = {}
        for part in _APPENDED_BY.split(self.event.get("rawQueryString") or ""):
            name, _, value = part.partition("=")
            query.setdefault(unquote_plus(name, errors="replace"), unquote_plus(value, errors="replace"))
        return query

    def path(self, name: str) -> str:
        """A path parameter."""
        value: str = self.event["pathParameters"][name]
        return value

    def require_caller(self) -> Caller:
        """Return the caller that the authorizer has identified.

        Raises:
            Forbidden: the authorizer has not run, or its context does not contain a caller.
        """
        context = self.event["requestContext"].get("authorizer", {}).get("lambda") or {}
        name, subject = context.get("caller"), reference_id_from(context.get("reference_id"))
        if name == "service":
            return Caller(name)
        if name == "user" and subject is not None:
            return Caller(name, subject)
        message = "The caller is not known."
        raise Forbidden(message)

    def base_url(self, configured: str) -> str:
        """This API's base URL: the configured one, else its own domain name. Never from Host or X-Forwarded-*."""
        return configured.rstrip("/") or f"https://{self.event['requestContext']['domainName']}"


@dataclass(frozen=True, slots=True)
class Response:
    """One response."""

    status: HTTPStatus
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_proxy_result(self) -> dict[str, Any]:
        """Return the response in the format of a proxy integration."""
        return {
            "statusCode": self.status.value,
            "headers": {**_SECURITY, **self.headers},
            "body": self.body,
            "isBase64Encoded": False,
        }


def json_response(
    status: HTTPStatus,
    content: Mapping[str, Any],
    *,
    headers: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> Response:
    """Return a JSON response. It must not be cached, because it contains user data."""
    return Response(
        status,
        json.dumps(content, ensure_ascii=False),
        {"content-type": content_type, "cache-control": "no-store", **(headers or {})},
    )
