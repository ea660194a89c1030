"""The issuer of the app's user tokens, asked for its public keys over HTTPS.

Sources: OpenID Connect Discovery 1.0, section 4 (where the keys are); RFC 7517 (what they are in). urllib3 is what
boto3 speaks HTTP with: it is loaded already, verifies certificates, and reads no proxies from the environment.
"""

import json
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import urllib3

from terra_connections.errors import Misconfigured

WITHIN = timedelta(seconds=3)
"""For all of it. A person is waiting, and API Gateway waits 10 s for an authorizer."""

_SILENCE = urllib3.Timeout(connect=1, read=1)
_MAX_ANSWER = 500_000  # bytes; the largest sets of keys in public have a few ten thousand
_THIS_MACHINE = {"127.0.0.1", "localhost", "host.docker.internal"}
# One connection in an hour: none is kept, which the other side would have closed in between.
_HEADERS = {"accept": "application/json", "connection": "close"}


class IssuerUnreachable(Exception):
    """The issuer did not answer, or answered something that proves nothing.

    None of `errors`: an authorizer has no answer to it. It raises, and API Gateway answers 500.
    """


def _is_usable(url: str, *, is_local: bool) -> bool:
    """Whether keys may be asked for there: by https, and on a laptop by http from itself (from a container, too)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.username is not None or not parts.hostname:
        return False
    return parts.scheme == "https" or (is_local and parts.scheme == "http" and _is_here(parts.hostname))


def _is_here(host: str) -> bool:
    """Whether a name or an address is this machine's own, or that of the bridge between it and its containers."""
    try:
        return host in _THIS_MACHINE or ip_address(host).is_private
    except ValueError:
        return False


class Issuer:
    """One issuer, by the address that its tokens name."""

    def __init__(self, address: str, *, jwks_url: str, is_local: bool) -> None:
        """Take an issuer.

        Args:
            address: as tokens have it in `iss`.
            jwks_url: where its keys are; empty to ask it.
            is_local: whether it may be on this machine.

        Raises:
            Misconfigured: an address is not usable.
        """
        for name, url in (("OidcIssuer", address), ("OidcJwksUrl", jwks_url or address)):
            if not _is_usable(url, is_local=is_local):
                message = f"{name} is not an https address."
                raise Misconfigured(message)
        self._address = address
        self._jwks_url = jwks_url
        self._is_local = is_local
        self._http = urllib3.PoolManager()

    def keys(self) -> Sequence[object]:
        """The entries of its JWK Set, whatever they are.

        Raises:
            IssuerUnreachable: it did not answer in time, or not with that.
        """
        ends_at = time.monotonic() + WITHIN.total_seconds()
        keys = self._read(self._jwks_url or self._discovered(ends_at), ends_at).get("keys")
        if not isinstance(keys, list):
            message = "The issuer's keys are not a JWK Set."
            raise IssuerUnreachable(message)
        return keys

    def _discovered(self, ends_at: float) -> str:
        address = self._address.rstrip("/")
        document = self._read(f"{address}/.well-known/openid-configuration", ends_at)
        # "MUST exactly match" (section 4.3): else an issuer could speak for another one.
        if document.get("issuer") != self._address:
            message = "The issuer's configuration is that of another issuer."
            raise IssuerUnreachable(message)
        url = document.get("jwks_uri")
        if not isinstance(url, str) or not _is_usable(url, is_local=self._is_local):
            message = "The issuer does not name a usable address of its keys."
            raise IssuerUnreachable(message)
        return url

    def _read(self, url: str, ends_at: float) -> dict[str, Any]:
        try:
            content = json.loads(self._get(url, ends_at))
        except (urllib3.exceptions.HTTPError, ValueError, RecursionError) as error:
            message = "The issuer did not answer, or not in JSON."
            raise IssuerUnreachable(message) from error
        if not isinstance(content, dict):
            message = "The issuer answered no JSON object."
            raise IssuerUnreachable(message)
        return content

    def _get(self, url: str, ends_at: float) -> bytes:
        answer = self._http.request(
            "GET", url, headers=_HEADERS, timeout=_SILENCE, retries=False, redirect=False, preload_content=False
        )
        with closing(answer):
            if answer.status != HTTPStatus.OK:
                message = f"The issuer answered {answer.status}."
                raise IssuerUnreachable(message)
            content = bytearray()
            while part := answer.read1(65536):
                content += part
                if len(content) > _MAX_ANSWER or time.monotonic() > ends_at:
                    message = "The issuer's answer is too large, or takes too long."
                    raise IssuerUnreachable(message)
        return bytes(content)
