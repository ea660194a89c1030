"""User tokens on the running stack: on every route a token acts for its own subject, and shows no other user's data."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key

from local.testing import Stack
from tests.support.api import connections_of, create_session
from tests.support.data import LOADED_WITHIN
from tests.support.handlers import Handlers, http_event
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id
from tests.support.waiting import eventually
from tools.environment import ROOT

CONTRACT: dict[str, Any] = yaml.safe_load((ROOT / "openapi.yaml").read_text())
FOREIGN_KEY = generate_private_key(public_exponent=65537, key_size=2048)


def secured() -> Iterator[str]:
    for path, methods in CONTRACT["paths"].items():
        for method, operation in methods.items():
            if operation.get("security") != []:
                yield f"{method.upper()} {path}"


SECURED = sorted(secured())


@dataclass(frozen=True)
class Issuer:
    """The stack's issuer, which signs any token, and its public key."""

    client: httpx.Client
    url: str

    def token(self, subject: str, **options: object) -> str:
        response = self.client.post("/token", json={"subject": subject, **options})
        access_token: str = response.raise_for_status().json()["access_token"]
        return access_token

    def jwk(self) -> dict[str, str]:
        jwk: dict[str, str] = self.client.get("/jwks").json()["keys"][-1]
        return jwk

    def claims(self, subject: str) -> dict[str, Any]:
        return jwt.decode(self.token(subject), options={"verify_signature": False})


@pytest.fixture(scope="session")
def issuer(stack: Stack) -> Iterator[Issuer]:
    with httpx.Client(base_url=stack.oidc_issuer, timeout=30) as client:
        yield Issuer(client, stack.oidc_issuer)


Forge = Callable[[Issuer, str], str]


def unsigned(issuer: Issuer, subject: str) -> str:
    header = {"alg": "none", "typ": "JWT", "kid": issuer.jwk()["kid"]}
    return f"{part(header)}.{part(issuer.claims(subject))}."


def signed_by_the_public_key(issuer: Issuer, subject: str) -> str:
    jwk = issuer.jwk()
    key = jwt.PyJWK(jwk).key
    assert isinstance(key, RSAPublicKey)
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    message = f"{part({'alg': 'HS256', 'kid': jwk['kid']})}.{part(issuer.claims(subject))}"
    mac = hmac.digest(pem, message.encode(), hashlib.sha256)
    return f"{message}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def part(content: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


FORGED: dict[str, Forge] = {
    "expired": lambda issuer, subject: issuer.token(subject, expires_in=-31),
    "of a wrong audience": lambda issuer, subject: issuer.token(subject, audience="another-app"),
    "of a wrong issuer": lambda issuer, subject: issuer.token(subject, claims={"iss": f"{issuer.url}/"}),
    "unsigned": unsigned,
    "signed by HS256 with the public key": signed_by_the_public_key,
    "signed by another key": lambda issuer, subject: jwt.encode(
        issuer.claims(subject), FOREIGN_KEY, "RS256", headers={"kid": issuer.jwk()["kid"]}
    ),
}


@dataclass(frozen=True)
class User:
    """A user with an open session and a connection."""

    reference_id: str
    session_id: str
    user_id: str
    backfill_id: str = "none"


@pytest.fixture
def two_users(api: httpx.Client, terra: Terra) -> tuple[User, User]:
    """Two unrelated users."""

    def new_user() -> User:
        name = f"reference-{uuid4()}"
        session, user = create_session(api, name), terra.connect(name)
        eventually(lambda: connections_of(api, name))
        body = {"reference_id": name, "from": "2026-07-01", "types": ["athlete"]}
        backfill_id = api.post("/backfills", json=body).raise_for_status().json()["backfill_id"]
        # Its request to Terra is not to be counted among those of the test.
        eventually(lambda: not is_pending(api, backfill_id), within=LOADED_WITHIN)
        return User(name, session["session_id"], user["user_id"], backfill_id)

    return new_user(), new_user()


def is_pending(api: httpx.Client, backfill_id: str) -> bool:
    [connection] = api.get(f"/backfills/{backfill_id}").json()["connections"]
    return bool(connection["types"][0]["state"] == "pending")


def call(browser: httpx.Client, route: str, token: str, *, of: User, named: str | None = None) -> httpx.Response:
    """Send a request about a user's data, with or without a reference_id."""
    method, _, path = route.partition(" ")
    path = path.replace("{session_id}", of.session_id).replace("{user_id}", of.user_id)
    path = path.replace("{backfill_id}", of.backfill_id)
    reference_id = {} if named is None else {"reference_id": named}
    body: dict[str, Any] = {}
    if route == "POST /sessions":
        body = {"json": {"resource": "FITBIT", **reference_id}}
    elif route == "POST /backfills":
        body = {"json": {"from": "2026-07-01", "types": ["athlete"], **reference_id}}
    elif method == "POST":
        body = {"json": reference_id}
    query = reference_id if route == "GET /connections" else {}
    return browser.request(method, path, params=query, headers={"authorization": f"Bearer {token}"}, **body)


# -- every route ------------------------------------------------------------------------------------------------------


def test_every_secured_route_is_covered_here() -> None:
    """A new route must be added here, with a decision about the user that its data belongs to."""
    covered = [*WITH_REFERENCE_ID, *WITH_ID, *WITHOUT_USER, *WITH_A_SERVICE_KEY]
    assert sorted(covered) == SECURED, "add each route of openapi.yaml to the list below that fits"


WITH_REFERENCE_ID = [
    "POST /sessions",
    "GET /connections",
    "POST /connections/sync",
    "POST /erasures",
    "POST /mobile-tokens",
    "POST /backfills",
]
WITH_ID = [
    "GET /backfills/{backfill_id}",
    "GET /sessions/{session_id}",
    "GET /connections/{user_id}",
    "DELETE /connections/{user_id}",
]
WITHOUT_USER = ["GET /providers"]
WITH_A_SERVICE_KEY = ["GET /connections/{user_id}/facts", "POST /replays"]
SUCCESS = {200, 201, 202, 204}


@pytest.mark.parametrize("route", sorted(set(SECURED) - set(WITH_A_SERVICE_KEY)))
def test_a_token_gives_access_to_the_data_of_its_subject(
    browser: httpx.Client, issuer: Issuer, two_users: tuple[User, User], route: str
) -> None:
    own, _ = two_users
    token = issuer.token(own.reference_id)
    response = call(browser, route, token, of=own)
    assert response.status_code in SUCCESS, response.text
    if response.content and route.endswith(("/sessions", "/backfills", "{session_id}", "{user_id}", "{backfill_id}")):
        assert response.json()["reference_id"] == own.reference_id
    if route in WITH_REFERENCE_ID:
        assert call(browser, route, token, of=own, named=own.reference_id).status_code in SUCCESS


@pytest.mark.parametrize("route", WITH_REFERENCE_ID)
def test_a_request_for_another_user_is_forbidden_and_changes_nothing(
    api: httpx.Client, browser: httpx.Client, issuer: Issuer, terra: Terra, two_users: tuple[User, User], route: str
) -> None:
    own, other = two_users
    before = (connections_of(api, other.reference_id), len(terra.calls("")))
    response = call(browser, route, issuer.token(own.reference_id), of=own, named=other.reference_id)
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert other.reference_id not in response.text
    assert (connections_of(api, other.reference_id), len(terra.calls(""))) == before


@pytest.mark.parametrize("route", WITH_ID)
def test_another_user_s_resource_gets_the_response_of_a_missing_one(
    api: httpx.Client, browser: httpx.Client, issuer: Issuer, two_users: tuple[User, User], route: str
) -> None:
    own, other = two_users
    token = issuer.token(own.reference_id)
    nothing = User("", secrets.token_urlsafe(16), new_user_id(), str(uuid4()))
    foreign, missing = (call(browser, route, token, of=owner) for owner in (other, nothing))
    assert foreign.status_code == 404
    assert comparable(foreign) == comparable(missing)
    # The connection is unchanged.
    assert [c["status"] for c in connections_of(api, other.reference_id)] == ["connected"]


def comparable(response: httpx.Response) -> tuple[int, dict[str, str], str]:
    """Return a response without the fields that differ between any two."""
    headers = {name: value for name, value in response.headers.items() if name not in {"date", "apigw-requestid"}}
    return response.status_code, headers, response.text


@pytest.mark.parametrize("route", WITH_A_SERVICE_KEY)
def test_a_route_for_service_keys_is_forbidden_with_a_token_whatever_the_id(
    browser: httpx.Client, issuer: Issuer, two_users: tuple[User, User], route: str
) -> None:
    own, other = two_users
    token = issuer.token(own.reference_id)
    nothing = User("", secrets.token_urlsafe(16), new_user_id())
    responses = [call(browser, route, token, of=user) for user in (own, other, nothing)]
    assert {(response.status_code, response.json()["code"]) for response in responses} == {(403, "forbidden")}
    assert len({str(comparable(response)) for response in responses}) == 1


@pytest.mark.parametrize("route", SECURED)
@pytest.mark.parametrize("kind", FORGED)
def test_an_invalid_token_is_rejected_on_every_route(
    browser: httpx.Client, issuer: Issuer, kind: str, route: str
) -> None:
    user = User(f"reference-{uuid4()}", "some", "some")
    response = call(browser, route, FORGED[kind](issuer, user.reference_id), of=user)
    assert (response.status_code, response.json()) == (403, {"message": "Forbidden"})


# -- further cases ----------------------------------------------------------------------------------------------------


def test_another_user_s_resource_costs_the_same_calls_as_a_missing_one(
    api: httpx.Client, handlers: Handlers, terra: Terra, two_users: tuple[User, User]
) -> None:
    own, other = two_users
    # A user_id with a history. For its owner the links would be followed.
    new_id = new_user_id()
    terra.deliver(
        {
            "type": "user_reauth",
            "status": "warning",
            "new_user": auth_event(new_id, other.reference_id)["user"],
            "old_user": auth_event(other.user_id, other.reference_id)["user"],
        }
    )
    assert api.get(f"/connections/{other.user_id}").json()["user_id"] == new_id
    user = {"caller": "user", "reference_id": own.reference_id}

    def trips(function: str, name: str, value: str) -> list[str]:
        event = http_event("GET", "/x", path_parameters={name: value})
        event["requestContext"]["authorizer"]["lambda"] = user
        run = handlers.run(function, event)
        assert run.status == 404
        return run.trips

    for function in ("get_connection", "disconnect"):
        missing = trips(function, "user_id", new_user_id())
        for foreign in (other.user_id, new_id):
            assert trips(function, "user_id", foreign) == missing == ["dynamodb.BatchGetItem"]
    missing = trips("get_session", "session_id", secrets.token_urlsafe(16))
    assert trips("get_session", "session_id", other.session_id) == missing == ["dynamodb.GetItem"]


def test_a_connection_without_an_owner_is_not_found_with_a_user_token(
    api: httpx.Client, browser: httpx.Client, issuer: Issuer, terra: Terra, reference_id: str
) -> None:
    user_id = new_user_id()
    terra.deliver(auth_event(user_id, None))
    assert api.get(f"/connections/{user_id}").json()["reference_id"] is None
    owner = User(reference_id, "", user_id)
    assert call(browser, "GET /connections/{user_id}", issuer.token(reference_id), of=owner).status_code == 404
    assert call(browser, "DELETE /connections/{user_id}", issuer.token(reference_id), of=owner).status_code == 404


def test_a_request_with_a_service_key_requires_a_reference_id(api: httpx.Client) -> None:
    responses = [
        api.post("/sessions", json={"resource": "FITBIT"}),
        api.get("/connections"),
        api.post("/connections/sync", json={}),
        api.post("/erasures", json={}),
    ]
    for response in responses:
        assert response.status_code == 400
        [error] = response.json()["errors"]
        assert error["field"] == "reference_id"
        assert error["message"].startswith("is required with a service key")


def test_two_users_can_use_the_same_idempotency_key(browser: httpx.Client, issuer: Issuer) -> None:
    def begin(token: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}", "idempotency-key": "1"}
        return browser.post("/sessions", json={"resource": "FITBIT"}, headers=headers)

    ada, bob = (issuer.token(f"reference-{uuid4()}") for _ in range(2))
    first, second = begin(ada), begin(bob)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["session_id"] != second.json()["session_id"]
    assert begin(ada).json() == first.json()


def test_a_user_sees_a_session_that_a_back_end_started_for_them(
    api: httpx.Client, browser: httpx.Client, issuer: Issuer, reference_id: str
) -> None:
    session = create_session(api, reference_id)
    owner = User(reference_id, session["session_id"], "")
    response = call(browser, "GET /sessions/{session_id}", issuer.token(reference_id), of=owner)
    assert (response.status_code, response.json()["session_id"]) == (200, session["session_id"])


@pytest.mark.parametrize("name", ["ada@example.com/ü b+c", "auth0|5f7c", "名前-" + "x" * 200])
def test_a_subject_can_be_any_reference_id(browser: httpx.Client, issuer: Issuer, name: str) -> None:
    subject = f"{name}-{uuid4()}"[-256:]
    response = browser.post(
        "/sessions", json={"resource": "FITBIT"}, headers={"authorization": f"Bearer {issuer.token(subject)}"}
    )
    assert (response.status_code, response.json()["reference_id"]) == (201, subject)


def test_the_user_s_browser_sets_the_language_and_a_back_end_s_header_is_ignored(
    api: httpx.Client, browser: httpx.Client, issuer: Issuer, terra: Terra, reference_id: str
) -> None:
    def requested_language(client: httpx.Client, body: dict[str, str], **headers: str) -> str | None:
        response = client.post("/sessions", json={"resource": "FITBIT", **body}, headers=headers)
        assert response.status_code == 201, response.text
        language: str | None = terra.calls("/auth/authenticateUser")[-1]["body"].get("language")
        return language

    token = {"authorization": f"Bearer {issuer.token(reference_id)}", "accept-language": "tlh, fr-CH;q=0.9, en;q=0.8"}
    assert requested_language(browser, {}, **token) == "fr"
    assert requested_language(browser, {"language": "de"}, **token) == "de"
    assert requested_language(browser, {}, **{**token, "accept-language": "tlh"}) is None
    assert requested_language(api, {"reference_id": reference_id}, **{"accept-language": "fr"}) is None
