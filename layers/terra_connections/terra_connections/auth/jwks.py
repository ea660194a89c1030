"""The issuer of the app's user tokens, asked for its public keys over HTTPS.

Sources: OpenID Connect Discovery 1.0, section 4 (where the keys are); RFC 7517 (what they are in). urllib3 is what
boto3 speaks HTTP with: it is loaded already, verifies certificates, and reads no proxies from the environment.
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
"""A key that the issuer withdraws opens for this long at most, unless it is down all the while."""
ASKED_AT_MOST_EVERY = timedelta(seconds=30)
"""Whatever `kid`s are invented; a new key of the issuer's is known within this."""
ASKED_AGAIN_AFTER = timedelta(seconds=5)
"""While no key is known."""

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


class KeyRing:
    """An issuer's public keys: asked for when they are needed, kept for an hour, and served on while it is down."""

    def __init__(
        self,
        ask: Callable[[], Sequence[object]],
        *,
        algorithms: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with no key.

        Args:
            ask: for the entries of the issuer's JWK Set; raises `IssuerUnreachable`.
            algorithms: that keys are wanted for.
            clock: seconds that only go forward.
        """
        self._ask = ask
        self._algorithms = algorithms
        self._clock = clock
        self._keys: tuple[jwt.PyJWK, ...] = ()
        self._stale_at = self._ask_at = clock()

    def find(self, kid: str | None, algorithm: str) -> list[jwt.PyJWK]:
        """The keys that may have signed a token: those under the id that it names, each once.

        An id should stand for one key (RFC 7517, section 4.5), and some issuers list several. A token without an id is
        for the only key there is for its algorithm (OpenID Connect Core, section 10.1).

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
        """Ask the issuer, unless it was asked a moment ago."""
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
    """The keys of a JWK Set, one for each algorithm that it serves. An entry that is none costs only itself."""
    return tuple(
        key
        for entry in entries
        if isinstance(entry, dict)
        for algorithm in algorithms
        if (key := _key_from(entry, algorithm)) is not None
    )


def _key_from(entry: Mapping[str, Any], algorithm: str) -> jwt.PyJWK | None:
    """A JWK as a key for one algorithm, if it is one for that; never a private key, which proves nobody."""
    if (entry.get("alg") or algorithm) != algorithm or (entry.get("use") or "sig") != "sig" or "d" in entry:
        return None
    operations = entry.get("key_ops")
    if isinstance(operations, list) and "verify" not in operations:
        return None
    try:
        return jwt.PyJWK(dict(entry), algorithm)
    except jwt.PyJWTError:
        return None
