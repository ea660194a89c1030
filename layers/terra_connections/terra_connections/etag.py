"""Conditional requests (RFC 9110, section 13): a client that has an answer already is not sent it again."""

import hashlib
import re
from dataclasses import replace
from http import HTTPStatus

from terra_connections.api_gateway import Response

# A tag may hold commas, so a list of them cannot be split at commas.
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_LIST = re.compile(rf"\s*(?:{_TAG.pattern}\s*)?(?:,\s*(?:{_TAG.pattern}\s*)?)*")


def unless_known(response: Response, if_none_match: str | None) -> Response:
    """The answer with its ETag; 304 without a body if the client's If-None-Match names it.

    Args:
        response: a success.
        if_none_match: the header's value, a list of tags or `*`; what is neither names nothing.
    """
    etag = f'"{hashlib.sha256(response.body.encode()).hexdigest()[:32]}"'
    # The same headers on 304, its type too: a cache updates what it has kept with them.
    tagged = replace(response, headers={**response.headers, "etag": etag})
    if if_none_match is None or not _names(if_none_match, etag):
        return tagged
    return replace(tagged, status=HTTPStatus.NOT_MODIFIED, body="")


def _names(if_none_match: str, etag: str) -> bool:
    if if_none_match.strip() == "*":
        return True
    # Weak comparison: a proxy that compresses makes a tag weak, and W/"x" then still is "x".
    return _LIST.fullmatch(if_none_match) is not None and etag in _TAG.findall(if_none_match)
