"""The record of an answered request, as in an access log, with the user that the request is about."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from local.gateway.event import Json

_LARGEST: Final = 64 * 1024  # bytes of a body that is searched: parsing a large one would delay other requests


@dataclass(frozen=True, slots=True)
class Access:
    """One request. Its path has no query, which may contain secrets."""

    request_id: str
    method: str
    path: str
    status: int
    milliseconds: int
    reference_id: str


OnAccess = Callable[[Access], None]


def reference_id_of(request: Request, body: bytes, response: Response, subject: Json) -> str:
    """The first reference_id of the caller, the query, the body and the response; empty if there is none.

    Args:
        request: The request.
        body: Its body.
        response: The response.
        subject: The reference_id that the authorizer has found, if any.
    """
    found = (value for value in _candidates(request, body, bytes(response.body), subject) if isinstance(value, str))
    return next(found, "")


def _candidates(request: Request, body: bytes, answer: bytes, subject: Json) -> Iterator[object]:
    yield subject
    yield request.query_params.get("reference_id")
    for content in (body, answer):
        parsed = _object(content)
        yield parsed.get("reference_id")
        # In a webhook of Terra.
        user = parsed.get("user")
        yield user.get("reference_id") if isinstance(user, dict) else None


def _object(content: bytes) -> dict[str, Json]:
    if not content.startswith(b"{") or len(content) > _LARGEST:
        return {}
    try:
        parsed: Json = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
