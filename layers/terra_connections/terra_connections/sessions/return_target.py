"""Return targets: where a user is redirected after a login. A request contains a configured name, never a URL.

A target is the exact https URL of a web page (including a universal link or App Link of the app's own domain) or a URL
with the app's own scheme and one or two slashes (RFC 8252, section 7.1). On Android, where Chrome opens an app only
after a tap, it has the app's package, too. The result is added to the URL's query, whose parameters are kept.
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
# Schemes that a browser or a phone handles itself.
_NOT_AN_APP = re.compile(
    "about|blob|chrome.*|content|data|file|filesystem|ftp|https?|intent|jar|javascript|mailto|ms-.*|sms|tel|vbscript|"
    "view-source|wss?"
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})
_OURS = frozenset({"session_id", "status", "resource", "reason"})
_KEYS = frozenset({"url", "android_package", "fallback_url"})


@dataclass(frozen=True, slots=True)
class ReturnTarget:
    """One configured and validated target.

    Attributes:
        url: the URL of a page, or a URL with the app's own scheme.
        android_package: the Android app that opens it, if the button of the page must name it.
        fallback_url: the page for a phone without that app.
    """

    url: str
    android_package: str | None = None
    fallback_url: str | None = None

    @property
    def is_page(self) -> bool:
        """Whether a browser can be redirected to it. Not every browser follows redirects to an app's own scheme."""
        return _is_page(self.url)

    @property
    def opens_by_itself(self) -> bool:
        """Whether a page may try to open the app without a tap."""
        return not self.is_page and self.android_package is None

    def address(self, parameters: Mapping[str, str]) -> str:
        """Return the URL with the app's parameters; with an Android package, Chrome's `intent:` URL.

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
        """Parse and validate the configuration.

        Args:
            text: a JSON object of name -> URL, or -> {"url", "android_package", "fallback_url"}.
            is_local: whether the stack runs on a local machine; only then a target may be on it.

        Raises:
            Misconfigured: a target is invalid; the message states which one and why.
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
        """Iterate over the names and their targets."""
        return iter(self._targets.items())

    def check(self, name: str) -> None:
        """Check that a name is configured.

        Raises:
            UnknownReturnTarget: the name is not configured.
        """
        if name not in self._targets:
            if not self._targets:
                message = "This deployment has no return targets: leave return_to out."
            else:
                names = ", ".join(sorted(self._targets))
                message = f"return_to must be the name of a return target of this deployment, not a URL: {names}."
            raise UnknownReturnTarget(message)

    def find(self, name: str | None) -> ReturnTarget | None:
        """Return the target of this name; None also if it is no longer configured."""
        return None if name is None else self._targets.get(name)


def _with(address: str, parameters: Mapping[str, str]) -> str:
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(parameters)}"


def _trouble(name: str, target: Mapping[str, object], *, is_local: bool) -> str | None:
    """Return why a target is invalid, or None."""
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
    """Return why a URL is invalid, or None."""
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
    """Return why the scheme's spelling is invalid, or None. A page needs two slashes, an app's own scheme one."""
    written = address.partition(":")[0]
    if written != scheme and written.lower() == scheme:
        return f"has the scheme {written!r}: write it in lower case ({scheme}:...), as browsers and phones compare it"
    if not address.startswith(f"{scheme}:/"):
        return "must read scheme://..., or scheme:/... with the app's own scheme"
    return "must read https://..." if _is_page(address) and not address.startswith(f"{scheme}://") else None
