"""Authorized callers: back ends with a valid service key, and users with a token of the app's issuer. No others."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local.testing import Stack
from tests.support.handlers import Handlers, aws_error, broken_connection, fake_response

ROUTES = [
    ("POST", "/sessions"),
    ("GET", "/sessions/some"),
    ("GET", "/connections?reference_id=a"),
    ("GET", "/connections/some"),
]
SECRET = "secrets-manager.GetSecretValue*:before"


def keys(**values: str) -> dict[str, Any]:
    return fake_response(SECRET, {"SecretString": json.dumps(values)})


def authorizer_event(*identity: str) -> dict[str, Any]:
    return {"version": "2.0", "type": "REQUEST", "identitySource": list(identity)}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_request_without_a_key_is_401(browser: httpx.Client, method: str, path: str) -> None:
    response = browser.request(method, path)
    assert (response.status_code, response.json()) == (401, {"message": "Unauthorized"})


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("scheme", ["Bearer wrong", "Basic {key}", "{key}", "Bearer", "Bearer {key}x", "Token {key}"])
def test_an_invalid_authorization_header_is_403(
    stack: Stack, browser: httpx.Client, method: str, path: str, scheme: str
) -> None:
    headers = {"authorization": scheme.format(key=stack.service_key)}
    response = browser.request(method, path, headers=headers)
    assert (response.status_code, response.json()) == (403, {"message": "Forbidden"})


@pytest.mark.parametrize("scheme", ["Bearer {key}", "bearer {key}", "BEARER {key}", "Bearer  {key}"])
def test_a_key_is_accepted_with_any_spelling_of_the_scheme(stack: Stack, browser: httpx.Client, scheme: str) -> None:
    headers = {"authorization": scheme.format(key=stack.service_key)}
    assert browser.get("/sessions/unknown", headers=headers).status_code == 404


def test_public_routes_require_no_key(browser: httpx.Client) -> None:
    assert browser.get("/auth/success").status_code == 400
    assert browser.get("/auth/failure").status_code == 400
    assert browser.post("/webhooks/terra").json()["code"] == "not_signed"


def test_several_keys_are_valid_at_once(handlers: Handlers) -> None:
    both = keys(old="one", new="two")
    for key, is_authorized in (("one", True), ("two", True), ("three", False), ("", False), ("one two", False)):
        run = handlers.run("authorize", authorizer_event(f"Bearer {key}"), both)
        assert run.result is not None
        assert run.result["isAuthorized"] is is_authorized


def test_a_withdrawn_key_is_rejected(handlers: Handlers) -> None:
    assert handlers.run("authorize", authorizer_event("Bearer one"), keys(old="one", new="two")).result == {
        "isAuthorized": True,
        "context": {"caller": "service"},
    }
    assert handlers.run("authorize", authorizer_event("Bearer one"), keys(new="two")).result == {"isAuthorized": False}


@pytest.mark.parametrize("values", [{}, {"old": ""}])
def test_an_empty_secret_authorizes_no_caller(handlers: Handlers, values: dict[str, str]) -> None:
    for identity in (["Bearer"], ["Bearer "], ["Bearer  "], ["Bearer old"], ["bearer \t"]):
        run = handlers.run("authorize", authorizer_event(*identity), keys(**values))
        assert run.result is None
        assert "Misconfigured" in (run.error or "")
    for identity in ([], [""], [" "], ["bearer\t"], ["Basic "]):
        assert handlers.run("authorize", authorizer_event(*identity), keys(**values)).result == {"isAuthorized": False}


@pytest.mark.parametrize(
    "identity", [[], [""], [" "], ["Bearer"], ["Bearer  "], ["\ud800"], ["Bearer \ud800\x00"], ["Bearer caf\u00e9"]]
)
def test_a_malformed_header_is_rejected_without_an_error(handlers: Handlers, identity: list[str]) -> None:
    assert handlers.run("authorize", authorizer_event(*identity)).result == {"isAuthorized": False}


@pytest.mark.parametrize(
    "failure",
    [
        aws_error(SECRET, "ResourceNotFoundException"),
        aws_error(SECRET, "AccessDeniedException"),
        broken_connection(SECRET, "silence"),
        fake_response(SECRET, {"SecretString": "key"}),
        fake_response(SECRET, {"SecretString": '["key"]'}),
    ],
)
def test_the_authorizer_without_its_keys_raises_and_authorizes_no_caller(
    handlers: Handlers, stack: Stack, failure: dict[str, Any]
) -> None:
    run = handlers.run("authorize", authorizer_event(f"Bearer {stack.service_key}"), failure)
    assert run.result is None
    assert run.error is not None
    assert "Misconfigured" in run.error
    assert stack.service_key not in run.error


@pytest.fixture
def other_issuer() -> Iterator[str]:
    """The URL of an issuer that is down."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{free.getsockname()[1]}"


def token(stack: Stack, subject: str, **options: object) -> str:
    response = httpx.post(f"{stack.oidc_issuer}/token", json={"subject": subject, **options}, timeout=30)
    access_token: str = response.raise_for_status().json()["access_token"]
    return access_token


def test_a_user_token_authorizes_its_subject(handlers: Handlers, stack: Stack, reference_id: str) -> None:
    run = handlers.run("authorize", authorizer_event(f"bearer {token(stack, reference_id)}"))
    assert run.result == {"isAuthorized": True, "context": {"caller": "user", "reference_id": reference_id}}
    assert '"accepted"' in run.log
    assert reference_id not in run.log


def test_rejected_tokens_are_counted_by_their_error(handlers: Handlers, stack: Stack, reference_id: str) -> None:
    run = handlers.run("authorize", authorizer_event(f"Bearer {token(stack, reference_id, expires_in=-60)}"))
    assert run.result == {"isAuthorized": False}
    assert '"ExpiredSignatureError"' in run.log
    assert reference_id not in run.log


def test_a_service_key_is_accepted_and_a_token_is_undecided_while_the_issuer_is_down(
    handlers: Handlers, stack: Stack, reference_id: str, other_issuer: str
) -> None:
    down = {"OIDC_ISSUER": other_issuer}
    by_key = handlers.run("authorize", authorizer_event(f"Bearer {stack.service_key}"), environment=down)
    assert by_key.result == {"isAuthorized": True, "context": {"caller": "service"}}
    by_token = handlers.run("authorize", authorizer_event(f"Bearer {token(stack, reference_id)}"), environment=down)
    # A rejection would be cached by the gateway, and the user would have to sign in again.
    assert by_token.result is None
    assert "IssuerUnreachable" in (by_token.error or "")


def test_without_an_issuer_every_token_is_rejected(handlers: Handlers, stack: Stack, reference_id: str) -> None:
    run = handlers.run(
        "authorize", authorizer_event(f"Bearer {token(stack, reference_id)}"), environment={"OIDC_ISSUER": ""}
    )
    assert run.result == {"isAuthorized": False}


@pytest.mark.parametrize(
    "mistake",
    [
        {"OIDC_AUDIENCE": ""},
        {"OIDC_ALGORITHMS": "RS256,HS256"},
        {"OIDC_ISSUER": "http://login.example.com"},
        {"OIDC_JWKS_URL": "http://login.example.com/jwks"},
    ],
)
def test_an_unsafe_issuer_configuration_raises_and_authorizes_no_caller(
    handlers: Handlers, stack: Stack, mistake: dict[str, str]
) -> None:
    run = handlers.run("authorize", authorizer_event(f"Bearer {stack.service_key}"), environment=mistake)
    assert run.result is None
    assert "Misconfigured" in (run.error or "")


def test_the_result_of_the_authorizer_does_not_depend_on_the_route(handlers: Handlers, stack: Stack) -> None:
    responses = [
        handlers.run(
            "authorize", {**authorizer_event(f"Bearer {stack.service_key}"), "routeKey": f"{method} {path}"}
        ).result
        for method, path in ROUTES
    ]
    assert responses == [{"isAuthorized": True, "context": {"caller": "service"}}] * len(ROUTES)


def test_the_functions_reject_an_event_without_an_authorizer(handlers: Handlers) -> None:
    event = {
        "headers": {"authorization": "Bearer anything"},
        "body": '{"reference_id": "a", "resource": "FITBIT"}',
        "rawQueryString": "reference_id=a",
        "pathParameters": {"session_id": "a", "user_id": "a"},
        "requestContext": {"requestId": "x", "domainName": "example.com"},
    }
    for function in ("create_session", "get_session", "list_connections", "get_connection"):
        run = handlers.run(function, event)
        assert (run.status, run.json["code"]) == (403, "forbidden")
        assert run.trips == []
