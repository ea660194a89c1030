"""Events as HTTP APIs build them, payload format 2.0.

Behaviour observed on AWS and reproduced here, where the documentation is silent or differs:

- `rawPath` and `requestContext.http.path` are percent-decoded, and end before a decoded `?`; so routes are matched on
  the decoded path. `rawQueryString` is passed on unchanged.
- The `cookie` header is moved to `cookies`; a field that would be empty is absent.
- A body is text for `text/*`, `application/json`, `application/xml` and `application/javascript`. Everything else is
  base64, also `application/x-www-form-urlencoded` and a body without a content type.
"""

import base64
import secrets
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from local.gateway.intrinsics import ACCOUNT_ID
from local.gateway.routes import Match

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_TEXT_TYPES: Final = frozenset({"application/json", "application/xml", "application/javascript"})

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
Event = dict[str, Json]


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a request's target."""

    path: str
    query: str

    @classmethod
    def of(cls, request: Request) -> "Target":
        """Decode the path once, and the query not at all, as API Gateway does."""
        path: str = request.scope["path"]
        return cls(path.partition("?")[0], request.scope["query_string"].decode("latin-1"))


@dataclass(frozen=True, slots=True)
class Api:
    """The API's identity in events."""

    api_id: str
    region: str
    port: int

    @property
    def domain(self) -> str:
        """The API's own name on AWS: a handler that builds its address from it is noticed at once."""
        return f"{self.api_id}.execute-api.{self.region}.amazonaws.com"


def new_request_id() -> str:
    """An id in API Gateway's format."""
    return base64.b64encode(secrets.token_bytes(11)).decode()


def build_event(request: Request, content: bytes, target: Target, match: Match, api: Api, request_id: str) -> Event:
    """The event for an integration; the authorizer's context is added by `with_authorizer`."""
    event = _common(request, len(content), target, match, api, request_id)
    body, is_base64 = _body(request, content)
    if body is not None:
        event["body"] = body
    event["isBase64Encoded"] = is_base64
    return event


def authorizer_event(event: Event, request: Request, api: Api, identity: tuple[str, ...]) -> Event:
    """The event for a Lambda authorizer: the same request without its body."""
    arn = f"arn:aws:execute-api:{api.region}:{ACCOUNT_ID}:{api.api_id}"
    return {
        **{key: value for key, value in event.items() if key not in {"body", "isBase64Encoded"}},
        "type": "REQUEST",
        "routeArn": f"{arn}/$default/{request.method}{event['rawPath']}",
        "identitySource": list(identity),
    }


def with_authorizer(event: Event, context: dict[str, Json] | None) -> Event:
    """The event with the authorizer's context."""
    request_context = event["requestContext"]
    if not isinstance(request_context, dict):
        raise TypeError(request_context)
    return {**event, "requestContext": {**request_context, "authorizer": {"lambda": context}}}


def headers_of(request: Request) -> dict[str, str]:
    """Header names in lower case, duplicates joined by a comma, without cookies and hop-by-hop headers."""
    names = [name for name in request.headers if name not in HOP_BY_HOP and name != "cookie"]
    return {name: ",".join(request.headers.getlist(name)) for name in names}


def _common(request: Request, length: int, target: Target, match: Match, api: Api, request_id: str) -> Event:
    now = time.time()
    headers = headers_of(request)
    if length:
        headers["content-length"] = str(length)
    client = "" if request.client is None else request.client.host
    forwarded = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{forwarded}, {client}" if forwarded else client
    headers["x-forwarded-port"] = str(api.port)
    headers["x-forwarded-proto"] = "http"
    headers.setdefault("x-amzn-trace-id", f"Root=1-{int(now):08x}-{secrets.token_hex(12)}")
    event: Event = {
        "version": "2.0",
        "routeKey": match.route.key,
        "rawPath": target.path,
        "rawQueryString": target.query,
        "headers": dict(headers),
        "requestContext": {
            "accountId": ACCOUNT_ID,
            "apiId": api.api_id,
            "domainName": api.domain,
            "domainPrefix": api.api_id,
            "http": {
                "method": request.method,
                "path": target.path,
                "protocol": f"HTTP/{request.scope['http_version']}",
                "sourceIp": client,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": match.route.key,
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now)),
            "timeEpoch": int(now * 1000),
        },
    }
    if cookies := _cookies(request):
        event["cookies"] = cookies
    if query := _query(target.query):
        event["queryStringParameters"] = query
    if match.parameters:
        event["pathParameters"] = dict(match.parameters)
    return event


def _cookies(request: Request) -> list[Json]:
    values = request.headers.getlist("cookie")
    return [cookie.strip() for value in values for cookie in value.split(";") if cookie.strip()]


def _query(raw: str) -> dict[str, Json]:
    joined: dict[str, Json] = {}
    for name, value in parse_qsl(raw, keep_blank_values=True, errors="replace"):
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _body(request: Request, content: bytes) -> tuple[str | None, bool]:
    if not content:
        return None, False
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type.startswith("text/") or media_type in _TEXT_TYPES:
        try:
            return content.decode("utf-8"), False
        except UnicodeDecodeError:
            pass  # declared as text but is not: only base64 keeps the bytes
    return base64.b64encode(content).decode("ascii"), True
