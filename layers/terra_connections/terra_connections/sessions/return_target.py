"""Where a person may be sent after a login: by a configured name, never by an address in a request.

A target is the exact https address of a web page (a universal or App Link of the app's own domain is one) or an address
of the app's own scheme, with two slashes or one (RFC 8252, section 7.1); for Android, where Chrome opens an app only by
a tap, with the app's package. What the app gets is added to the address's query; what it has already stays.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from terra_connections.errors import Misconfigured, UnknownReturnTarget

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_ADDRESS = re.compile(r"[\x21-\x7e]{1,2048}")
_CUSTOM_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,63}", re.ASCII)
_PACKAGE = re.compile(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", re.ASCII)
# Schemes that a browser or a phone acts on by itself.
_NOT_AN_APP = re.compile(
    "about|blob|chrome.*|content|data|file|filesystem|ftp|https?|intent|jar|javascript|mailto|ms-.*|sms|tel|vbscript|"
    "view-source|wss?"
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_OURS = frozenset({"session_id", "status", "resource", "reason"})
_KEYS = frozenset({"url", "android_package", "fallback_url"})


@dataclass(frozen=True, slots=True)
class ReturnTarget:
    """One configured target, checked.

    Attributes:
        url: the address of a page, or of the app's own scheme.
        android_package: the Android app that opens it, if a page's button shall say so.
        fallback_url: the page for a phone without that app.
    """

    url: str
    android_package: str | None = None
    fallback_url: str | None = None

    @property
    def is_page(self) -> bool:
        """Whether a browser can be redirected there; into an app's own scheme not every browser follows."""
        return _is_page(self.url)

    @property
    def opens_by_itself(self) -> bool:
        """Whether a page may try to open the app without a tap."""
        return not self.is_page and self.android_package is None

    def address(self, parameters: Mapping[str, str]) -> str:
        """The address with what the app gets; with an Android package, Chrome's `intent:` address.

        Source: Chrome for Developers, "Android Intents with Chrome".
        """
        address = _with(self.url, parameters)
        if self.android_package is None:
            return address
        scheme, _, rest = address.partition(":")
        extras = f"scheme={scheme};package={self.android_package}"
        if self.fallback_url is not None:
            extras += f";S.browser_fallback_url={quote(_with(self.fallback_url, parameters), safe='')}"
        return f"intent:{rest}#Intent;{extras};end"


class ReturnTargets:
    """The configured return targets."""

    def __init__(self, targets: Mapping[str, ReturnTarget]) -> None:
        self._targets = dict(targets)

    @classmethod
    def parse(cls, text: str, *, is_local: bool) -> "ReturnTargets":
        """Read and check the configuration.

        Args:
            text: a JSON object of name -> address, or -> {"url", "android_package", "fallback_url"}.
            is_local: whether the stack itself runs on a laptop; only then may a target.

        Raises:
            Misconfigured: says which target is wrong and why.
        """
        try:
            configured = json.loads(text or "{}")
        except ValueError as error:
            message = f"RETURN_TARGETS is not JSON: {error}"
            raise Misconfigured(message) from error
        if not isinstance(configured, dict):
            message = "RETURN_TARGETS must be a JSON object of name -> address."
            raise Misconfigured(message)
        targets = {}
        for name, value in configured.items():
            target = value if isinstance(value, dict) else {"url": value}
            trouble = _trouble(name, target, is_local=is_local)
            if trouble:
                message = f"RETURN_TARGETS: {name!r} {trouble}"
                raise Misconfigured(message)
            targets[name] = ReturnTarget(**target)
        return cls(targets)

    def __iter__(self) -> Iterator[tuple[str, ReturnTarget]]:
        """Each name with its target."""
        return iter(self._targets.items())

    def check(self, name: str) -> None:
        """Make sure that a name is configured.

        Raises:
            UnknownReturnTarget: it is not.
        """
        if name not in self._targets:
            if not self._targets:
                message = "This deployment has no return targets: leave return_to out."
            else:
                names = ", ".join(sorted(self._targets))
                message = f"return_to must be the name of a return target of this deployment, not a URL: {names}."
            raise UnknownReturnTarget(message)

    def find(self, name: str | None) -> ReturnTarget | None:
        """The target of this name; None also if it was configured once and is not now."""
        return None if name is None else self._targets.get(name)


def _with(address: str, parameters: Mapping[str, str]) -> str:
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(parameters)}"


def _trouble(name: str, target: Mapping[str, object], *, is_local: bool) -> str | None:
    """What is wrong with a target, or None."""
    if not _NAME.fullmatch(name):
        return "is not a name: letters, digits, '_', '.', '-'"
    if unknown := target.keys() - _KEYS:
        return f"has {', '.join(sorted(map(repr, unknown)))}: an object may hold {', '.join(sorted(_KEYS))}"
    trouble = _address_trouble(target.get("url"), is_local=is_local)
    if trouble:
        return trouble
    package, fallback = target.get("android_package"), target.get("fallback_url")
    if package is None:
        return None if fallback is None else "has a fallback_url, which needs an android_package"
    if not isinstance(package, str) or not _PACKAGE.fullmatch(package):
        return "has an android_package that does not read com.example.app"
    if _is_page(target["url"]):
        return "has an android_package, which only an address of the app's own scheme needs"
    if fallback is None:
        return None
    trouble = _address_trouble(fallback, is_local=is_local)
    return f"has a fallback_url that {trouble or 'is no page'}" if trouble or not _is_page(fallback) else None


def _is_page(address: object) -> bool:
    return str(address).startswith(("https:", "http:"))


def _address_trouble(address: object, *, is_local: bool) -> str | None:
    """What is wrong with an address, or None."""
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
    if trouble := _beginning_trouble(address, parts.scheme):
        return trouble
    if parts.scheme == "https":
        return None if host else "has no host"
    if parts.scheme == "http":
        return (
            None if is_local and host in _LOOPBACK else "is http: only a local stack may go to 127.0.0.1 or localhost"
        )
    if _NOT_AN_APP.fullmatch(parts.scheme) or not _CUSTOM_SCHEME.fullmatch(parts.scheme):
        return f"has the scheme {parts.scheme!r}, which is no app's own"
    return None


def _beginning_trouble(address: str, scheme: str) -> str | None:
    """What is wrong with the scheme's spelling, or None. A page needs two slashes, an app's own scheme one."""
    written = address.partition(":")[0]
    if written != scheme and written.lower() == scheme:
        return f"has the scheme {written!r}: write it in lower case ({scheme}:...), as browsers and phones compare it"
    if not address.startswith(f"{scheme}:/"):
        return "must read scheme://..., or scheme:/... with the app's own scheme"
    return "must read https://..." if _is_page(address) and not address.startswith(f"{scheme}://") else None
