"""The public keys of the issuer of user tokens: PyJWT's client of a JWK Set, with an HTTP request that has limits.

Sources: OpenID Connect Discovery 1.0, section 4 (location of the keys); RFC 7517 (their format). urllib3 is boto3's
HTTP client: it is already loaded, verifies certificates, and reads no proxies from the environment.
"""

import json
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import jwt
import urllib3
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from terra_connections.errors import Misconfigured

KEYS_LIFESPAN = timedelta(hours=1)
"""A withdrawn key is accepted for at most this long, unless the issuer is unavailable all the time."""
FETCH_INTERVAL = timedelta(seconds=30)
"""The shortest interval between fetches, whatever `kid`s tokens contain. A new key is known within this time."""
RETRY_INTERVAL = timedelta(seconds=5)
"""The shortest interval between fetches while no key is known."""
FETCH_TIMEOUT = timedelta(seconds=3)
"""Timeout for all requests of a fetch. A user is waiting, and API Gateway waits 10 s for an authorizer."""

_WAIT = urllib3.Timeout(connect=1, read=1)  # seconds, for each wait within a request
_MAX_RESPONSE = 500_000  # bytes; the largest public key sets have a few tens of thousands
_LOCAL_HOSTS = {"127.0.0.1", "localhost", "host.docker.internal"}
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
        host = parts.hostname or ""
        is_allowed = parts.scheme == "https" or (
            is_local and parts.scheme == "http" and (host in _LOCAL_HOSTS or ip_address(host).is_private)
        )
    except ValueError:  # not a URL, or the name of another host
        return False
    return is_allowed and host != "" and parts.username is None


class Issuer:
    """One issuer, identified by the `iss` of its tokens."""

    def __init__(self, url: str, *, jwks_url: str, is_local: bool) -> None:
        """Create the client of an issuer.

        Args:
            url: the `iss` of its tokens.
            jwks_url: the URL of its keys; empty to use OpenID Connect Discovery.
            is_local: whether it may run on this machine.

        Raises:
            Misconfigured: a URL is not usable.
        """
        for name, value in (("OidcIssuer", url), ("OidcJwksUrl", jwks_url or url)):
            if not _is_usable(value, is_local=is_local):
                message = f"{name} is not an https address."
                raise Misconfigured(message)
        self._url = url
        self._jwks_url = jwks_url
        self._is_local = is_local
        self._http = urllib3.PoolManager()

    def jwks(self) -> list[object]:
        """Fetch the entries of its JWK Set, without validating them.

        Raises:
            IssuerUnreachable: it did not respond in time, or not with a JWK Set.
        """
        ends_at = time.monotonic() + FETCH_TIMEOUT.total_seconds()
        url = self._jwks_url or self._discover(ends_at)
        match self._get(url, ends_at):
            case {"keys": list(entries)}:
                return entries
        message = f"{url} is not a JWK Set."
        raise IssuerUnreachable(message)

    def _discover(self, ends_at: float) -> str:
        url = f"{self._url.rstrip('/')}/.well-known/openid-configuration"
        # The issuer "MUST exactly match" (section 4.3): otherwise it could impersonate another one.
        match self._get(url, ends_at):
            case {"issuer": self._url, "jwks_uri": str(jwks_url)} if _is_usable(jwks_url, is_local=self._is_local):
                return jwks_url
        message = f"{url} is not the configuration of {self._url}, or names no https URL of its keys."
        raise IssuerUnreachable(message)

    def _get(self, url: str, ends_at: float) -> Any:  # noqa: ANN401 - JSON
        try:
            return json.loads(self._body(url, ends_at))
        except (urllib3.exceptions.HTTPError, ValueError, RecursionError) as error:
            message = f"{url} cannot be reached, or does not respond with JSON."
            raise IssuerUnreachable(message) from error

    def _body(self, url: str, ends_at: float) -> bytes:
        body = bytearray()
        with self._http.request(
            "GET", url, headers=_HEADERS, timeout=_WAIT, retries=False, redirect=False, preload_content=False
        ) as response:
            if response.status != HTTPStatus.OK:
                message = f"{url} responds with {response.status}."
                raise IssuerUnreachable(message)
            while part := response.read1(65536):
                body += part
                if len(body) > _MAX_RESPONSE or time.monotonic() > ends_at:
                    message = f"The response of {url} is too large, or takes too long."
                    raise IssuerUnreachable(message)
        return bytes(body)


class JwksClient(jwt.PyJWKClient):
    """An issuer's public keys: fetched on demand, cached for an hour, and used longer while it is unavailable."""

    def __init__(self, url: str, fetch: Callable[[], Sequence[object]], *, algorithms: Sequence[str]) -> None:
        """Start without keys.

        Args:
            url: the issuer's.
            fetch: fetches the entries of the issuer's JWK Set; raises `IssuerUnreachable`.
            algorithms: the allowed algorithms.
        """
        super().__init__(url, lifespan=KEYS_LIFESPAN.total_seconds())
        self._fetch = fetch
        self._algorithms = algorithms
        self._known: jwt.PyJWKSet | None = None
        self._fetch_at = time.monotonic()

    def find(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
        """Return the keys with the token's `kid`, without duplicates.

        A `kid` should identify one key (RFC 7517, section 4.5), but some issuers list several. A token without a `kid`
        requires that there is only one key for its algorithm (OpenID Connect Core, section 10.1).

        Raises:
            IssuerUnreachable: no key is known at all.
        """
        found = _matching(self.get_jwk_set(), kid, algorithm)
        return found or _matching(self.get_jwk_set(refresh=True), kid, algorithm)

    def get_jwk_set(self, refresh: bool = False) -> jwt.PyJWKSet:  # noqa: FBT001, FBT002 - PyJWT's signature
        """Return the issuer's keys, or the last ones that it had if they cannot be fetched now."""
        try:
            self._known = super().get_jwk_set(refresh)
        except IssuerUnreachable:
            if self._known is None:
                raise
        return self._known

    def fetch_data(self) -> jwt.PyJWKSet:
        """Fetch the keys, unless they were fetched a moment ago."""
        if time.monotonic() < self._fetch_at:
            message = "The issuer's keys were fetched a moment ago."
            raise IssuerUnreachable(message)
        interval = RETRY_INTERVAL if self._known is None else FETCH_INTERVAL
        try:
            keys = jwk_set(self._fetch(), self._algorithms)
            interval = FETCH_INTERVAL
        except jwt.PyJWKSetError as error:
            message = "The issuer has no key that can be used."
            raise IssuerUnreachable(message) from error
        finally:
            self._fetch_at = time.monotonic() + interval.total_seconds()
        return keys


def jwk_set(entries: Sequence[object], algorithms: Sequence[str]) -> jwt.PyJWKSet:
    """Return the keys of a JWK Set, one for each algorithm that they allow. Invalid entries are left out.

    Raises:
        jwt.PyJWKSetError: no entry is usable.
    """
    return jwt.PyJWKSet(
        [
            {**entry, "alg": algorithm}
            for entry in entries
            if isinstance(entry, dict)
            for algorithm in algorithms
            if _allows(entry, algorithm)
        ]
    )


def _allows(jwk: dict[str, Any], algorithm: str) -> bool:
    """Whether a JWK allows to verify signatures by an algorithm. Private keys are rejected."""
    operations = jwk.get("key_ops")
    return (
        (jwk.get("alg") or algorithm) == algorithm
        and (jwk.get("use") or "sig") == "sig"
        and (not isinstance(operations, list) or "verify" in operations)
        and "d" not in jwk
    )


def _matching(keys: jwt.PyJWKSet, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
    fitting = [key for key in keys if key.algorithm_name == algorithm and kid in (None, key.key_id)]
    distinct = {key.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo): key for key in fitting}
    return [] if kid is None and len(distinct) > 1 else list(distinct.values())
