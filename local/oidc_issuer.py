"""An OIDC issuer for local use: it stands in for the app's own sign-in, and issues a token for any subject.

`python -m local.oidc_issuer --port N [--key-file FILE] [--allow-origin URL]`

    curl http://127.0.0.1:4103/token -H 'Content-Type: application/json' -d '{"subject": "ada"}'

It publishes what a verifier needs (OpenID Connect Discovery 1.0, and a JWK Set, RFC 7517) and signs with RS256. There
is no login, so there is no authorization endpoint. `POST /keys/rotate` shows how verifiers handle a key change.
"""

from __future__ import annotations

import argparse
import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.aws_services import write_private
from terra_simulator.origin_guard import OriginGuard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

HOST: Final = "127.0.0.1"
AUDIENCE: Final = "terra-connections-local"
ALGORITHM: Final = "RS256"
YEAR: Final = 365 * 24 * 3600


class TokenRequest(BaseModel):
    """The contents of a token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subject: str
    audience: str | list[str] = AUDIENCE
    expires_in: Annotated[int, Field(ge=-YEAR, le=YEAR)] = 3600
    """Seconds from now; a negative number gives a token that has expired already."""
    claims: dict[str, Any] = {}
    """Additional claims, which may replace the issuer's own; null omits one."""


class Rotation(BaseModel):
    """A key rotation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    forget: bool = False
    """True removes the older keys: tokens signed by them become invalid."""


class SigningKey(NamedTuple):
    """A key pair, and the id under which verifiers look it up."""

    kid: str
    pair: RSAPrivateKey

    def public(self) -> dict[str, str]:
        """Return its entry in the JWK Set."""
        jwk = RSAAlgorithm.to_jwk(self.pair.public_key(), as_dict=True)
        return {"kid": self.kid, "use": "sig", "alg": ALGORITHM, "kty": jwk["kty"], "n": jwk["n"], "e": jwk["e"]}


class Keys:
    """The issuer's keys, the newest last: it signs. A file keeps them over restarts."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self.all: list[SigningKey] = []
        if file is not None and file.exists():
            self.all = _read(file)
        else:
            self.rotate(forget=True)

    def rotate(self, *, forget: bool) -> None:
        """Create a new signing key, and keep or remove the older ones."""
        new = SigningKey(secrets.token_hex(8), generate_private_key(public_exponent=65537, key_size=2048))
        self.all = [*([] if forget else self.all), new]
        if self._file is not None:
            kept = [{**RSAAlgorithm.to_jwk(key.pair, as_dict=True), "kid": key.kid} for key in self.all]
            write_private(self._file, json.dumps({"keys": kept}, indent=2) + "\n")


def _read(file: Path) -> list[SigningKey]:
    try:
        kept = [(jwk["kid"], RSAAlgorithm.from_jwk(jwk)) for jwk in json.loads(file.read_text())["keys"]]
        keys = [SigningKey(kid, pair) for kid, pair in kept if isinstance(pair, RSAPrivateKey)]
    except (ValueError, TypeError, LookupError, jwt.InvalidKeyError):
        keys = []
    if not keys:
        message = f"{file} cannot be read as keys: delete it, and new ones are made."
        raise SystemExit(message)
    return keys


class Issuer:
    """The endpoints."""

    def __init__(self, url: str, keys: Keys) -> None:
        self._url = url
        self._keys = keys

    async def discovery(self, _request: Request) -> JSONResponse:
        """Return the discovery document."""
        return JSONResponse(
            {
                "issuer": self._url,
                "jwks_uri": f"{self._url}/jwks",
                "token_endpoint": f"{self._url}/token",
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "response_types_supported": [],
                "subject_types_supported": ["public"],
            }
        )

    async def jwks(self, _request: Request) -> JSONResponse:
        """Return the public keys."""
        return JSONResponse({"keys": [key.public() for key in self._keys.all]})

    async def token(self, request: Request) -> JSONResponse:
        """Return a token for the requested subject."""
        token_request = TokenRequest.model_validate_json(await request.body())
        now = int(time.time())
        claims = {
            "iss": self._url,
            "aud": token_request.audience,
            "sub": token_request.subject,
            "iat": now,
            "exp": now + token_request.expires_in,
            **token_request.claims,
        }
        key = self._keys.all[-1]
        payload = {name: value for name, value in claims.items() if value is not None}
        # PyJWT rejects an issuer or subject that is not a text; a caller who requests such a token needs exactly that.
        token = jwt.api_jws.encode(
            json.dumps(payload).encode(), key.pair, ALGORITHM, headers={"kid": key.kid, "typ": "JWT"}
        )
        response = {"access_token": token, "token_type": "Bearer", "expires_in": token_request.expires_in}
        return JSONResponse(response, headers={"Cache-Control": "no-store"})

    async def rotate(self, request: Request) -> JSONResponse:
        """Sign with a new key from now on."""
        rotation = Rotation.model_validate_json(await request.body() or b"{}")
        self._keys.rotate(forget=rotation.forget)
        return await self.jwks(request)


async def invalid_request(_request: Request, error: Exception) -> JSONResponse:
    """Return what is wrong with a request, in the form of RFC 6749, section 5.2."""
    assert isinstance(error, ValidationError)  # noqa: S101  # it is registered for this type only
    first = error.errors()[0]
    described = f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}"
    return JSONResponse({"error": "invalid_request", "error_description": described}, status_code=400)


def application(url: str, keys: Keys, origins: Sequence[str] = ()) -> Starlette:
    """Return the issuer; only pages of these origins may request tokens."""
    issuer = Issuer(url, keys)
    return Starlette(
        routes=[
            Route("/.well-known/openid-configuration", issuer.discovery),
            Route("/jwks", issuer.jwks),
            Route("/token", issuer.token, methods=["POST"]),
            Route("/keys/rotate", issuer.rotate, methods=["POST"]),
        ],
        middleware=[
            Middleware(OriginGuard, origins=origins, has_pages=True),
            Middleware(CORSMiddleware, allow_origins=origins, allow_headers=["Content-Type"], allow_methods=["POST"]),
        ],
        exception_handlers={ValidationError: invalid_request},
    )


def main() -> None:
    """Serve on the loopback address until a signal ends it."""
    parser = argparse.ArgumentParser(
        prog="python -m local.oidc_issuer", description="A local OIDC issuer with tokens for any test user."
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key-file", type=Path, help="file that keeps the keys across restarts")
    parser.add_argument("--allow-origin", action="append", default=[], help="origin of pages that may request tokens")
    options = parser.parse_args()
    app = application(f"http://{HOST}:{options.port}", Keys(options.key_file), options.allow_origin)
    uvicorn.run(app, host=HOST, port=options.port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
