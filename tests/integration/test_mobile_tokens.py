"""POST /mobile-tokens over real HTTP."""

import time
from typing import Any

import httpx
import pytest

from tests.integration.handlers import Handlers, http_event, instead
from tests.support import Terra

PATH = "/auth/generateAuthToken"


def test_a_mobile_sdk_connects_with_the_token_once(api: httpx.Client, terra: Terra, person: str) -> None:
    answer = api.post("/mobile-tokens")

    assert answer.status_code == httpx.codes.CREATED
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert set(answer.json()) == {"token", "expires_in"}
    assert answer.json()["expires_in"] == 180
    connection = {"reference_id": person, "provider": "APPLE", "token": answer.json()["token"]}
    assert terra.client.post("/_control/users", json=connection).status_code == httpx.codes.OK
    assert terra.client.post("/_control/users", json=connection).status_code == httpx.codes.CONFLICT


def test_each_call_makes_another_token(api: httpx.Client, terra: Terra) -> None:
    tokens = {api.post("/mobile-tokens").json()["token"] for _ in range(3)}

    assert len(tokens) == len(terra.calls(PATH)) == 3


@pytest.mark.parametrize("body", [b"", b"{}", b'{"reference_id": "somebody"}', b"no JSON", b"\xff\x00"])
def test_a_body_is_not_read(api: httpx.Client, terra: Terra, body: bytes) -> None:
    answer = api.post("/mobile-tokens", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == httpx.codes.CREATED
    assert [call["body"] for call in terra.calls(PATH)] == [None]


@pytest.mark.parametrize(
    ("trouble", "status", "code"),
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
def test_each_trouble_with_terra_has_its_answer_and_is_not_repeated(
    api: httpx.Client, terra: Terra, trouble: dict[str, Any], status: int, code: str
) -> None:
    terra.fault(PATH, **trouble)
    began = time.monotonic()

    answer = api.post("/mobile-tokens")

    assert time.monotonic() - began < 14
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    if status != httpx.codes.BAD_GATEWAY:
        assert answer.headers["retry-after"] == ("42" if code == "too_many_requests" else "5")
    assert len(terra.calls(PATH)) == 1, "the caller may repeat; we do not"
    terra.reset()
    assert api.post("/mobile-tokens").status_code == httpx.codes.CREATED


def test_only_callers_with_a_key_get_one(browser: httpx.Client, terra: Terra) -> None:
    assert browser.post("/mobile-tokens").status_code == httpx.codes.UNAUTHORIZED
    wrong = browser.post("/mobile-tokens", headers={"authorization": "Bearer wrong"})
    assert wrong.status_code == httpx.codes.FORBIDDEN
    assert terra.calls(PATH) == []


def test_the_token_is_in_no_log(handlers: Handlers) -> None:
    run = handlers.run("create_mobile_token", http_event("POST", "/mobile-tokens", body="{}"))

    assert run.status == httpx.codes.CREATED
    assert run.trips == ["terra.generateAuthToken"]
    assert run.json["token"] not in run.log
    assert '"status":201' in run.log


def test_a_stack_without_terras_key_says_so(handlers: Handlers, terra: Terra) -> None:
    empty = instead("secrets-manager.GetSecretValue*:before", {"SecretString": "{}"})

    run = handlers.run("create_mobile_token", http_event("POST", "/mobile-tokens"), empty)

    assert (run.status, run.json["code"]) == (httpx.codes.SERVICE_UNAVAILABLE, "misconfigured")
    assert terra.calls(PATH) == []
