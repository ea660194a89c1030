"""POST /mobile-tokens over real HTTP."""

import json
import time
from typing import Any

import httpx
import pytest

from local.testing import Stack
from tests.support.api import connections_of
from tests.support.handlers import Handlers, fake_response, http_event
from tests.support.terra import Terra
from tests.support.waiting import BUSY, eventually

PATH = "/auth/tokens"
OLDER_PATH = "/auth/generateAuthToken"


@pytest.fixture
def request_body(reference_id: str) -> dict[str, str]:
    """The request body of a caller with a service key."""
    return {"reference_id": reference_id}


def as_user(stack: Stack, reference_id: str) -> dict[str, str]:
    response = httpx.post(f"{stack.oidc_issuer}/token", json={"subject": reference_id}, timeout=30).raise_for_status()
    return {"authorization": f"Bearer {response.json()['access_token']}"}


def redeem(terra: Terra, token: str, reference_id: str | None, **more: object) -> dict[str, Any]:
    """Redeem a token as a phone does, with any reference_id."""
    connection = {"reference_id": reference_id, "provider": "APPLE", "token": token, **more}
    user: dict[str, Any] = terra.client.post("/_control/users", json=connection).raise_for_status().json()["user"]
    return user


def test_a_mobile_sdk_connects_with_the_token_once(
    api: httpx.Client, terra: Terra, request_body: dict[str, str]
) -> None:
    response = api.post("/mobile-tokens", json=request_body)

    assert response.status_code == httpx.codes.CREATED
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert set(response.json()) == {"token", "expires_in"}
    assert response.json()["expires_in"] == 180
    connection = {**request_body, "provider": "APPLE", "token": response.json()["token"]}
    assert terra.client.post("/_control/users", json=connection).status_code == httpx.codes.OK
    assert terra.client.post("/_control/users", json=connection).status_code == httpx.codes.CONFLICT


def test_each_request_creates_another_token(api: httpx.Client, terra: Terra, request_body: dict[str, str]) -> None:
    tokens = {api.post("/mobile-tokens", json=request_body).json()["token"] for _ in range(3)}

    assert len(tokens) == len(terra.calls(PATH)) == 3


# -- the token's owner -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["anna", "a+b@c.d/e f", "auth0|5", "x&reference_id=victim", "\U0001f600", "%41"])
def test_the_reference_id_is_sent_to_terra_in_the_query(api: httpx.Client, terra: Terra, reference: str) -> None:
    response = api.post("/mobile-tokens", json={"reference_id": reference})

    assert response.status_code == httpx.codes.CREATED
    [call] = terra.calls(PATH)
    assert (call["query"], call["body"]) == ({"reference_id": reference}, None)
    assert redeem(terra, response.json()["token"], "another")["reference_id"] == reference


@pytest.mark.parametrize("body", [b"", b"{}", b'{"reference_id": null}'], ids=str)
def test_a_request_with_a_service_key_requires_a_reference_id(api: httpx.Client, terra: Terra, body: bytes) -> None:
    response = api.post("/mobile-tokens", content=body)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert [error["field"] for error in response.json()["errors"]] == ["reference_id"]
    assert terra.calls(PATH) == []


@pytest.mark.parametrize(
    "body", [b"no JSON", b"\xff\x00", b"[]", b'{"reference_id": ""}', b'{"reference": "a"}'], ids=str
)
def test_an_invalid_body_gets_no_token(api: httpx.Client, terra: Terra, body: bytes) -> None:
    response = api.post("/mobile-tokens", content=body)

    assert (response.status_code, response.json()["code"]) == (400, "invalid_request")
    assert terra.calls(PATH) == []


@pytest.mark.parametrize("has_reference_id", [True, False])
def test_a_mobile_token_is_bound_to_the_subject_of_the_user_token(
    stack: Stack, browser: httpx.Client, terra: Terra, request_body: dict[str, str], *, has_reference_id: bool
) -> None:
    headers = as_user(stack, request_body["reference_id"])
    response = browser.post("/mobile-tokens", headers=headers, **({"json": request_body} if has_reference_id else {}))  # type: ignore[arg-type]

    assert response.status_code == httpx.codes.CREATED
    assert [call["query"] for call in terra.calls(PATH)] == [request_body]


def test_a_user_token_gets_no_mobile_token_for_another_user(
    stack: Stack, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    victim = f"{reference_id}-victim"
    response = browser.post("/mobile-tokens", headers=as_user(stack, reference_id), json={"reference_id": victim})

    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert terra.calls(PATH) == []


def test_a_user_cannot_attach_a_device_to_another_user_or_replace_their_connection(
    stack: Stack, api: httpx.Client, browser: httpx.Client, terra: Terra, reference_id: str
) -> None:
    victim, attacker = f"{reference_id}-victim", f"{reference_id}-attacker"
    terra.connect(victim, provider="APPLE")
    [before] = eventually(lambda: connections_of(api, victim))
    token = browser.post("/mobile-tokens", headers=as_user(stack, attacker)).json()["token"]
    # The attacker's phone sends the victim's reference_id.
    created = redeem(terra, token, victim, account="the attacker's phone")
    assert created["reference_id"] == attacker
    [theirs] = eventually(lambda: connections_of(api, attacker))
    assert (theirs["user_id"], theirs["reference_id"]) == (created["user_id"], attacker)
    assert theirs["connection_id"] != before["connection_id"]
    assert connections_of(api, victim) == [before]


def test_a_new_phone_replaces_the_old_one_and_is_the_same_connection(
    api: httpx.Client, terra: Terra, request_body: dict[str, str]
) -> None:
    reference_id = request_body["reference_id"]
    for phone in ("old", "new"):
        token = api.post("/mobile-tokens", json=request_body).json()["token"]
        redeem(terra, token, None, account=phone)
        [connection] = eventually(lambda: connections_of(api, reference_id))
        if phone == "old":
            first = connection
    assert connection["connection_id"] == first["connection_id"]
    assert connection["user_id"] != first["user_id"]


def test_the_older_spelling_of_the_path_can_be_configured(
    handlers: Handlers, terra: Terra, request_body: dict[str, str]
) -> None:
    event = http_event("POST", "/mobile-tokens", body=json.dumps(request_body))
    run = handlers.run("create_mobile_token", event, environment={"TERRA_MOBILE_TOKEN_PATH": OLDER_PATH})

    assert (run.status, run.trips) == (201, ["dynamodb.TransactWriteItems", "terra.generateAuthToken"])
    assert [call["query"] for call in terra.calls(OLDER_PATH)] == [request_body]


# -- failures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        ({"kind": "legacy", "status": 400}, 502, "terra_rejected"),
        ({"kind": "problem", "status": 401}, 502, "terra_rejected"),
        ({"kind": "problem", "status": 403}, 502, "terra_rejected"),
        ({"kind": "problem", "status": 404}, 502, "terra_rejected"),
        ({"kind": "wrong_shape", "body": {"status": "error", "message": "no"}}, 502, "terra_rejected"),
        ({"kind": "rate_limit", "retry_after": 42}, 429, "too_many_requests"),
        ({"kind": "status", "status": 500}, 503, "terra_unavailable"),
        ({"kind": "html", "status": 502}, 503, "terra_unavailable"),
        ({"kind": "empty", "status": 200}, 503, "terra_unavailable"),
        ({"kind": "status", "status": 302}, 503, "terra_unavailable"),
        ({"kind": "malformed"}, 503, "terra_unavailable"),
        ({"kind": "disconnect"}, 503, "terra_unavailable"),
        ({"kind": "disconnect", "stage": "after"}, 503, "terra_unavailable"),
        ({"kind": "slow", "delay_s": 15}, 503, "terra_unavailable"),
        ({"kind": "wrong_shape", "body": {"status": "success"}}, 503, "terra_unavailable"),
        ({"kind": "wrong_shape", "body": {"token": "", "expires_in": 180}}, 503, "terra_unavailable"),
        ({"kind": "wrong_shape", "body": {"token": 7, "expires_in": 180}}, 503, "terra_unavailable"),
        ({"kind": "wrong_shape", "body": {"token": "abc", "expires_in": True}}, 503, "terra_unavailable"),
        ({"kind": "wrong_shape", "body": {"token": "abc"}}, 503, "terra_unavailable"),
        ({"kind": "wrong_shape", "body": ["abc"]}, 503, "terra_unavailable"),
    ],
    ids=str,
)
def test_each_error_of_terra_has_its_response_and_is_not_retried(
    api: httpx.Client, terra: Terra, request_body: dict[str, str], failure: dict[str, Any], status: int, code: str
) -> None:
    terra.fault(PATH, **failure)
    began = time.monotonic()

    response = api.post("/mobile-tokens", json=request_body)

    assert time.monotonic() - began < 12 + BUSY
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    if status != httpx.codes.BAD_GATEWAY:
        assert response.headers["retry-after"] == ("42" if code == "too_many_requests" else "5")
    assert len(terra.calls(PATH)) == 1, "the caller may retry; the stack does not"
    terra.reset()
    assert api.post("/mobile-tokens", json=request_body).status_code == httpx.codes.CREATED


def test_only_authorized_callers_get_a_token(browser: httpx.Client, terra: Terra) -> None:
    assert browser.post("/mobile-tokens").status_code == httpx.codes.UNAUTHORIZED
    wrong = browser.post("/mobile-tokens", headers={"authorization": "Bearer wrong"})
    assert wrong.status_code == httpx.codes.FORBIDDEN
    assert terra.calls(PATH) == []


def test_the_token_and_its_user_are_in_no_log(handlers: Handlers, request_body: dict[str, str]) -> None:
    run = handlers.run("create_mobile_token", http_event("POST", "/mobile-tokens", body=json.dumps(request_body)))

    assert run.status == httpx.codes.CREATED
    assert run.trips == ["dynamodb.TransactWriteItems", "terra.tokens"]
    assert run.json["token"] not in run.log
    assert request_body["reference_id"] not in run.log
    assert '"status":201' in run.log


def test_a_stack_without_the_key_of_terra_is_misconfigured(
    handlers: Handlers, terra: Terra, request_body: dict[str, str]
) -> None:
    empty = fake_response("secrets-manager.GetSecretValue*:before", {"SecretString": "{}"})

    event = http_event("POST", "/mobile-tokens", body=json.dumps(request_body))
    run = handlers.run("create_mobile_token", event, empty)

    assert (run.status, run.json["code"]) == (httpx.codes.SERVICE_UNAVAILABLE, "misconfigured")
    assert terra.calls(PATH) == []
