"""The public keys of the issuer of user tokens, fetched over HTTPS.

Sources: OpenID Connect Discovery 1.0, section 4 (location of the keys); RFC 7517 (their format). urllib3 is boto3's
HTTP client: it is already loaded, verifies certificates, and reads no proxies from the environment.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import jwt
import urllib3
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from terra_connections.errors import Misconfigured

KEYS_KEPT_FOR = timedelta(hours=1)
"""A withdrawn key is accepted for at most this long, unless the issuer is unavailable all the time."""
ASKED_AT_MOST_EVERY = timedelta(seconds=30)
"""The shortest interval between fetches, whatever `kid`s tokens contain. A new key is known within this time."""
ASKED_AGAIN_AFTER = timedelta(seconds=5)
"""The retry interval while no key is known."""

WITHIN = timedelta(seconds=3)
"""Timeout for all requests of a fetch. A user is waiting, and API Gateway waits 10 s for an authorizer."""

_SILENCE = urllib3.Timeout(connect=1, read=1)
_MAX_ANSWER = 500_000  # bytes; the largest public key sets have a few tens of thousands
_THIS_MACHINE = {"127.0.0.1", "localhost", "host.docker.internal"}
# One request an hour: a connection that is kept open would be closed by the server in between.
_HEADERS = {"accept": "application/json", "connection": "close"}


class IssuerUnreachable(Exception):
    """The issuer did not respond, or sent an invalid response.

    Not in `errors`, because an authorizer cannot return a response for it. It raises, and API Gateway returns 500.
    """


def _is_usable(url: str, *, is_local: bool) -> bool:
    """Whether keys may be fetched from a URL: https, or in a local stack http from the machine or a container."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.username is not None or not parts.hostname:
        return False
    return parts.scheme == "https" or (is_local and parts.scheme == "http" and _is_here(parts.hostname))


def _is_here(host: str) -> bool:
    """Whether a host name or address is this machine's own, or that of its container network."""
    try:
        return host in _THIS_MACHINE or ip_address(host).is_private
    except ValueError:
        return False


class Issuer:
    """One issuer, identified by the `iss` of its tokens."""

    def __init__(self, address: str, *, jwks_url: str, is_local: bool) -> None:
        """Create the client of an issuer.

        Args:
            address: the `iss` of its tokens.
            jwks_url: the URL of its keys; empty to use OpenID Connect Discovery.
            is_local: whether it may run on this machine.

        Raises:
            Misconfigured: a URL is not usable.
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
        """Fetch the entries of its JWK Set, without validating them.

        Raises:
            IssuerUnreachable: it did not respond in time, or not with a JWK Set.
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
        # "MUST exactly match" (section 4.3): otherwise an issuer could impersonate another one.
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


class JwksCache:
    """An issuer's public keys: fetched on demand, cached for an hour, and used longer while it is unavailable."""

    def __init__(
        self,
        ask: Callable[[], Sequence[object]],
        *,
        algorithms: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without keys.

        Args:
            ask: fetches the entries of the issuer's JWK Set; raises `IssuerUnreachable`.
            algorithms: the allowed algorithms.
            clock: a monotonic clock, in seconds.
        """
        self._ask = ask
        self._algorithms = algorithms
        self._clock = clock
        self._keys: tuple[jwt.PyJWK, ...] = ()
        self._stale_at = self._ask_at = clock()

    def find(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
        """Return the keys with the token's `kid`, without duplicates.

        A `kid` should identify one key (RFC 7517, section 4.5), but some issuers list several. A token without a `kid`
        requires that there is only one key for its algorithm (OpenID Connect Core, section 10.1).

        Raises:
            IssuerUnreachable: no key is known at all.
        """
        if self._clock() >= self._stale_at:
            self._refresh()
        found = self._known(kid, algorithm)
        if not found:
            self._refresh()
            found = self._known(kid, algorithm)
        return found

    def _known(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
        fitting = [key for key in self._keys if key.algorithm_name == algorithm and kid in (None, key.key_id)]
        distinct = {key.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo): key for key in fitting}
        return [] if kid is None and len(distinct) > 1 else list(distinct.values())

    def _refresh(self) -> None:
        """Fetch the keys, unless they were fetched a moment ago."""
        if self._clock() >= self._ask_at:
            try:
                self._keys = self._usable(self._ask())
            except IssuerUnreachable:
                wait = ASKED_AT_MOST_EVERY if self._keys else ASKED_AGAIN_AFTER
                self._ask_at = self._clock() + wait.total_seconds()
                if not self._keys:
                    raise
            else:
                self._ask_at = self._clock() + ASKED_AT_MOST_EVERY.total_seconds()
                self._stale_at = self._clock() + KEYS_KEPT_FOR.total_seconds()
        if not self._keys:
            message = "The issuer's keys are not known, and it was asked for them a moment ago."
            raise IssuerUnreachable(message)

    def _usable(self, entries: Sequence[object]) -> tuple[jwt.PyJWK, ...]:
        keys = usable_keys(entries, self._algorithms)
        if not keys:
            message = "The issuer has no key that can be used."
            raise IssuerUnreachable(message)
        return keys


def usable_keys(entries: Sequence[object], algorithms: Sequence[str]) -> tuple[jwt.PyJWK, ...]:
    """Return the keys of a JWK Set, one for each algorithm that they allow. Invalid entries are left out."""
    return tuple(
        key
        for entry in entries
        if isinstance(entry, dict)
        for algorithm in algorithms
        if (key := _key_from(entry, algorithm)) is not None
    )


def _key_from(entry: Mapping[str, Any], algorithm: str) -> jwt.PyJWK | None:
    """Return a JWK as a key for one algorithm, or None if it does not allow that. Private keys are rejected."""
    if (entry.get("alg") or algorithm) != algorithm or (entry.get("use") or "sig") != "sig" or "d" in entry:
        return None
    operations = entry.get("key_ops")
    if isinstance(operations, list) and "verify" not in operations:
        return None
    try:
        return jwt.PyJWK(dict(entry), algorithm)
    except jwt.PyJWTError:
        return None
