"""User tokens: what the app's own OIDC issuer signs for a signed-in person, and how it is proven (RFC 7519, RFC 8725).

Nothing in a token is believed before its signature is, by a key of the configured issuer: not where keys are (`jku`,
`x5u`), not a key that it brings along (`jwk`, `x5c`). Its `alg` and `kid` choose among what is allowed.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import jwt

from terra_connections.auth.jwks import KeyRing
from terra_connections.errors import Misconfigured
from terra_connections.ids import ReferenceId, reference_id_from

LEEWAY = timedelta(seconds=30)
"""By how much the issuer's clock may differ from ours."""

_ASYMMETRIC = frozenset(f"{kind}{bits}" for kind in ("RS", "PS", "ES") for bits in (256, 384, 512)) | {"EdDSA"}
"""A secret that both sides share proves no issuer; and `none` proves nothing."""
_MAX_LENGTH = 8192
# Other things that issuers sign for the same audience, such as a logout token, are no proof of who is calling.
_TYPES = {"jwt", "at+jwt"}
_VERIFIED_BY = {"email": "email_verified", "phone_number": "phone_number_verified"}
"""Claims that a user may set to somebody else's value, with the claim by which the issuer says that it has checked."""
NO_IDENTITY = {
    *("aud", "azp", "client_id", "exp", "iat", "iss", "jti", "nbf", "nonce", "scope", "sid"),
    *("address", "birthdate", "family_name", "gender", "given_name", "locale", "middle_name", "name", "nickname"),
    *("picture", "preferred_username", "profile", "unique_name", "upn", "updated_at", "website", "zoneinfo"),
    *_VERIFIED_BY.values(),
}
"""Claims of which nothing says that a value is one user's alone (OpenID Connect Core, 5.7; Microsoft identity platform,
"Claims that can't be used for authorization")."""
_JWT = jwt.PyJWT(options={"enforce_minimum_key_length": True})


@dataclass(frozen=True, slots=True)
class Policy:
    """Which tokens are taken.

    Attributes:
        issuer: what `iss` must be.
        audiences: of which `aud` must name one.
        algorithms: that signatures may have.
        claim: whose value is the person's `reference_id`.
    """

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    claim: str

    @classmethod
    def parse(cls, *, issuer: str, audience: str, algorithms: str, claim: str) -> Self:
        """Read what a deployment has configured.

        Raises:
            Misconfigured: tokens could not be trusted like this; says what to change.
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
    """The claim that is the `reference_id` can be anybody's: the issuer does not say that it has checked it."""


class UserTokens:
    """Proves tokens."""

    def __init__(self, policy: Policy, keys: KeyRing, *, checked: Callable[[str], None]) -> None:
        """Take a policy and the issuer's keys; `checked` is told `accepted`, or why a token was refused."""
        self._policy = policy
        self._keys = keys
        self._checked = checked

    def subject_of(self, token: str) -> ReferenceId | None:
        """Whom a token was made out to, or None if it proves nobody.

        Raises:
            IssuerUnreachable: that cannot be told, because none of the issuer's keys is known.
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
        """What a token says, as signed by one of these keys."""
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
