"""Where a person may be sent after a login: by a configured name, never by an address in a request.

A target is an exact https address (a web page, or a universal or App Link of the app's own domain) or an address of the
app's own scheme. What the app gets is added to its query; what the address has already stays.
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from terra_connections.errors import Misconfigured, UnknownReturnTarget

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_ADDRESS = re.compile(r"[\x21-\x7e]{1,2048}")
_CUSTOM_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,63}", re.ASCII)
# Schemes that a browser or a phone acts on by itself.
_NOT_AN_APP = re.compile(
    "about|blob|chrome.*|content|data|file|filesystem|ftp|https?|intent|jar|javascript|mailto|ms-.*|sms|tel|vbscript|"
    "view-source|wss?"
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_OURS = frozenset({"session_id", "status", "resource", "reason"})


class ReturnTargets:
    """The configured return targets."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)

    @classmethod
    def parse(cls, text: str, *, is_local: bool) -> "ReturnTargets":
        """Read and check the configuration.

        Args:
            text: a JSON object of name -> address.
            is_local: whether the stack itself runs on a laptop; only then may a target.

        Raises:
            Misconfigured: says which target is wrong and why.
        """
        try:
            addresses = json.loads(text or "{}")
        except ValueError as error:
            message = f"RETURN_TARGETS is not JSON: {error}"
            raise Misconfigured(message) from error
        if not isinstance(addresses, dict):
            message = "RETURN_TARGETS must be a JSON object of name -> address."
            raise Misconfigured(message)
        for name, address in addresses.items():
            trouble = _trouble(name, address, is_local=is_local)
            if trouble:
                message = f"RETURN_TARGETS: {name!r} {trouble}"
                raise Misconfigured(message)
        return cls(addresses)

    def check(self, name: str) -> None:
        """Make sure that a name is configured.

        Raises:
            UnknownReturnTarget: it is not.
        """
        if name not in self._addresses:
            message = "No return target of this name is configured."
            raise UnknownReturnTarget(message)

    def address(self, name: str, parameters: Mapping[str, str]) -> str | None:
        """The target's address with what the app gets added, or None if the name was configured once and is not now."""
        address = self._addresses.get(name)
        if address is None:
            return None
        return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(parameters)}"


def _trouble(name: str, address: object, *, is_local: bool) -> str | None:
    """What is wrong with a target, or None."""
    if not _NAME.fullmatch(name):
        return "is not a name: letters, digits, '_', '.', '-'"
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address) or "\\" in address:
        return "is not an address"
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"is not an address: {error}"
    if "#" in address:
        return "has a fragment, which would swallow what the app gets"
    if parts.username is not None or parts.password is not None:
        return "has a user name in it"
    if _OURS & {pair.partition("=")[0] for pair in parts.query.split("&")}:
        return f"already has one of the parameters {', '.join(sorted(_OURS))}"
    if parts.scheme == "https":
        return None if host else "has no host"
    if parts.scheme == "http":
        return (
            None if is_local and host in _LOOPBACK else "is http: only a local stack may go to 127.0.0.1 or localhost"
        )
    if _NOT_AN_APP.fullmatch(parts.scheme) or not _CUSTOM_SCHEME.fullmatch(parts.scheme):
        return f"has the scheme {parts.scheme!r}, which is no app's own"
    return None if address.startswith(f"{parts.scheme}://") else "must read scheme://..."
