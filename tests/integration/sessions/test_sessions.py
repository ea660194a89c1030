"""POST /sessions: which requests are accepted, how others are rejected, and which requests Terra receives."""

import json
from typing import Any

import httpx
import pytest

from tests.support.api import create_session, decide, query_of
from tests.support.handlers import Handlers, aws_error, broken_connection, fake_response, http_event, lost_response
from tests.support.redirects import begin, logins
from tests.support.tables import Tables
from tests.support.terra import Terra

GOOD = {"reference_id": "some-user", "resource": "FITBIT"}


def rejection(response: httpx.Response) -> tuple[int, str, set[str]]:
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == response.status_code
    return response.status_code, problem["code"], {error["field"] for error in problem.get("errors", [])}


def test_the_response_to_a_new_session_conforms_to_the_contract(
    api: httpx.Client, terra: Terra, tables: Tables, reference_id: str
) -> None:
    response = api.post("/sessions", json={**GOOD, "reference_id": reference_id, "language": "de-CH"})
    assert response.status_code == 201
    session = response.json()
    assert response.headers["location"] == f"/sessions/{session['session_id']}"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"
    assert session["auth_url"] == logins(terra)[-1]["auth_url"]
    [call] = terra.calls("/authenticateUser")
    assert call["query"] == {"resource": "FITBIT"}
    assert call["body"]["reference_id"] == reference_id
    assert call["body"]["language"] == "de-CH"
    success, failure = (query_of(call["body"][f"auth_{name}_redirect_url"]) for name in ("success", "failure"))
    assert success["session"] == failure["session"] == session["session_id"]
    assert success["state"] != failure["state"]
    assert not {success["state"], failure["state"]} & set(response.text.split('"'))
    item = tables.session(session["session_id"])
    assert item is not None
    assert item["user_id"] == logins(terra)[-1]["user_id"]
    assert success["state"] not in str(item)
    assert failure["state"] not in str(item)


def test_every_session_has_its_own_id_and_two_secrets(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    for _ in range(5):
        create_session(api, reference_id)
    secrets = [query_of(login[f"{outcome}_url"]) for login in logins(terra) for outcome in ("success", "failure")]
    assert len({secret["session"] for secret in secrets}) == 5
    assert len({secret["state"] for secret in secrets}) == 10


FIELD_ERRORS: list[tuple[dict[str, Any], set[str]]] = [
    ({}, {"reference_id"}),
    ({"resource": "FITBIT"}, {"reference_id"}),
    ({**GOOD, "reference_id": ""}, {"reference_id"}),
    ({**GOOD, "reference_id": "null"}, {"reference_id"}),
    ({**GOOD, "reference_id": None}, {"reference_id"}),
    ({**GOOD, "reference_id": 7}, {"reference_id"}),
    ({**GOOD, "reference_id": True}, {"reference_id"}),
    ({**GOOD, "reference_id": ["a"]}, {"reference_id"}),
    ({**GOOD, "reference_id": {"$ne": ""}}, {"reference_id"}),
    ({**GOOD, "reference_id": "x" * 257}, {"reference_id"}),
    ({**GOOD, "reference_id": "x" * 60_000}, {"reference_id"}),
    ({**GOOD, "reference_id": "x" * 1_000_000}, {"body"}),
    ({**GOOD, "resources": ["GARMIN"] * 5_000}, {"resources"}),
    ({**GOOD, "reference_id": "a\x00b"}, {"reference_id"}),
    ({**GOOD, "reference_id": "a\nb"}, {"reference_id"}),
    ({**GOOD, "reference_id": "a\x7f"}, {"reference_id"}),
    ({**GOOD, "resource": ""}, {"resource"}),
    ({**GOOD, "resource": "F"}, {"resource"}),
    ({**GOOD, "resource": "F" * 65}, {"resource"}),
    ({**GOOD, "resource": "FITBIT\n"}, {"resource"}),
    ({**GOOD, "resource": "FITBIT&x=1"}, {"resource"}),
    ({**GOOD, "resource": ["FITBIT"]}, {"resource"}),
    ({**GOOD, "return_to": 1}, {"return_to"}),
    ({**GOOD, "language": "english"}, {"language"}),
    ({**GOOD, "language": "e"}, {"language"}),
    ({**GOOD, "language": "en_US"}, {"language"}),
    ({**GOOD, "language": "en\n"}, {"language"}),
    ({**GOOD, "language": 1}, {"language"}),
    ({**GOOD, "redirect_url": "https://evil.example.com"}, {"redirect_url"}),
    ({**GOOD, "user_id": "a", "state": "b"}, {"user_id", "state"}),
    ({**GOOD, "": 1}, {"body"}),
    ({"reference_id": "", "resource": "x", "language": "?", "x": 1}, {"reference_id", "resource", "language", "x"}),
]


@pytest.mark.parametrize(
    ("body", "fields"), FIELD_ERRORS, ids=lambda value: str(value)[:60] if isinstance(value, dict) else ""
)
def test_an_invalid_field_is_400_and_is_named(
    api: httpx.Client, terra: Terra, tables: Tables, body: dict[str, Any], fields: set[str]
) -> None:
    before = tables.count()
    response = api.post("/sessions", json=body)
    assert rejection(response) == (400, "invalid_request", fields)
    assert all(error["message"] for error in response.json()["errors"])
    assert len(response.content) < 2000
    assert terra.calls("/authenticateUser") == []
    assert tables.count() == before


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "a space": b" ",
    "no JSON": b"reference_id=a&resource=FITBIT",
    "half of it": json.dumps(GOOD).encode()[:-1],
    "more after it": json.dumps(GOOD).encode() + b"{}",
    "a list": json.dumps([GOOD]).encode(),
    "null": b"null",
    "a text": json.dumps(json.dumps(GOOD)).encode(),
    "a number": b"1",
    "not UTF-8": b'{"reference_id": "\xff\xfe", "resource": "FITBIT"}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "a lone surrogate": b'{"reference_id": "\\ud800", "resource": "FITBIT"}',
    "a lone surrogate in a name": b'{"reference_id": "a", "resource": "FITBIT", "\\udfff": 1}',
    "encoded surrogates": b'{"reference_id": "\xed\xa0\x80", "resource": "FITBIT"}',
    "a raw control character": b'{"reference_id": "a\nb", "resource": "FITBIT"}',
    "deep nesting": b'{"reference_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "NaN": b'{"reference_id": NaN, "resource": "FITBIT"}',
}


@pytest.mark.parametrize("content_type", ["application/json", "application/octet-stream"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_unreadable_body_is_400(api: httpx.Client, terra: Terra, body: bytes, content_type: str) -> None:
    response = api.post("/sessions", content=body, headers={"content-type": content_type})
    status, code, fields = rejection(response)
    assert (status, code) == (400, "invalid_request")
    assert fields
    assert terra.calls("/authenticateUser") == []


def test_a_body_of_more_than_10_mb_is_413(api: httpx.Client) -> None:
    response = api.post(
        "/sessions", content=b" " * (10 * 1024 * 1024 + 1), headers={"content-type": "application/json"}
    )
    assert (response.status_code, set(response.json())) == (413, {"message"})


@pytest.mark.parametrize("reference", ["x" * 256, "\U0001f600" * 256, "a+b@c.d/e f", "NULL", "\u0080", "  ", "\u202e"])
def test_almost_any_text_is_a_reference_id(api: httpx.Client, terra: Terra, reference: str) -> None:
    session = create_session(api, reference)
    assert session["reference_id"] == reference
    [call] = terra.calls("/authenticateUser")
    assert call["body"]["reference_id"] == reference


def test_null_equals_a_missing_field(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    create_session(api, reference_id, resources=None, return_to=None, language=None)
    [call] = terra.calls("/authenticateUser")
    assert set(call["body"]) == {"reference_id", "auth_success_redirect_url", "auth_failure_redirect_url"}


@pytest.mark.parametrize(
    "name", ["nowhere", "WEB", "https://evil.example.com", f"https://{'x' * 90}", "", "..", "web ", "__class__"]
)
def test_an_unknown_return_target_is_422_and_terra_gets_no_request(
    api: httpx.Client, terra: Terra, reference_id: str, name: str
) -> None:
    response = api.post("/sessions", json={**GOOD, "reference_id": reference_id, "return_to": name})
    assert rejection(response) == (422, "unknown_return_target", set())
    assert not name or name not in response.text
    assert terra.calls("/authenticateUser") == []


@pytest.mark.parametrize("resource", ["NOSUCHTHING", "FITBIT2", "__"])
def test_an_unknown_resource_is_422(api: httpx.Client, terra: Terra, tables: Tables, resource: str) -> None:
    before = tables.count()
    response = api.post("/sessions", json={**GOOD, "resource": resource})
    assert rejection(response) == (422, "unknown_resource", set())
    assert len(terra.calls("/authenticateUser")) == 1
    assert tables.count() == before


def test_the_content_type_does_not_matter(api: httpx.Client, reference_id: str) -> None:
    body = json.dumps({**GOOD, "reference_id": reference_id}).encode()
    for content_type in (
        "application/json",
        "text/plain",
        "application/octet-stream",
        "application/json; charset=utf-8",
    ):
        assert api.post("/sessions", content=body, headers={"content-type": content_type}).status_code == 201


def test_an_empty_base_url_is_the_apis_own_domain(handlers: Handlers, terra: Terra, reference_id: str) -> None:
    event = http_event("POST", "/sessions", body=json.dumps({**GOOD, "reference_id": reference_id}))
    event["headers"] = {"host": "evil.example.com", "x-forwarded-host": "evil.example.com"}
    deployed = {"PUBLIC_BASE_URL": "", "RETURN_TARGETS": '{"web": "https://app.example.com/"}'}
    assert handlers.run("create_session", event, environment=deployed).status == 201
    [call] = terra.calls("/authenticateUser")
    domain = event["requestContext"]["domainName"]
    assert call["body"]["auth_success_redirect_url"].startswith(f"https://{domain}/auth/success?")


def test_a_session_costs_one_trip_to_terra_and_two_to_dynamodb(
    handlers: Handlers, terra: Terra, reference_id: str
) -> None:
    assert terra
    event = http_event("POST", "/sessions", body=json.dumps({**GOOD, "reference_id": reference_id}))
    run = handlers.run("create_session", event)
    assert run.trips == ["dynamodb.BatchGetItem", "terra.authenticateUser", "dynamodb.TransactWriteItems"]
    assert reference_id not in run.log
    assert "auth_url" not in run.log


def test_a_session_that_cannot_be_stored_is_503(handlers: Handlers, terra: Terra, reference_id: str) -> None:
    event = http_event("POST", "/sessions", body=json.dumps({**GOOD, "reference_id": reference_id}))
    at = "dynamodb.TransactWriteItems*:before"
    for failure in (
        aws_error(at, "InternalServerError", status=500),
        broken_connection(at, "silence"),
        broken_connection(at, "reset"),
    ):
        run = handlers.run("create_session", event, failure)
        assert (run.status, run.json["code"]) == (503, "storage_unavailable")
        assert run.trips.count("terra.authenticateUser") == 1
    assert terra.calls("/authenticateUser")


def test_a_session_whose_write_response_was_lost_is_stored_by_the_retry(
    handlers: Handlers, terra: Terra, tables: Tables, reference_id: str
) -> None:
    event = http_event("POST", "/sessions", body=json.dumps({**GOOD, "reference_id": reference_id}))
    run = handlers.run("create_session", event, lost_response("dynamodb.TransactWriteItems:before"))
    assert run.status == 201
    assert tables.session(run.json["session_id"]) is not None
    assert len(terra.calls("/authenticateUser")) == 1


def test_a_stack_without_the_key_of_terra_is_misconfigured(handlers: Handlers, terra: Terra) -> None:
    event = http_event("POST", "/sessions", body=json.dumps(GOOD))
    run = handlers.run("create_session", event, aws_error("secrets-manager.*:before", "ResourceNotFoundException"))
    assert (run.status, run.json["code"]) == (503, "misconfigured")
    assert terra.calls("/authenticateUser") == []


def test_a_login_at_the_auth_url_redirects_to_the_api(api: httpx.Client, terra: Terra, reference_id: str) -> None:
    assert terra
    session = create_session(api, reference_id)
    assert decide(session["auth_url"], "deny").startswith(f"{api.base_url}".rstrip("/"))


@pytest.mark.parametrize("key", ["\u201ckey\u201d", "key\u00a0", "key\n", "k ey"])
def test_a_malformed_key_of_terra_is_misconfigured_and_terra_gets_no_request(
    handlers: Handlers, api: httpx.Client, terra: Terra, reference_id: str, key: str
) -> None:
    attempt = begin(api, terra, reference_id)
    pasted = fake_response("secrets-manager.*:before", {"SecretString": json.dumps({"api_key": key})})
    event = http_event("POST", "/sessions", body=json.dumps({"reference_id": reference_id, "resource": "FITBIT"}))
    run = handlers.run("create_session", event, pasted)
    assert (run.status, run.json["code"]) == (503, "misconfigured")
    page = handlers.run("auth_success", attempt.event("success"), pasted)
    assert page.result is not None
    assert page.result["headers"]["content-type"].startswith("text/html")
    assert [point for point in run.trips + page.trips if point.startswith("terra.")] == []
