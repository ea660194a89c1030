"""Conditional requests (RFC 9110, section 13): a client that already has a response does not get its body again."""

import hashlib
import re
from dataclasses import replace
from http import HTTPStatus

from terra_connections.api_gateway import Response

# A tag may contain commas, so a list of tags cannot be split at commas.
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_LIST = re.compile(rf"\s*(?:{_TAG.pattern}\s*)?(?:,\s*(?:{_TAG.pattern}\s*)?)*")


def unless_known(response: Response, if_none_match: str | None) -> Response:
    """Add an ETag to a response; return 304 without a body if If-None-Match matches it.

    Args:
        response: a successful response.
        if_none_match: the header's value, a list of tags or `*`. Any other value matches nothing.
    """
    etag = f'"{hashlib.sha256(response.body.encode()).hexdigest()[:32]}"'
    # 304 has the same headers, content-type included: a cache updates its stored response with them.
    tagged = replace(response, headers={**response.headers, "etag": etag})
    if if_none_match is None or not _names(if_none_match, etag):
        return tagged
    return replace(tagged, status=HTTPStatus.NOT_MODIFIED, body="")


def _names(if_none_match: str, etag: str) -> bool:
    if if_none_match.strip() == "*":
        return True
    # Weak comparison: a proxy that compresses makes a tag weak, and W/"x" must then still match "x".
    return _LIST.fullmatch(if_none_match) is not None and etag in _TAG.findall(if_none_match)
