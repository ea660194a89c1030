"""User tokens: valid ones, and invalid ones that look valid."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from terra_connections.auth.jwks import IssuerUnreachable, JwksClient
from terra_connections.auth.user_token import Policy, UserTokenVerifier
from terra_connections.errors import Misconfigured

ISSUER = "https://login.example.com/"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SMALL_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - too short on purpose
P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()

RSA_JWK: dict[str, Any] = {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "rsa", "use": "sig"}
P256_JWK: dict[str, Any] = {**ECAlgorithm.to_jwk(P256.public_key(), as_dict=True), "kid": "p256"}
P384_JWK: dict[str, Any] = {**ECAlgorithm.to_jwk(P384.public_key(), as_dict=True), "kid": "p384"}
ED25519_JWK: dict[str, Any] = {**OKPAlgorithm.to_jwk(ED25519.public_key(), as_dict=True), "kid": "ed"}
KEYS = [RSA_JWK, P256_JWK, P384_JWK, ED25519_JWK]


without_deadline = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The monotonic clock, which PyJWT reads, too."""
    stopped = Clock()
    monkeypatch.setattr(time, "monotonic", stopped)
    return stopped


class FakeIssuer:
    """Returns keys, or fails; counts the calls."""

    def __init__(self, *keys: object) -> None:
        self.keys: list[object] = list(keys)
        self.is_down = False
        self.calls = 0

    def __call__(self) -> list[object]:
        self.calls += 1
        if self.is_down:
            raise IssuerUnreachable
        return self.keys


def policy(**changes: str) -> Policy:
    valid = {"issuer": ISSUER, "audience": "app, app-2", "algorithms": "RS256,ES256", "claim": "sub"}
    return Policy.parse(**{**valid, **changes})


def verifier(
    *keys: object, outcomes: list[str] | None = None, issuer: FakeIssuer | None = None, **changes: str
) -> UserTokenVerifier:
    configured = policy(**changes)
    client = JwksClient(ISSUER, issuer or FakeIssuer(*(keys or KEYS)), algorithms=configured.algorithms)
    return UserTokenVerifier(configured, client, checked=(outcomes if outcomes is not None else []).append)


# Tokens that are created at import must not expire before the last test has run.
DAY = 86_400


def claims(**changes: object) -> dict[str, Any]:
    now = int(time.time())
    valid = {"iss": ISSUER, "aud": "app", "sub": "ada", "iat": now, "exp": now + DAY}
    return {name: value for name, value in {**valid, **changes}.items() if value is not None}


def signed(
    key: Any = RSA,  # noqa: ANN401 - a private key of any kind
    *,
    algorithm: str = "RS256",
    header: dict[str, Any] | None = None,
    content: bytes | None = None,
    **changes: Any,  # noqa: ANN401 - any claim
) -> str:
    payload = json.dumps(claims(**changes)).encode() if content is None else content
    return jwt.api_jws.encode(payload, key, algorithm, headers={"kid": "rsa", **(header or {})})


def assembled(header: dict[str, Any], content: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    """Build a token that no library would create."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, content)]
    message = b".".join(parts)
    return (message + b"." + base64.urlsafe_b64encode(sign(message)).rstrip(b"=")).decode()


# -- accepted tokens ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        (RSA, "RS256", "rsa"),
        (RSA, "RS512", "rsa"),
        (RSA, "PS256", "rsa"),
        (P256, "ES256", "p256"),
        (P384, "ES384", "p384"),
        (ED25519, "EdDSA", "ed"),
    ],
)
def test_a_token_of_the_issuer_is_accepted_with_every_allowed_algorithm(key: object, algorithm: str, kid: str) -> None:
    token = signed(key, algorithm=algorithm, header={"kid": kid})
    assert verifier(algorithms=algorithm).reference_id_of(token) == "ada"
    other = "ES256" if algorithm == "RS256" else "RS256"
    assert verifier(algorithms=other).reference_id_of(token) is None


@pytest.mark.parametrize("audience", ["app", "app-2", ["other", "app"], ["app"]])
def test_a_token_for_one_of_the_audiences_is_accepted(audience: object) -> None:
    assert verifier().reference_id_of(signed(aud=audience)) == "ada"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt", "at+jwt", "application/at+jwt", ""])
def test_a_token_may_have_a_type_of_access_or_identity_tokens(typ: str) -> None:
    assert verifier().reference_id_of(signed(header={"typ": typ})) == "ada"


def test_another_claim_may_be_configured_as_the_reference_id() -> None:
    tokens = verifier(claim="username")
    assert tokens.reference_id_of(signed(username="u-7")) == "u-7"
    assert tokens.reference_id_of(signed()) is None


@pytest.mark.parametrize(
    ("claim", "flag", "value"),
    [("email", "email_verified", "ada@example.com"), ("phone_number", "phone_number_verified", "+441632960001")],
)
def test_an_email_or_phone_number_is_accepted_only_if_the_issuer_has_verified_it(
    claim: str, flag: str, value: str
) -> None:
    outcomes: list[str] = []
    tokens = verifier(claim=claim, outcomes=outcomes)

    def token(verified: object) -> str:
        more: dict[str, Any] = {claim: value, flag: verified}
        return signed(**more)

    assert tokens.reference_id_of(token(verified=True)) == value
    invalid: list[object] = [False, None, 1, "true", "false", "", [True], {}]
    for unverified in invalid:
        assert tokens.reference_id_of(token(unverified)) is None
    assert outcomes == ["accepted", *["UnverifiedSubjectError"] * 8]


@pytest.mark.parametrize("claim", ["preferred_username", "upn", "name", "nickname", "aud", "azp", "email_verified"])
def test_a_claim_that_users_can_share_cannot_be_configured(claim: str) -> None:
    with pytest.raises(Misconfigured, match=f"may not be {claim}"):
        policy(claim=claim)


def test_a_subject_may_be_any_reference_id() -> None:
    for subject in ("ada@example.com/ü", "auth0|5f7c8ec7c33c6c004bbafe82", "名前", "a" * 256):
        assert verifier().reference_id_of(signed(sub=subject)) == subject


@pytest.mark.parametrize("changes", [{"exp": -20}, {"iat": 20, "nbf": 20}])
def test_clocks_may_differ_by_30_seconds(changes: dict[str, int]) -> None:
    now = int(time.time())
    times: dict[str, Any] = {name: now + seconds for name, seconds in changes.items()}
    assert verifier().reference_id_of(signed(**times)) == "ada"


SECOND_RSA_JWK = {**RSAAlgorithm.to_jwk(OTHER_RSA.public_key(), as_dict=True), "kid": "rsa", "use": "sig"}
SHORT_RSA_JWK = {**RSAAlgorithm.to_jwk(SMALL_RSA.public_key(), as_dict=True), "kid": "rsa"}


@pytest.mark.parametrize(
    "keys",
    [
        [RSA_JWK, RSA_JWK],
        [RSA_JWK, SECOND_RSA_JWK],
        [SECOND_RSA_JWK, RSA_JWK, SECOND_RSA_JWK],
        [SHORT_RSA_JWK, RSA_JWK],
        [RSA_JWK, SHORT_RSA_JWK],
        [{**P256_JWK, "kid": "rsa"}, RSA_JWK],
        [{**SECOND_RSA_JWK, "use": "enc"}, RSA_JWK],
        [{**SECOND_RSA_JWK, "key_ops": ["encrypt"]}, RSA_JWK],
        [{**RSA_JWK, "kid": kid} for kid in (None, 1, ["rsa"], "")] + [RSA_JWK],
        [{**RSA_JWK, "kty": kty} for kty in ("XYZ", None, 7, ["RSA"], "oct")] + [RSA_JWK],
        [{**P256_JWK, "crv": crv, "kid": "rsa"} for crv in ("P-999", None, 7, ["P-256"])] + [RSA_JWK],
        [{**RSA_JWK, "x5c": ["nonsense"], "x5t": 7, "oth": [], "ext": True, "key_ops": ["verify"]}],
        [{**RSA_JWK, "alg": None, "use": None}],
        [{**RSA_JWK, "alg": "", "use": ""}],
        [*[{**SECOND_RSA_JWK, "kid": f"k{number}"} for number in range(300)], RSA_JWK],
    ],
)
def test_other_keys_in_the_set_do_not_affect_a_valid_token(keys: list[object]) -> None:
    assert verifier(*keys).reference_id_of(signed()) == "ada"
    assert verifier(*keys).reference_id_of(signed(P384, algorithm="ES384", header={"kid": "rsa"})) is None


def test_a_token_signed_by_none_of_the_keys_with_its_key_id_is_rejected() -> None:
    third = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    tokens = verifier(RSA_JWK, SECOND_RSA_JWK)
    assert tokens.reference_id_of(signed(OTHER_RSA)) == "ada"
    assert tokens.reference_id_of(signed(third)) is None
    assert tokens.reference_id_of(signed(OTHER_RSA, exp=NOW - 60)) is None


def test_a_key_that_is_listed_twice_verifies_a_token_without_a_key_id() -> None:
    token = jwt.encode(claims(), RSA, "RS256")
    assert verifier(RSA_JWK, {**RSA_JWK, "kid": "again"}).reference_id_of(token) == "ada"


def test_a_token_without_a_key_id_is_accepted_only_if_the_set_has_one_key_of_its_type() -> None:
    token = jwt.encode(claims(), RSA, "RS256")
    assert verifier(RSA_JWK, P256_JWK).reference_id_of(token) == "ada"
    second = {**RSAAlgorithm.to_jwk(OTHER_RSA.public_key(), as_dict=True), "kid": "second"}
    assert verifier(RSA_JWK, second).reference_id_of(token) is None


# -- rejected tokens ---------------------------------------------------------------------------------------------------

PUBLIC_PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
NOW = int(time.time())
REJECTED: dict[str, str] = {
    "expired": signed(exp=NOW - 31),
    "without an expiry": signed(exp=None),
    "an expiry that is not a number": signed(exp="soon"),
    "an infinite expiry": signed(exp=1e999),
    "issued in the future": signed(iat=NOW + DAY),
    "not valid yet": signed(nbf=NOW + DAY),
    "for another app": signed(aud="other"),
    "for an app with a similar name": signed(aud="app-"),
    "without an audience": signed(aud=None),
    "for an empty audience": signed(aud=""),
    "for an audience that is an object": signed(aud={"app": "app"}),
    "of another issuer": signed(iss="https://evil.example.com/"),
    "of an issuer with a similar name": signed(iss=ISSUER.rstrip("/")),
    "without an issuer": signed(iss=None),
    "of several issuers": signed(iss=[ISSUER]),
    "without a subject": signed(sub=None),
    "with an empty subject": signed(sub=""),
    "with the subject null": signed(sub="null"),
    "with a number as subject": signed(sub=7),
    "with a line break in the subject": signed(sub="ada\n"),
    "with a subject that is too long": signed(sub="a" * 257),
    "a logout token": signed(header={"typ": "logout+jwt"}),
    "a type that is a list": signed(header={"typ": ["JWT"]}),
    "signed by another key": signed(OTHER_RSA),
    "signed by another key, with an unknown key id": signed(OTHER_RSA, header={"kid": "evil"}),
    "signed by a key in its header": signed(
        OTHER_RSA,
        header={"kid": "evil", "jwk": {**RSAAlgorithm.to_jwk(OTHER_RSA.public_key(), as_dict=True), "kid": "evil"}},
    ),
    "signed by a key at a URL in its header": signed(
        OTHER_RSA, header={"kid": "evil", "jku": "https://evil.example.com/jwks", "x5u": "https://evil.example.com/x5"}
    ),
    "with an unknown critical header": signed(header={"crit": ["exp2"], "exp2": 1}),
    "with a detached payload": signed(header={"b64": False, "crit": ["b64"]}),
    "unsigned": assembled({"alg": "none", "kid": "rsa"}, claims(), lambda _: b""),
    "unsigned, in other case": assembled({"alg": "nOnE", "kid": "rsa"}, claims(), lambda _: b""),
    "without an algorithm": assembled({"kid": "rsa"}, claims(), lambda _: b""),
    "an algorithm that is a list": assembled({"alg": ["RS256"], "kid": "rsa"}, claims(), lambda _: b""),
    "without a signature": signed().rpartition(".")[0] + ".",
    "signed by the public key as a secret": assembled(
        {"alg": "HS256", "kid": "rsa"}, claims(), lambda m: hmac.digest(PUBLIC_PEM, m, hashlib.sha256)
    ),
    "signed by the public key's modulus as a secret": assembled(
        {"alg": "HS256", "kid": "rsa"}, claims(), lambda m: hmac.digest(RSA_JWK["n"].encode(), m, hashlib.sha256)
    ),
    "by an elliptic curve, under an RSA key's id": signed(P256, algorithm="ES256", header={"kid": "rsa"}),
    "by RSA, under an elliptic curve's id": signed(header={"kid": "p256"}),
    "a key id that is a number": assembled({"alg": "RS256", "kid": 1}, claims(), lambda _: b""),
    "a key id that is a path": signed(header={"kid": "../../dev/null"}),
    "not an object": signed(content=b"[]"),
    "not JSON": signed(content=b"{"),
    "deeply nested": signed(content=b'{"a":' * 1000 + b"1" + b"}" * 1000),
    "too long": signed(padding="a" * 9000),
    "empty": "",
    "two dots": "..",
    "not ASCII": "\ud800.é.\x00",
    "with spaces": f" {signed()} x",
}


@pytest.mark.parametrize("name", REJECTED)
def test_every_other_token_is_rejected(name: str) -> None:
    outcomes: list[str] = []
    assert verifier(outcomes=outcomes).reference_id_of(REJECTED[name]) is None
    assert len(outcomes) == 1
    assert outcomes != ["accepted"]


def test_the_tokens_that_the_rejected_ones_vary_are_accepted() -> None:
    assert verifier().reference_id_of(signed()) == "ada"
    assert verifier().reference_id_of(signed(padding="a" * 1000)) == "ada"


@without_deadline
@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
def test_random_bytes_are_rejected_without_an_error(header: bytes, content: bytes, signature: bytes) -> None:
    parts = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, content, signature))
    assert verifier().reference_id_of(".".join(parts)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@without_deadline
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("iss", "aud", "sub", "exp", "iat", "nbf", "jti"), JSON)))
def test_a_signed_token_is_accepted_only_with_valid_claims(changes: dict[str, object]) -> None:
    content = json.dumps({**claims(), "exp": NOW - 60, **changes}).encode()
    subject = verifier().reference_id_of(signed(content=content))
    assert subject is None or subject == json.loads(content)["sub"]


@without_deadline
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("kid", "typ", "crit", "b64", "jwk", "cty"), JSON)))
def test_a_header_cannot_make_a_forged_token_valid(header: dict[str, object]) -> None:
    forged = assembled({"alg": "RS256", **header}, claims(), lambda _: b"x" * 256)
    assert verifier().reference_id_of(forged) is None


# -- the issuer's keys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        "text",
        None,
        {},
        {"kty": "RSA"},
        {**RSA_JWK, "n": 5},
        {**RSA_JWK, "n": "!"},
        {**RSA_JWK, "use": "enc"},
        {**RSA_JWK, "alg": "RSA-OAEP"},
        {**RSA_JWK, "alg": "RS384"},
        {**RSAAlgorithm.to_jwk(RSA, as_dict=True), "kid": "rsa"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "rsa", "alg": "HS256"},
    ],
)
def test_an_entry_that_is_not_a_signing_key_is_ignored(entry: object) -> None:
    assert verifier(entry, P256_JWK).reference_id_of(signed()) is None
    assert verifier(entry, P256_JWK).reference_id_of(signed(P256, algorithm="ES256", header={"kid": "p256"})) == "ada"


@without_deadline
@given(st.dictionaries(st.sampled_from(["kty", "n", "e", "x", "y", "crv", "kid", "alg", "use"]), JSON))
def test_malformed_entries_cause_no_error(malformed: dict[str, object]) -> None:
    assert (
        verifier({**RSA_JWK, "kid": "malformed", **malformed}, malformed, RSA_JWK).reference_id_of(signed(OTHER_RSA))
        is None
    )


def test_a_token_signed_by_a_short_key_is_rejected() -> None:
    short = {**RSAAlgorithm.to_jwk(SMALL_RSA.public_key(), as_dict=True), "kid": "rsa"}
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = signed(SMALL_RSA)
    assert verifier(short).reference_id_of(token) is None


def test_a_key_on_another_curve_than_the_algorithm_s_is_rejected() -> None:
    assert (
        verifier({**P384_JWK, "kid": "p256"}, RSA_JWK).reference_id_of(
            signed(P256, algorithm="ES256", header={"kid": "p256"})
        )
        is None
    )


def test_keys_are_fetched_once_and_only_when_the_first_token_arrives() -> None:
    issuer = FakeIssuer(*KEYS)
    tokens = verifier(issuer=issuer)
    assert issuer.calls == 0
    for _ in range(3):
        assert tokens.reference_id_of(signed()) == "ada"
    assert issuer.calls == 1


def test_a_malformed_token_does_not_cause_a_fetch_of_keys() -> None:
    issuer = FakeIssuer(*KEYS)
    tokens = verifier(issuer=issuer)
    for name in ("unsigned", "signed by the public key as a secret", "empty", "too long", "a logout token"):
        tokens.reference_id_of(REJECTED[name])
    assert issuer.calls == 0


def test_unknown_key_ids_cause_at_most_one_fetch_in_30_seconds(clock: Clock) -> None:
    issuer = FakeIssuer(*KEYS)
    tokens = verifier(issuer=issuer)
    for number in range(60):
        assert tokens.reference_id_of(signed(OTHER_RSA, header={"kid": f"evil-{number}"})) is None
        clock.now += 1
    assert issuer.calls == 2


def test_a_new_key_is_fetched_for_its_first_token(clock: Clock) -> None:
    issuer = FakeIssuer(P256_JWK)
    tokens = verifier(issuer=issuer)
    assert tokens.reference_id_of(signed()) is None
    issuer.keys.append(RSA_JWK)
    clock.now += 29
    assert tokens.reference_id_of(signed()) is None
    clock.now += 1
    assert tokens.reference_id_of(signed()) == "ada"
    assert issuer.calls == 2


def test_a_withdrawn_key_is_accepted_for_an_hour_at_most(clock: Clock) -> None:
    issuer = FakeIssuer(RSA_JWK)
    tokens = verifier(issuer=issuer)
    assert tokens.reference_id_of(signed()) == "ada"
    issuer.keys = [P256_JWK]
    clock.now += 3600
    assert tokens.reference_id_of(signed()) == "ada"
    clock.now += 1
    assert tokens.reference_id_of(signed()) is None


@pytest.mark.parametrize("fetched", [[], ["nonsense"], [{"kty": "oct", "k": "c2VjcmV0"}], None])
def test_known_keys_remain_valid_while_the_issuer_is_down_or_returns_no_keys(
    clock: Clock, fetched: list[object] | None
) -> None:
    issuer = FakeIssuer(RSA_JWK)
    tokens = verifier(issuer=issuer)
    assert tokens.reference_id_of(signed()) == "ada"
    issuer.keys, issuer.is_down = fetched or [], fetched is None
    for _ in range(60):
        clock.now += 601
        assert tokens.reference_id_of(signed()) == "ada"
        assert tokens.reference_id_of(signed(OTHER_RSA)) is None
    assert issuer.calls == 1 + 55


def test_a_failed_fetch_does_not_extend_the_lifetime_of_known_keys(clock: Clock) -> None:
    issuer = FakeIssuer(RSA_JWK)
    tokens = verifier(issuer=issuer)
    assert tokens.reference_id_of(signed()) == "ada"
    issuer.keys, issuer.is_down = [P256_JWK], True
    clock.now += 3601
    assert tokens.reference_id_of(signed()) == "ada"
    issuer.is_down = False
    clock.now += 30
    assert tokens.reference_id_of(signed()) is None


def test_without_any_key_tokens_are_not_rejected_and_fetches_are_limited(clock: Clock) -> None:
    issuer = FakeIssuer(RSA_JWK)
    issuer.is_down = True
    tokens = verifier(issuer=issuer)
    for _ in range(10):
        with pytest.raises(IssuerUnreachable):
            tokens.reference_id_of(signed())
        clock.now += 1
    assert issuer.calls == 2
    issuer.is_down = False
    assert tokens.reference_id_of(signed()) == "ada"


# -- configuration of a deployment -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithms", ["HS256", "RS256,HS256", "none", "RS256,none", "", ",", "RS256;ES256", "rs256"])
def test_a_symmetric_or_unknown_algorithm_cannot_be_configured(algorithms: str) -> None:
    with pytest.raises(Misconfigured, match="OidcAlgorithms"):
        policy(algorithms=algorithms)


@pytest.mark.parametrize("audience", ["", " ", ","])
def test_an_issuer_without_an_audience_cannot_be_configured(audience: str) -> None:
    with pytest.raises(Misconfigured, match="OidcAudience"):
        policy(audience=audience)
