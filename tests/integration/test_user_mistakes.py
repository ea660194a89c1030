"""Common mistakes of developers in their first API calls, and the exact responses, over real HTTP.

A message names the field, the error and, if that is not obvious, the remedy. It contains no regular expression and
no term of the validation libraries.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx
import pytest

from local.testing import Stack
from tests.support.api import connections_of, create_session
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, new_user_id

ALICE = {"reference_id": "alice"}
FIELDS = "reference_id, resource, resources, user_id, return_to and language"
PROVIDER = "must be the code of a provider, for example FITBIT; GET /providers lists them"
RETURN_TO = "return_to must be the name of a return target of this deployment, not a URL: android, ios, web."
LIBRARY_WORDS = re.compile(
    r"pydantic|[Tt]uple|Extra inputs|Value error|Input should|valid string|pattern|regex|\^|\\|\{\d|dict\b|None\b"
)


@dataclass(frozen=True)
class Mistake:
    """One wrong request, and its response.

    Attributes:
        body: JSON unless it is bytes.
        errors: the message for each field; for a code without `errors`, its `detail`.
    """

    name: str
    errors: str | Mapping[str, str]
    body: object = None
    path: str = "POST /sessions"
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 400
    code: str = "invalid_request"


def new(name: str, body: object, errors: str | Mapping[str, str], **more: Any) -> Mistake:  # noqa: ANN401 - of any field
    """Build a mistake in the body of POST /sessions."""
    return Mistake(name, errors, body, **more)


def unknown(name: str, value: object, sentence: str) -> Mistake:
    """Build a mistake with an unknown field in POST /sessions."""
    return new(f"the field {name}", {**ALICE, name: value}, {name: f"unknown field; {sentence}"})


def listed(query: str, errors: Mapping[str, str]) -> Mistake:
    return Mistake(f"?{query[:30]}", errors, path=f"GET /connections?{query}")


def of_session(**members: object) -> dict[str, object]:
    return {**ALICE, **members}


MISTAKES = [
    # --- the body as a whole
    new("no body", b"", {"body": "is empty; send a JSON object"}),
    new("a form", b"reference_id=alice", {"body": "is not JSON: expected value at line 1 column 1"}),
    new("names without quotes", b"{reference_id: 1}", {"body": "is not JSON: key must be a string at line 1 column 2"}),
    new("a comma at the end", b'{"a": 1,}', {"body": "is not JSON: trailing comma at line 1 column 9"}),
    new("an array", [ALICE], {"body": "must be a JSON object, not an array"}),
    new("a string", "alice", {"body": "must be a JSON object, not a string"}),
    new("a number", 42, {"body": "must be a JSON object, not a number"}),
    new("null", b"null", {"body": "must be a JSON object, not null"}),
    new("true", b"true", {"body": "must be a JSON object, not a boolean"}),
    new("too large", of_session(resource="F" * 70_000), {"body": "must have at most 64 kB"}),
    # --- reference_id
    new("no reference_id", {}, {"reference_id": "is required with a service key"}),
    new("null as reference_id", {"reference_id": None}, {"reference_id": "is required with a service key"}),
    new("a number as reference_id", {"reference_id": 42}, {"reference_id": "must be a string, not a number"}),
    new("an object as reference_id", {"reference_id": {}}, {"reference_id": "must be a string, not an object"}),
    new("an array as reference_id", {"reference_id": ["a"]}, {"reference_id": "must be a string, not an array"}),
    new("an empty reference_id", {"reference_id": ""}, {"reference_id": "must not be empty"}),
    new("a long reference_id", {"reference_id": "x" * 257}, {"reference_id": "must have at most 256 characters"}),
    new("a line break", {"reference_id": "a\nb"}, {"reference_id": "must not contain control characters"}),
    new(
        "the word null",
        {"reference_id": "null"},
        {"reference_id": "must not be the word null, which Terra reads as no reference_id"},
    ),
    # --- the connection to repair
    new(
        "a user_id with a space",
        {"user_id": "a b"},
        {"user_id": "must be the user_id of a connection: at most 128 letters, digits, dashes and underscores"},
    ),
    new(
        "a user_id and a resource",
        {"user_id": "a", "resource": "FITBIT"},
        {
            "user_id": "may not be given together with resource or resources: the connection has a provider",
        },
    ),
    # --- unknown fields
    unknown("referenceId", "alice", "did you mean reference_id?"),
    unknown("userId", "alice", "did you mean user_id?"),
    unknown("provider", "FITBIT", "did you mean resource?"),
    unknown("Resource", "FITBIT", "did you mean resource?"),
    unknown("providers", ["FITBIT"], "did you mean resources?"),
    unknown("returnTo", "web", "did you mean return_to?"),
    unknown("redirect_url", "https://app.example.com", "did you mean return_to?"),
    unknown("auth_success_redirect_url", "https://app.example.com", "did you mean return_to?"),
    unknown("locale", "de", "did you mean language?"),
    unknown("mode", "test", f"the fields are {FIELDS}"),
    Mistake(
        "a field of POST /erasures",
        {"user": "unknown field; did you mean reference_id?", "all": "unknown field; the only field is reference_id"},
        {"user": "alice", "all": True},
        path="POST /erasures",
    ),
    Mistake("POST /erasures without a body", {"body": "is empty; send a JSON object"}, b"", path="POST /erasures"),
    Mistake(
        "POST /connections/sync without a body",
        {"body": "is empty; send a JSON object"},
        b"",
        path="POST /connections/sync",
    ),
    # --- providers
    new("a name with a space", of_session(resource="Google Fit"), {"resource": PROVIDER}),
    new("an empty provider", of_session(resource=""), {"resource": PROVIDER}),
    new("a number as provider", of_session(resource=7), {"resource": "must be a string, not a number"}),
    new("two in one", of_session(resource=["FITBIT", "OURA"]), {"resource": "must be a string, not an array"}),
    new(
        "no providers",
        of_session(resources=[]),
        {"resources": "must name at least one provider; leave the field out to offer all of them"},
    ),
    new(
        "a list in a string",
        of_session(resources="FITBIT,OURA"),
        {"resources": "must be an array of strings, not a string"},
    ),
    new(
        "two wrong ones in a list",
        of_session(resources=["FITBIT", "", 7]),
        {"resources.1": PROVIDER, "resources.2": "must be a string, not a number"},
    ),
    new("many providers", of_session(resources=["FITBIT"] * 101), {"resources": "must name at most 100 providers"}),
    new(
        "one provider and a list",
        of_session(resource="FITBIT", resources=["OURA"]),
        {"resources": "may not be given together with resource"},
    ),
    # --- return targets: one code, regardless of length
    *(
        new(f"return_to {name}", of_session(return_to=to), RETURN_TO, status=422, code="unknown_return_target")
        for name, to in {
            "a URL": "http://app.example.com",
            "a long URL": f"https://app.example.com/{'x' * 90}",
            "another name": "webb",
            "in capitals": "WEB",
            "empty": "",
        }.items()
    ),
    new("a number as return_to", of_session(return_to=1), {"return_to": "must be a string, not a number"}),
    # --- languages
    *(
        new(
            f"language {tag}", of_session(language=tag), {"language": "must be a language tag, for example en or de-CH"}
        )
        for tag in ("english", "en_US", "", "e")
    ),
    new("a number as language", of_session(language=1), {"language": "must be a string, not a number"}),
    # --- idempotency keys
    *(
        new(
            f"an Idempotency-Key of {len(key)} characters",
            of_session(resource="FITBIT"),
            {"Idempotency-Key": "must have 1 to 255 characters"},
            headers={"Idempotency-Key": key},
        )
        for key in ("", "x" * 256)
    ),
    # --- queries
    listed(
        "",
        {"reference_id": ("is required with a service key; to list the connections of all users, give limit instead")},
    ),
    listed("reference_id=", {"reference_id": "must not be empty"}),
    listed(f"reference_id={'x' * 257}", {"reference_id": "must have at most 256 characters"}),
    listed("reference_id=a%0Ab", {"reference_id": "must not contain control characters"}),
    listed("reference_id=a&reference_id=b", {"reference_id": "is given more than once"}),
    listed("referenceId=alice", {"referenceId": "unknown parameter; did you mean reference_id?"}),
    listed("user_id=alice", {"user_id": "unknown parameter; did you mean reference_id?"}),
    listed("reference_id=a&includes=revoked", {"includes": "unknown parameter; did you mean include?"}),
    listed(
        "reference_id=a&limit=10",
        {"limit": "is for the connections of all users; leave it out with reference_id"},
    ),
    listed("limit=abc", {"limit": "must be a whole number from 1 to 1000"}),
    listed("limit=10&cursor=x", {"cursor": "is not a cursor that this API has issued; start again without it"}),
    listed("page=2", {"page": "unknown parameter; the parameters are reference_id, include, limit and cursor"}),
    listed("reference_id=a&include=all", {"include": "must be revoked, or be left out"}),
    # --- missing resources
    Mistake(
        "an unknown session", "There is no such session.", path="GET /sessions/nosuch", status=404, code="not_found"
    ),
    *(
        Mistake(
            f"{method} an unknown connection",
            "There is no such connection.",
            path=f"{method} /connections/nosuch",
            status=404,
            code="not_found",
        )
        for method in ("GET", "DELETE")
    ),
    Mistake(
        "an unsigned webhook",
        "",
        {"type": "auth"},
        path="POST /webhooks/terra",
        status=401,
        code="not_signed",
    ),
]


def send(client: httpx.Client, mistake: Mistake) -> httpx.Response:
    method, path = mistake.path.split(" ")
    body = mistake.body if isinstance(mistake.body, bytes) else json.dumps(mistake.body).encode()
    content = body if method == "POST" else None
    return client.request(
        method, path, content=content, headers={"Content-Type": "application/json", **mistake.headers}
    )


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_gets_a_message_with_the_error_and_the_remedy(
    api: httpx.Client, stack: Stack, terra: Terra, mistake: Mistake
) -> None:
    response = send(api, mistake)
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, problem["code"]) == (mistake.status, mistake.code)
    assert problem["type"] == f"{stack.demo_url}/docs/problems.md#{mistake.code}"
    if isinstance(mistake.errors, str):
        assert problem.get("detail", "") == mistake.errors
    else:
        assert {error["field"]: error["message"] for error in problem["errors"]} == mistake.errors
        assert problem["detail"] == "; ".join(f"{name}: {sentence}" for name, sentence in mistake.errors.items())
    content = {**problem, "type": ""}
    assert not LIBRARY_WORDS.search(json.dumps(content, ensure_ascii=False)), content
    assert terra.calls("/auth") == []


def test_the_type_of_a_problem_links_to_its_documentation(api: httpx.Client) -> None:
    link = httpx.URL(api.get("/sessions/nosuch").json()["type"])
    page = httpx.get(link, timeout=30)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert f'<h2 id="{link.fragment}">' in page.text
    assert "A session is deleted after" in page.text


@pytest.mark.parametrize(
    ("path", "headers", "status", "message"),
    [
        ("GET /connections", {}, 401, "Unauthorized"),
        ("GET /connections", {"X-Api-Key": "{key}"}, 401, "Unauthorized"),
        ("GET /connections", {"Authorization": "{key}"}, 403, "Forbidden"),
        ("GET /connections", {"Authorization": "Bearer {key}x"}, 403, "Forbidden"),
        ("GET /connections", {"Authorization": "Basic {key}"}, 403, "Forbidden"),
        ("GET /users", {"Authorization": "Bearer {key}"}, 404, "Not Found"),
        ("PUT /sessions", {"Authorization": "Bearer {key}"}, 404, "Not Found"),
        ("POST /sessions/", {"Authorization": "Bearer {key}"}, 404, "Not Found"),
    ],
)
def test_a_request_rejected_by_api_gateway_has_the_format_of_api_gateway(
    browser: httpx.Client, stack: Stack, path: str, headers: dict[str, str], status: int, message: str
) -> None:
    filled = {name: value.format(key=stack.service_key) for name, value in headers.items()}
    response = browser.request(*path.split(" "), headers=filled)
    assert response.headers["content-type"] == "application/json"
    assert (response.status_code, response.json()) == (status, {"message": message})


def test_a_user_token_is_rejected_for_another_user(browser: httpx.Client, stack: Stack) -> None:
    token = httpx.post(f"{stack.oidc_issuer}/token", json={"subject": "alice"}, timeout=30).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    for response in (
        browser.post("/sessions", json={"reference_id": "bob"}, headers=headers),
        browser.get("/connections?reference_id=bob", headers=headers),
        browser.post("/connections/sync", json={"reference_id": "bob"}, headers=headers),
        browser.post("/erasures", json={"reference_id": "bob"}, headers=headers),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "forbidden")
        assert response.json()["detail"] == "A user's token acts for its own subject only."


@pytest.mark.parametrize("resource", ["fitbit", "Fitbit", "FITBIT"])
def test_a_provider_code_is_accepted_in_any_case(
    api: httpx.Client, terra: Terra, reference_id: str, resource: str
) -> None:
    session = create_session(api, reference_id, resource=resource)
    assert session["resource"] == "FITBIT"
    [call] = terra.calls("/auth/authenticateUser")
    assert call["query"] == {"resource": "FITBIT"}


def test_provider_codes_in_a_list_are_accepted_in_any_case_and_sent_once(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    response = api.post("/sessions", json={"reference_id": reference_id, "resources": ["garmin", "Oura", "GARMIN"]})
    assert response.status_code == 201
    [call] = terra.calls("/widget/session")
    assert call["body"]["providers"] == "GARMIN,OURA"


def test_null_in_any_field_equals_a_missing_field(api: httpx.Client, reference_id: str) -> None:
    body = {"reference_id": reference_id, "resource": None, "resources": None, "user_id": None}
    body |= {"return_to": None, "language": None}
    assert api.post("/sessions", json=body).status_code == 201


def test_a_connection_id_in_a_path_is_404_with_a_hint_to_use_the_user_id(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.deliver(auth_event(new_user_id(), reference_id))
    [connection] = connections_of(api, reference_id)
    for connection_id in (connection["connection_id"], f"con_{'0' * 24}"):
        for method in ("GET", "DELETE"):
            response = api.request(method, f"/connections/{connection_id}")
            assert (response.status_code, response.json()["code"]) == (404, "not_found")
            assert response.json()["title"] == "Not found"
            assert response.json()["detail"] == (
                "There is no such connection. This is a connection_id: use the user_id of the connection instead."
            )
    assert len(connections_of(api, reference_id)) == 1


def test_a_repeat_is_marked_and_another_body_gets_a_message_with_the_remedy(
    api: httpx.Client, reference_id: str
) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    body = {"reference_id": reference_id, "resource": "FITBIT"}
    first, again = (api.post("/sessions", json=body, headers=headers) for _ in range(2))
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    other = api.post("/sessions", json={**body, "language": "de"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert other.json()["detail"] == "A repeat has the same body, byte for byte. Use a new key for a new request."


def test_the_detail_contains_the_wait_of_the_retry_after_header(
    api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.fault("/auth/authenticateUser", "rate_limit", retry_after=17)
    response = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"})
    assert (response.status_code, response.headers["retry-after"]) == (429, "17")
    assert response.json()["detail"] == "Terra's rate limit is used up. Try again in 17 seconds."


def test_the_21st_open_login_is_rejected_with_the_minutes_to_wait(api: httpx.Client, reference_id: str) -> None:
    for _ in range(20):
        create_session(api, reference_id)
    response = api.post("/sessions", json={"reference_id": reference_id, "resource": "FITBIT"})
    assert (response.status_code, response.json()["code"]) == (429, "too_many_sessions")
    assert re.fullmatch(
        r"This user has 20 unfinished logins, and may have 20\. Try again in (59|60) minutes\.",
        response.json()["detail"],
    )


def test_a_body_with_many_mistakes_gets_a_short_response(api: httpx.Client) -> None:
    body = {f"{'x' * 200}{number}": number for number in range(250)}
    response = api.post("/sessions", json=body)
    assert response.status_code == 400
    assert len(response.json()["errors"]) == 10
    assert len(response.content) < 8000
