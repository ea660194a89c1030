"""The URLs that payloads may be fetched from (ping mode): an allow-list of URL prefixes.

A URL must begin with a prefix of the list, character by character. Its scheme, host and port are therefore those of the
list: they are never parsed out of the URL, where parsers disagree (`https://good@evil`, backslashes, tabs).
"""

import re
from dataclasses import dataclass
from typing import Self

from terra_connections.data.fetch_errors import Refusal, Refused
from terra_connections.errors import Misconfigured

MOST_PREFIXES = 10
MOST_CHARACTERS = 4096
"""Of a URL. A presigned one has about 2,000, most of them for a session token."""

# The last label of a name has a letter, so that no spelling of an IP address is a name.
_HOST = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PATH = r"/(?:[A-Za-z0-9_~-][A-Za-z0-9._~-]*/)+"
_PREFIX = re.compile(rf"(https)://({_HOST})()({_PATH})")
_LOCAL_PREFIX = re.compile(rf"(http)://([a-z0-9.-]+)(:[0-9]{{1,5}})?({_PATH})")
_REST = re.compile(r"(?P<path>[A-Za-z0-9._~!$&'()*+,;=:@%/-]+)(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
_MISLEADING = re.compile(r"(^|/)/|(^|/)\.{1,2}(/|$)|%(?![0-9A-Fa-f]{2})|%(2[eEfF]|5[cC]|25|[01][0-9A-Fa-f]|7[fF])")
"""In a path: empty and dot segments, and encoded dots, slashes, backslashes, percent signs and control characters.
Servers resolve them in different ways, and so they could lead out of the prefix."""


@dataclass(frozen=True, slots=True)
class PayloadUrl:
    """An accepted URL.

    Attributes:
        is_local: whether it is a server of a local stack, which is reached without TLS and at any address.
        target: the path and the query, exactly as they came.
    """

    host: str
    port: int
    is_local: bool
    target: str


@dataclass(frozen=True, slots=True)
class _Prefix:
    text: str
    host: str
    port: int
    is_local: bool
    path: str


class PayloadUrls:
    """The allow-list."""

    def __init__(self, prefixes: tuple[_Prefix, ...]) -> None:
        self._prefixes = prefixes

    @classmethod
    def parse(cls, text: str, *, is_local: bool) -> Self:
        """Parse a comma-separated list of URL prefixes, such as `https://bucket.example.com/payloads/`.

        Args:
            text: the list; empty to accept no URL.
            is_local: whether the stack runs on a local machine, where http, IP addresses and ports are accepted, too.

        Raises:
            Misconfigured: an entry is not a URL prefix.
        """
        entries = text.split(",") if text else []
        if len(entries) > MOST_PREFIXES:
            message = f"PAYLOAD_URLS must have at most {MOST_PREFIXES} entries."
            raise Misconfigured(message)
        return cls(tuple(_prefix(entry, is_local=is_local) for entry in entries))

    def accepted(self, url: str) -> PayloadUrl:
        """Return what a URL refers to.

        Raises:
            Refused: it is not below a prefix of the list, or its path could be resolved to one that is not.
        """
        if len(url) <= MOST_CHARACTERS:
            for prefix in self._prefixes:
                rest = _REST.fullmatch(url, len(prefix.text)) if url.startswith(prefix.text) else None
                if rest and not _MISLEADING.search(rest["path"]):
                    target = prefix.path + url[len(prefix.text) :]
                    return PayloadUrl(prefix.host, prefix.port, prefix.is_local, target)
        raise Refused(Refusal.URL)


def _prefix(entry: str, *, is_local: bool) -> _Prefix:
    found = _PREFIX.fullmatch(entry) or (is_local and _LOCAL_PREFIX.fullmatch(entry))
    if not found:
        message = (
            "PAYLOAD_URLS must be URL prefixes such as https://bucket.example.com/payloads/, comma-separated without "
            "spaces: https, a lower-case host name, no port, no user name, and a path that ends with /."
        )
        raise Misconfigured(message)
    scheme, host, port, path = found.groups()
    default = 443 if scheme == "https" else 80
    return _Prefix(entry, host, int(port[1:]) if port else default, scheme == "http", path)
