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

DEMO = "http://127.0.0.1:4100"


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
            eventually(lambda: is_ready(client), within=60)
            yield client
        finally:
            process.terminate()


def is_ready(client: httpx.Client) -> bool:
    with suppress(httpx.ConnectError):
        return client.get("/jwks").is_success
    return False


@pytest.fixture(scope="module")
def issuer() -> Iterator[httpx.Client]:
    with running() as client:
        yield client


def token(issuer: httpx.Client, **fields: object) -> str:
    response = issuer.post("/token", json={"subject": "ada", **fields})
    assert response.status_code == 200, response.text
    access_token: str = response.json()["access_token"]
    return access_token


def verified(issuer: httpx.Client, access_token: str, **expected: str) -> dict[str, Any]:
    """Verify a token with nothing but the issuer's URL, and return its claims."""
    configuration = issuer.get("/.well-known/openid-configuration").json()
    keys = jwt.PyJWKSet.from_dict(issuer.get(configuration["jwks_uri"]).json())
    key = keys[jwt.get_unverified_header(access_token)["kid"]]
    options = {"audience": AUDIENCE, "issuer": configuration["issuer"], **expected}
    claims: dict[str, Any] = jwt.decode(
        access_token, key, ["RS256"], options={"require": ["exp", "iat", "sub"]}, **options
    )
    return claims


def test_a_token_has_the_issuer_and_the_subject(issuer: httpx.Client) -> None:
    claims = verified(issuer, token(issuer, subject="ada@example.com/ü"))
    assert claims["sub"] == "ada@example.com/ü"
    assert claims["iss"] == str(issuer.base_url).rstrip("/")
    assert claims["exp"] - claims["iat"] == 3600


def test_a_token_has_the_requested_claims(issuer: httpx.Client) -> None:
    access_token = token(
        issuer, audience="another", expires_in=60, claims={"email": "ada@example.com", "iat": None, "sub": 7}
    )
    claims = jwt.decode(access_token, options={"verify_signature": False})
    assert (claims["aud"], claims["email"], claims["sub"]) == ("another", "ada@example.com", 7)
    assert "iat" not in claims


def test_an_expired_token_can_be_requested(issuer: httpx.Client) -> None:
    with pytest.raises(jwt.ExpiredSignatureError):
        verified(issuer, token(issuer, expires_in=-3600))


def test_old_tokens_stay_valid_after_a_rotation_until_their_key_is_deleted(issuer: httpx.Client) -> None:
    old = token(issuer)
    issuer.post("/keys/rotate")
    new = token(issuer)
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    assert verified(issuer, old)["sub"] == verified(issuer, new)["sub"] == "ada"
    issuer.post("/keys/rotate", json={"forget": True})
    for access_token in (old, new):
        with pytest.raises(KeyError):
            verified(issuer, access_token)
    verified(issuer, token(issuer))


def test_the_jwks_contains_only_public_keys(issuer: httpx.Client) -> None:
    for key in issuer.get("/jwks").json()["keys"]:
        assert key.keys() == {"kid", "use", "alg", "kty", "n", "e"}


def test_the_key_file_survives_a_restart_and_is_private(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with running("--key-file", str(file)) as before:
        before.post("/keys/rotate")
        access_token, keys = token(before), before.get("/jwks").json()
    with running("--key-file", str(file)) as after:
        assert after.get("/jwks").json() == keys
        key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(access_token)["kid"]]
        assert jwt.decode(access_token, key, ["RS256"], audience=AUDIENCE)["sub"] == "ada"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("kept", ["", "{}", '{"keys": []}', '{"keys": [{"kid": "1", "kty": "RSA"}]}'])
def test_an_unreadable_key_file_is_reported_in_one_line(kept: str, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(kept)
    with pytest.raises(SystemExit, match="delete it"):
        Keys(tmp_path / "keys.json")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "subject"),
        ({"subject": "ada", "expires_in": "soon"}, "expires_in"),
        ({"subject": "ada", "extra": 1}, "extra"),
    ],
)
def test_an_invalid_token_request_is_rejected_with_the_field(issuer: httpx.Client, body: object, named: str) -> None:
    response = issuer.post("/token", json=body)
    assert response.status_code == 400
    assert response.json()["error"] == "invalid_request"
    assert named in response.json()["error_description"]
    assert issuer.post("/token", content="?").status_code == 400


@pytest.mark.parametrize(("origin", "allowed"), [(DEMO, True), ("https://elsewhere.example", False)])
def test_only_pages_of_the_demo_may_request_tokens(issuer: httpx.Client, origin: str, allowed: bool) -> None:  # noqa: FBT001
    requested = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    preflight = issuer.options("/token", headers=requested)
    assert preflight.is_success is allowed
    response = issuer.post("/token", json={"subject": "ada"}, headers={"origin": origin})
    for headers in (preflight.headers, response.headers):
        assert headers.get("access-control-allow-origin") == (origin if allowed else None)


def test_the_issuer_is_served_at_the_address_in_its_tokens(stack: Stack) -> None:
    with httpx.Client(base_url=stack.oidc_issuer) as issuer:
        assert verified(issuer, token(issuer))["iss"] == stack.oidc_issuer
    kept = json.loads((stack.directory / "oidc-keys.json").read_text())
    assert len(kept["keys"]) == 1
