"""Verification of user tokens, which the app's own OIDC issuer signs for a signed-in user (RFC 7519, RFC 8725).

A token is untrusted until its signature is verified with a key of the configured issuer. Key URLs (`jku`, `x5u`) and
embedded keys (`jwk`, `x5c`) are ignored. Its `alg` and `kid` only choose among the allowed algorithms and keys.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import jwt

from terra_connections.auth.jwks import JwksClient
from terra_connections.errors import Misconfigured
from terra_connections.ids import ReferenceId, reference_id_from

LEEWAY = timedelta(seconds=30)
"""The largest accepted difference between the issuer's clock and ours."""

_ASYMMETRIC = frozenset(f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)) | {"EdDSA"}
"""Not HS*, because a shared secret does not identify the issuer, and not `none`."""
_MAX_LENGTH = 8192
# Other tokens for the same audience, such as a logout token, do not authenticate a caller.
_TYPES = {"jwt", "at+jwt"}
_VERIFIED_BY = {"email": "email_verified", "phone_number": "phone_number_verified"}
"""Claims that a user may set to another user's value, with the claim that states whether the issuer verified it."""
NO_IDENTITY = {
    *("aud", "azp", "client_id", "exp", "iat", "iss", "jti", "nbf", "nonce", "scope", "sid"),
    *("address", "birthdate", "family_name", "gender", "given_name", "locale", "middle_name", "name", "nickname"),
    *("picture", "preferred_username", "profile", "unique_name", "upn", "updated_at", "website", "zoneinfo"),
    *_VERIFIED_BY.values(),
}
"""Claims whose values are not guaranteed to be unique to one user (OpenID Connect Core, 5.7; Microsoft identity
platform, "Claims that can't be used for authorization")."""
_JWT = jwt.PyJWT(options={"enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules for accepting tokens.

    Attributes:
        issuer: the required `iss`.
        audiences: the accepted audiences; `aud` must contain one.
        algorithms: the allowed signature algorithms.
        claim: the claim that contains the user's `reference_id`.
    """

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    claim: str

    @classmethod
    def parse(cls, *, issuer: str, audience: str, algorithms: str, claim: str) -> Self:
        """Parse the settings of a deployment.

        Raises:
            Misconfigured: the settings are insecure; the message states what to change.
        """
        policy = cls(issuer, _listed(audience), _listed(algorithms), claim)
        if not policy.audiences:
            message = "OidcAudience is empty: tokens that were made for any other app would open."
            raise Misconfigured(message)
        if not policy.algorithms or not _ASYMMETRIC.issuperset(policy.algorithms):
            message = f"OidcAlgorithms may hold {', '.join(sorted(_ASYMMETRIC))}, and must hold one."
            raise Misconfigured(message)
        if claim in NO_IDENTITY:
            message = (
                f"OidcReferenceIdClaim may not be {claim}: users can share or change it. Use sub, or an id of yours."
            )
            raise Misconfigured(message)
        return policy


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part for part in (part.strip() for part in text.split(",")) if part)


class UnverifiedSubjectError(jwt.InvalidTokenError):
    """The issuer has not verified the claim that is the `reference_id`, so it may belong to another user."""


class UserTokenVerifier:
    """Verifies tokens."""

    def __init__(self, policy: Policy, keys: JwksClient, *, checked: Callable[[str], None]) -> None:
        """Create a verifier; `checked` is called with `accepted`, or with the reason of a rejection."""
        self._policy = policy
        self._keys = keys
        self._checked = checked

    def reference_id_of(self, token: str) -> ReferenceId | None:
        """Return the `reference_id` of a valid token; None if the token is rejected.

        Raises:
            IssuerUnreachable: the token cannot be verified, because no key of the issuer is known.
        """
        try:
            subject = self._proven(token)
        except jwt.PyJWTError as error:
            self._checked(type(error).__name__)
            return None
        self._checked("accepted")
        return subject

    def _proven(self, token: str) -> ReferenceId:
        if len(token) > _MAX_LENGTH or not token.isascii():
            message = "too long, or not ASCII"
            raise jwt.DecodeError(message)
        header = jwt.get_unverified_header(token)
        algorithm = header.get("alg")
        if algorithm not in self._policy.algorithms:
            message = "this algorithm is not allowed"
            raise jwt.InvalidAlgorithmError(message)
        # "JWT" stands for the media type application/jwt (RFC 7515, section 4.1.9).
        if str(header.get("typ", "JWT")).lower().removeprefix("application/") not in _TYPES:
            message = "another type of token"
            raise jwt.InvalidTokenError(message)
        keys = self._keys.find(header.get("kid"), algorithm)
        if not keys:
            message = "no such key"
            raise jwt.InvalidKeyError(message)
        claims = self._claims(token, keys, algorithm)
        verified_by = _VERIFIED_BY.get(self._policy.claim)
        if verified_by is not None and claims.get(verified_by) is not True:
            message = f"the subject is not verified: {verified_by} is not true"
            raise UnverifiedSubjectError(message)
        subject = reference_id_from(claims[self._policy.claim])
        if subject is None:
            message = "the subject is not a reference_id"
            raise jwt.exceptions.InvalidSubjectError(message)
        return subject

    def _claims(self, token: str, keys: Sequence[jwt.PyJWK], algorithm: str) -> dict[str, Any]:
        """Return the claims of a token that one of these keys has signed."""
        *others, last = keys
        for key in others:
            with suppress(jwt.InvalidSignatureError, jwt.InvalidKeyError):
                return self._claims(token, [key], algorithm)
        claims: dict[str, Any] = _JWT.decode(
            token,
            last,
            algorithms=[algorithm],
            issuer=self._policy.issuer,
            audience=self._policy.audiences,
            leeway=LEEWAY,
            options={"require": ["exp", self._policy.claim]},
        )
        return claims
