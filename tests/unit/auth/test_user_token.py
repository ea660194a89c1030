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
SMALL_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is its point
P256, P384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
ED25519 = ed25519.Ed25519PrivateKey.generate()

RSA_JWK: dict[str, Any] = {**RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True), "kid": "rsa", "use": "sig"}
P256_JWK: dict[str, Any] = {**ECAlgorithm.to_jwk(P256.public_key(), as_dict=True), "kid": "p256"}
P384_JWK: dict[str, Any] = {**ECAlgorithm.to_jwk(P384.public_key(), as_dict=True), "kid": "p384"}
ED25519_JWK: dict[str, Any] = {**OKPAlgorithm.to_jwk(ED25519.public_key(), as_dict=True), "kid": "ed"}
KEYS = [RSA_JWK, P256_JWK, P384_JWK, ED25519_JWK]


patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


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
        self.asked = 0

    def __call__(self) -> list[object]:
        self.asked += 1
        if self.is_down:
            raise IssuerUnreachable
        return self.keys


def policy(**changes: str) -> Policy:
    known = {"issuer": ISSUER, "audience": "app, app-2", "algorithms": "RS256,ES256", "claim": "sub"}
    return Policy.parse(**{**known, **changes})


def tokens(
    *keys: object, told: list[str] | None = None, issuer: FakeIssuer | None = None, **p: str
) -> UserTokenVerifier:
    wanted = policy(**p)
    client = JwksClient(ISSUER, issuer or FakeIssuer(*(keys or KEYS)), algorithms=wanted.algorithms)
    return UserTokenVerifier(wanted, client, checked=(told if told is not None else []).append)


# Tokens that are created at import must not expire before the last test has run.
DAY = 86_400


def claims(**changes: object) -> dict[str, Any]:
    now = int(time.time())
    known = {"iss": ISSUER, "aud": "app", "sub": "ada", "iat": now, "exp": now + DAY}
    return {name: value for name, value in {**known, **changes}.items() if value is not None}


def signed(
    key: Any = RSA,  # noqa: ANN401 - a private key of any kind
    *,
    algorithm: str = "RS256",
    header: dict[str, Any] | None = None,
    content: bytes | None = None,
    **changes: Any,  # noqa: ANN401 - any claim
) -> str:
    said = json.dumps(claims(**changes)).encode() if content is None else content
    return jwt.api_jws.encode(said, key, algorithm, headers={"kid": "rsa", **(header or {})})


def by_hand(header: dict[str, Any], content: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
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
def test_a_token_of_the_issuer_opens_by_every_algorithm_that_is_allowed(key: object, algorithm: str, kid: str) -> None:
    token = signed(key, algorithm=algorithm, header={"kid": kid})
    assert tokens(algorithms=algorithm).reference_id_of(token) == "ada"
    allowed_only_others = "ES256" if algorithm == "RS256" else "RS256"
    assert tokens(algorithms=allowed_only_others).reference_id_of(token) is None


@pytest.mark.parametrize("audience", ["app", "app-2", ["other", "app"], ["app"]])
def test_a_token_for_one_of_the_audiences_opens(audience: object) -> None:
    assert tokens().reference_id_of(signed(aud=audience)) == "ada"


@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt", "at+jwt", "application/at+jwt", ""])
def test_a_token_may_say_that_it_is_one(typ: str) -> None:
    assert tokens().reference_id_of(signed(header={"typ": typ})) == "ada"


def test_the_subject_may_be_another_claim() -> None:
    users = tokens(claim="username")
    assert users.reference_id_of(signed(username="u-7")) == "u-7"
    assert users.reference_id_of(signed()) is None


@pytest.mark.parametrize(
    ("claim", "flag", "value"),
    [("email", "email_verified", "ada@example.com"), ("phone_number", "phone_number_verified", "+441632960001")],
)
def test_a_subject_that_a_user_can_type_in_opens_only_where_the_issuer_has_verified_it(
    claim: str, flag: str, value: str
) -> None:
    told: list[str] = []
    users = tokens(claim=claim, told=told)

    def said(verified: object) -> str:
        more: dict[str, Any] = {claim: value, flag: verified}
        return signed(**more)

    assert users.reference_id_of(said(verified=True)) == value
    odd: list[object] = [False, None, 1, "true", "false", "", [True], {}]
    for unverified in odd:
        assert users.reference_id_of(said(unverified)) is None
    assert told == ["accepted", *["UnverifiedSubjectError"] * 8]


@pytest.mark.parametrize("claim", ["preferred_username", "upn", "name", "nickname", "aud", "azp", "email_verified"])
def test_a_claim_that_is_not_one_user_s_alone_cannot_be_configured(claim: str) -> None:
    with pytest.raises(Misconfigured, match=f"may not be {claim}"):
        policy(claim=claim)


def test_a_subject_may_be_any_reference_id() -> None:
    for subject in ("ada@example.com/ü", "auth0|5f7c8ec7c33c6c004bbafe82", "名前", "a" * 256):
        assert tokens().reference_id_of(signed(sub=subject)) == subject


@pytest.mark.parametrize("changes", [{"exp": -20}, {"iat": 20, "nbf": 20}])
def test_clocks_may_differ_by_half_a_minute(changes: dict[str, int]) -> None:
    now = int(time.time())
    times: dict[str, Any] = {name: now + seconds for name, seconds in changes.items()}
    assert tokens().reference_id_of(signed(**times)) == "ada"


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
def test_whatever_else_a_set_lists_a_token_opens_by_the_key_that_signed_it(keys: list[object]) -> None:
    assert tokens(*keys).reference_id_of(signed()) == "ada"
    assert tokens(*keys).reference_id_of(signed(P384, algorithm="ES384", header={"kid": "rsa"})) is None


def test_several_keys_under_one_id_open_nothing_that_none_of_them_signed() -> None:
    third = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    users = tokens(RSA_JWK, SECOND_RSA_JWK)
    assert users.reference_id_of(signed(OTHER_RSA)) == "ada"
    assert users.reference_id_of(signed(third)) is None
    assert users.reference_id_of(signed(OTHER_RSA, exp=NOW - 60)) is None


def test_a_key_that_is_listed_twice_is_still_the_only_one() -> None:
    token = jwt.encode(claims(), RSA, "RS256")
    assert tokens(RSA_JWK, {**RSA_JWK, "kid": "again"}).reference_id_of(token) == "ada"


def test_a_token_without_a_key_id_is_read_by_the_only_key_there_is() -> None:
    token = jwt.encode(claims(), RSA, "RS256")
    assert tokens(RSA_JWK, P256_JWK).reference_id_of(token) == "ada"
    second = {**RSAAlgorithm.to_jwk(OTHER_RSA.public_key(), as_dict=True), "kid": "second"}
    assert tokens(RSA_JWK, second).reference_id_of(token) is None


# -- rejected tokens ---------------------------------------------------------------------------------------------------

PUBLIC_PEM = RSA.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
NOW = int(time.time())
FORGED: dict[str, str] = {
    "expired": signed(exp=NOW - 31),
    "without an end": signed(exp=None),
    "its end is no number": signed(exp="soon"),
    "its end is no time": signed(exp=1e999),
    "from the future": signed(iat=NOW + DAY),
    "not valid yet": signed(nbf=NOW + DAY),
    "for another app": signed(aud="other"),
    "for an app that is named alike": signed(aud="app-"),
    "for nobody": signed(aud=None),
    "for an empty audience": signed(aud=""),
    "for an odd audience": signed(aud={"app": "app"}),
    "of another issuer": signed(iss="https://evil.example.com/"),
    "of an issuer that is named alike": signed(iss=ISSUER.rstrip("/")),
    "of no issuer": signed(iss=None),
    "of several issuers": signed(iss=[ISSUER]),
    "about nobody": signed(sub=None),
    "about the empty name": signed(sub=""),
    "about null": signed(sub="null"),
    "about a number": signed(sub=7),
    "about a name with a line break": signed(sub="ada\n"),
    "about a name that is too long": signed(sub="a" * 257),
    "a logout token": signed(header={"typ": "logout+jwt"}),
    "of an odd type": signed(header={"typ": ["JWT"]}),
    "signed by somebody else": signed(OTHER_RSA),
    "signed by somebody else, key id unknown": signed(OTHER_RSA, header={"kid": "evil"}),
    "signed by a key that it brings along": signed(
        OTHER_RSA,
        header={"kid": "evil", "jwk": {**RSAAlgorithm.to_jwk(OTHER_RSA.public_key(), as_dict=True), "kid": "evil"}},
    ),
    "signed by a key that it says where to find": signed(
        OTHER_RSA, header={"kid": "evil", "jku": "https://evil.example.com/jwks", "x5u": "https://evil.example.com/x5"}
    ),
    "with a critical header that nobody knows": signed(header={"crit": ["exp2"], "exp2": 1}),
    "with its content apart": signed(header={"b64": False, "crit": ["b64"]}),
    "unsigned": by_hand({"alg": "none", "kid": "rsa"}, claims(), lambda _: b""),
    "unsigned, in other letters": by_hand({"alg": "nOnE", "kid": "rsa"}, claims(), lambda _: b""),
    "without an algorithm": by_hand({"kid": "rsa"}, claims(), lambda _: b""),
    "its algorithm is a list": by_hand({"alg": ["RS256"], "kid": "rsa"}, claims(), lambda _: b""),
    "its signature is missing": signed().rpartition(".")[0] + ".",
    "signed by the public key as a secret": by_hand(
        {"alg": "HS256", "kid": "rsa"}, claims(), lambda m: hmac.digest(PUBLIC_PEM, m, hashlib.sha256)
    ),
    "signed by the public key's number as a secret": by_hand(
        {"alg": "HS256", "kid": "rsa"}, claims(), lambda m: hmac.digest(RSA_JWK["n"].encode(), m, hashlib.sha256)
    ),
    "by an elliptic curve, under an RSA key's id": signed(P256, algorithm="ES256", header={"kid": "rsa"}),
    "by RSA, under an elliptic curve's id": signed(header={"kid": "p256"}),
    "its key id is a number": by_hand({"alg": "RS256", "kid": 1}, claims(), lambda _: b""),
    "its key id is a path": signed(header={"kid": "../../dev/null"}),
    "not an object": signed(content=b"[]"),
    "not JSON": signed(content=b"{"),
    "nested without end": signed(content=b'{"a":' * 1000 + b"1" + b"}" * 1000),
    "too long": signed(padding="a" * 9000),
    "nothing": "",
    "two dots": "..",
    "no ASCII": "\ud800.é.\x00",
    "with spaces": f" {signed()} x",
}


@pytest.mark.parametrize("name", FORGED)
def test_nothing_else_opens(name: str) -> None:
    told: list[str] = []
    assert tokens(told=told).reference_id_of(FORGED[name]) is None
    assert len(told) == 1
    assert told != ["accepted"]


def test_what_was_refused_would_have_opened_but_for_that() -> None:
    assert tokens().reference_id_of(signed()) == "ada"
    assert tokens().reference_id_of(signed(padding="a" * 1000)) == "ada"


@patient
@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=300))
def test_noise_opens_nothing_and_breaks_nothing(header: bytes, content: bytes, signature: bytes) -> None:
    parts = (base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, content, signature))
    assert tokens().reference_id_of(".".join(parts)) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@patient
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("iss", "aud", "sub", "exp", "iat", "nbf", "jti"), JSON)))
def test_whatever_an_issuer_signs_nothing_but_a_whole_token_opens(changes: dict[str, object]) -> None:
    content = json.dumps({**claims(), "exp": NOW - 60, **changes}).encode()
    subject = tokens().reference_id_of(signed(content=content))
    assert subject is None or subject == json.loads(content)["sub"]


@patient
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("kid", "typ", "crit", "b64", "jwk", "cty"), JSON)))
def test_a_header_can_ask_for_nothing(header: dict[str, object]) -> None:
    forged = by_hand({"alg": "RS256", **header}, claims(), lambda _: b"x" * 256)
    assert tokens().reference_id_of(forged) is None


# -- the issuer's keys -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "useless",
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
def test_an_entry_that_is_no_key_for_signatures_is_left_out(useless: object) -> None:
    assert tokens(useless, P256_JWK).reference_id_of(signed()) is None
    assert tokens(useless, P256_JWK).reference_id_of(signed(P256, algorithm="ES256", header={"kid": "p256"})) == "ada"


@patient
@given(st.dictionaries(st.sampled_from(["kty", "n", "e", "x", "y", "crv", "kid", "alg", "use"]), JSON))
def test_odd_entries_break_nothing(odd: dict[str, object]) -> None:
    assert tokens({**RSA_JWK, "kid": "odd", **odd}, odd, RSA_JWK).reference_id_of(signed(OTHER_RSA)) is None


def test_a_key_that_is_too_short_proves_nothing() -> None:
    short = {**RSAAlgorithm.to_jwk(SMALL_RSA.public_key(), as_dict=True), "kid": "rsa"}
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = signed(SMALL_RSA)
    assert tokens(short).reference_id_of(token) is None


def test_a_curve_that_is_not_the_algorithm_s_proves_nothing() -> None:
    assert (
        tokens({**P384_JWK, "kid": "p256"}, RSA_JWK).reference_id_of(
            signed(P256, algorithm="ES256", header={"kid": "p256"})
        )
        is None
    )


def test_keys_are_asked_for_once_and_only_when_a_token_comes() -> None:
    issuer = FakeIssuer(*KEYS)
    users = tokens(issuer=issuer)
    assert issuer.asked == 0
    for _ in range(3):
        assert users.reference_id_of(signed()) == "ada"
    assert issuer.asked == 1


def test_what_could_be_no_token_asks_for_no_keys() -> None:
    issuer = FakeIssuer(*KEYS)
    users = tokens(issuer=issuer)
    for name in ("unsigned", "signed by the public key as a secret", "nothing", "too long", "a logout token"):
        users.reference_id_of(FORGED[name])
    assert issuer.asked == 0


def test_invented_key_ids_ask_once_in_half_a_minute(clock: Clock) -> None:
    issuer = FakeIssuer(*KEYS)
    users = tokens(issuer=issuer)
    for number in range(60):
        assert users.reference_id_of(signed(OTHER_RSA, header={"kid": f"evil-{number}"})) is None
        clock.now += 1
    assert issuer.asked == 2


def test_a_new_key_is_learnt_from_its_first_token(clock: Clock) -> None:
    issuer = FakeIssuer(P256_JWK)
    users = tokens(issuer=issuer)
    assert users.reference_id_of(signed()) is None
    issuer.keys.append(RSA_JWK)
    clock.now += 29
    assert users.reference_id_of(signed()) is None
    clock.now += 1
    assert users.reference_id_of(signed()) == "ada"
    assert issuer.asked == 2


def test_a_withdrawn_key_opens_for_an_hour_at_most(clock: Clock) -> None:
    issuer = FakeIssuer(RSA_JWK)
    users = tokens(issuer=issuer)
    assert users.reference_id_of(signed()) == "ada"
    issuer.keys = [P256_JWK]
    clock.now += 3600
    assert users.reference_id_of(signed()) == "ada"
    clock.now += 1
    assert users.reference_id_of(signed()) is None


@pytest.mark.parametrize("answer", [[], ["nonsense"], [{"kty": "oct", "k": "c2VjcmV0"}], None])
def test_known_keys_serve_on_while_the_issuer_is_down_or_talks_nonsense(
    clock: Clock, answer: list[object] | None
) -> None:
    issuer = FakeIssuer(RSA_JWK)
    users = tokens(issuer=issuer)
    assert users.reference_id_of(signed()) == "ada"
    issuer.keys, issuer.is_down = answer or [], answer is None
    for _ in range(60):
        clock.now += 601
        assert users.reference_id_of(signed()) == "ada"
        assert users.reference_id_of(signed(OTHER_RSA)) is None
    assert issuer.asked == 1 + 55


def test_a_failed_fetch_does_not_extend_the_lifespan_of_known_keys(clock: Clock) -> None:
    issuer = FakeIssuer(RSA_JWK)
    users = tokens(issuer=issuer)
    assert users.reference_id_of(signed()) == "ada"
    issuer.keys, issuer.is_down = [P256_JWK], True
    clock.now += 3601
    assert users.reference_id_of(signed()) == "ada"
    issuer.is_down = False
    clock.now += 30
    assert users.reference_id_of(signed()) is None


def test_without_any_key_nobody_is_refused_for_it_and_the_issuer_is_not_pressed(clock: Clock) -> None:
    issuer = FakeIssuer(RSA_JWK)
    issuer.is_down = True
    users = tokens(issuer=issuer)
    for _ in range(10):
        with pytest.raises(IssuerUnreachable):
            users.reference_id_of(signed())
        clock.now += 1
    assert issuer.asked == 2
    issuer.is_down = False
    assert users.reference_id_of(signed()) == "ada"


# -- configuration of a deployment -------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithms", ["HS256", "RS256,HS256", "none", "RS256,none", "", ",", "RS256;ES256", "rs256"])
def test_an_algorithm_that_proves_no_issuer_cannot_be_configured(algorithms: str) -> None:
    with pytest.raises(Misconfigured, match="OidcAlgorithms"):
        policy(algorithms=algorithms)


@pytest.mark.parametrize("audience", ["", " ", ","])
def test_an_issuer_without_an_audience_cannot_be_configured(audience: str) -> None:
    with pytest.raises(Misconfigured, match="OidcAudience"):
        policy(audience=audience)
