"""The local OIDC issuer, as used by a verifier and by a page of the app."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest

from local.oidc_issuer import AUDIENCE, Keys
from tests.support.waiting import eventually
from tools.environment import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from local.testing import Stack

DEMO = "http://127.0.0.1:5000"


@contextmanager
def running(*arguments: str) -> Iterator[httpx.Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "local.oidc_issuer", "--port", str(port), "--allow-origin", DEMO, *arguments]
    with (
        subprocess.Popen(command, cwd=ROOT) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client,
    ):
        try:
            eventually(lambda: answers(client), within=60)
            yield client
        finally:
            process.terminate()


def answers(client: httpx.Client) -> bool:
    with suppress(httpx.ConnectError):
        return client.get("/jwks").is_success
    return False


@pytest.fixture(scope="module")
def issuer() -> Iterator[httpx.Client]:
    with running() as client:
        yield client


def token(issuer: httpx.Client, **asked: object) -> str:
    answer = issuer.post("/token", json={"subject": "ada", **asked})
    assert answer.status_code == 200, answer.text
    said: str = answer.json()["access_token"]
    return said


def verified(issuer: httpx.Client, said: str, **expected: str) -> dict[str, Any]:
    """Verify a token with nothing but the issuer's URL, and return its claims."""
    configuration = issuer.get("/.well-known/openid-configuration").json()
    keys = jwt.PyJWKSet.from_dict(issuer.get(configuration["jwks_uri"]).json())
    key = keys[jwt.get_unverified_header(said)["kid"]]
    wanted = {"audience": AUDIENCE, "issuer": configuration["issuer"], **expected}
    claims: dict[str, Any] = jwt.decode(said, key, ["RS256"], options={"require": ["exp", "iat", "sub"]}, **wanted)
    return claims


def test_a_token_is_the_issuer_s_own_and_says_who(issuer: httpx.Client) -> None:
    claims = verified(issuer, token(issuer, subject="ada@example.com/ü"))
    assert claims["sub"] == "ada@example.com/ü"
    assert claims["iss"] == str(issuer.base_url).rstrip("/")
    assert claims["exp"] - claims["iat"] == 3600


def test_a_token_says_what_was_asked_for(issuer: httpx.Client) -> None:
    said = token(issuer, audience="another", expires_in=60, claims={"email": "ada@example.com", "iat": None, "sub": 7})
    claims = jwt.decode(said, options={"verify_signature": False})
    assert (claims["aud"], claims["email"], claims["sub"]) == ("another", "ada@example.com", 7)
    assert "iat" not in claims


def test_a_token_can_have_expired_already(issuer: httpx.Client) -> None:
    with pytest.raises(jwt.ExpiredSignatureError):
        verified(issuer, token(issuer, expires_in=-3600))


def test_after_a_rotation_old_tokens_hold_until_their_key_is_forgotten(issuer: httpx.Client) -> None:
    old = token(issuer)
    issuer.post("/keys/rotate")
    new = token(issuer)
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    assert verified(issuer, old)["sub"] == verified(issuer, new)["sub"] == "ada"
    issuer.post("/keys/rotate", json={"forget": True})
    for said in (old, new):
        with pytest.raises(KeyError):
            verified(issuer, said)
    verified(issuer, token(issuer))


def test_no_private_part_of_a_key_is_published(issuer: httpx.Client) -> None:
    for key in issuer.get("/jwks").json()["keys"]:
        assert key.keys() == {"kid", "use", "alg", "kty", "n", "e"}


def test_keys_are_kept_over_restarts_and_private(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with running("--key-file", str(file)) as before:
        before.post("/keys/rotate")
        said, keys = token(before), before.get("/jwks").json()
    with running("--key-file", str(file)) as after:
        assert after.get("/jwks").json() == keys
        key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(said)["kid"]]
        assert jwt.decode(said, key, ["RS256"], audience=AUDIENCE)["sub"] == "ada"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("kept", ["", "{}", '{"keys": []}', '{"keys": [{"kid": "1", "kty": "RSA"}]}'])
def test_keys_that_cannot_be_read_are_one_clear_line(kept: str, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(kept)
    with pytest.raises(SystemExit, match="delete it"):
        Keys(tmp_path / "keys.json")


@pytest.mark.parametrize(
    ("body", "named"),
    [({}, "subject"), ({"subject": "ada", "expires_in": "soon"}, "expires_in"), ({"subject": "ada", "who": 1}, "who")],
)
def test_a_wrong_request_is_told_what_is_wrong(issuer: httpx.Client, body: object, named: str) -> None:
    answer = issuer.post("/token", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert named in answer.json()["error_description"]
    assert issuer.post("/token", content="?").status_code == 400


@pytest.mark.parametrize(("origin", "allowed"), [(DEMO, True), ("https://elsewhere.example", False)])
def test_only_the_demo_s_pages_may_ask_for_tokens(issuer: httpx.Client, origin: str, allowed: bool) -> None:  # noqa: FBT001
    asks = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    preflight = issuer.options("/token", headers=asks)
    assert preflight.is_success is allowed
    answer = issuer.post("/token", json={"subject": "ada"}, headers={"origin": origin})
    for headers in (preflight.headers, answer.headers):
        assert headers.get("access-control-allow-origin") == (origin if allowed else None)


def test_the_stack_s_issuer_answers_under_the_address_that_it_signs_with(stack: Stack) -> None:
    with httpx.Client(base_url=stack.oidc_issuer) as issuer:
        assert verified(issuer, token(issuer))["iss"] == stack.oidc_issuer
    kept = json.loads((stack.directory / "oidc-keys.json").read_text())
    assert len(kept["keys"]) == 1
