"""The Lambda authorizer: its decisions, its cache, its event, and the context that it passes to functions."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.gateway import Running, serving

# "Control access to HTTP APIs with AWS Lambda authorizers", payload format 2.0: the fields of the documented event,
# without the optional ones for mutual TLS and stage variables.
DOCUMENTED = {
    "version",
    "type",
    "routeArn",
    "identitySource",
    "routeKey",
    "rawPath",
    "rawQueryString",
    "cookies",
    "headers",
    "queryStringParameters",
    "requestContext",
}


@pytest.fixture
def uncached(project: Path) -> Iterator[Running]:
    with serving(project, reauthorize_every=timedelta()) as running:
        yield running


@pytest.mark.parametrize(
    ("token", "status", "body"),
    [
        (None, 401, {"message": "Unauthorized"}),
        ("", 401, {"message": "Unauthorized"}),
        ("deny", 403, {"message": "Forbidden"}),
        ("raise", 500, {"message": "Internal Server Error"}),
        ("malformed", 500, {"message": "Internal Server Error"}),
        ("text", 500, {"message": "Internal Server Error"}),
    ],
)
def test_a_rejected_request_gets_the_response_of_api_gateway(
    api: Running, token: str | None, status: int, body: dict[str, str]
) -> None:
    headers = {} if token is None else {"Authorization": token}
    response = api.client.get("/private", headers=headers)
    assert response.status_code == status
    assert response.json() == body
    assert response.headers["apigw-requestid"]


def test_an_error_of_the_authorizer_is_logged(api: Running) -> None:
    api.client.get("/private", headers={"Authorization": "raise"})
    assert api.logged("[Authorize] raised an exception: RuntimeError: no decision")
    api.client.get("/private", headers={"Authorization": "malformed"})
    assert api.logged("[Authorize] returned a malformed decision: isAuthorized is not a boolean")


def test_the_context_is_passed_to_the_function(api: Running) -> None:
    event = api.client.get("/private", headers={"Authorization": "allow me"}).json()
    context = event["requestContext"]["authorizer"]["lambda"]
    assert context["who"] == ["allow me"]
    without = api.client.get("/private", headers={"Authorization": "plain"}).json()
    assert without["requestContext"]["authorizer"] == {"lambda": None}
    assert "authorizer" not in api.client.get("/echo").json()["requestContext"]


def test_the_authorizer_receives_the_documented_event(api: Running) -> None:
    response = api.client.request(
        "GET", "/private?a=1", headers={"Authorization": "allow event", "Cookie": "c=1"}, content=b"not for authorizers"
    )
    integration = response.json()
    event = integration["requestContext"]["authorizer"]["lambda"]["event"]
    assert set(event) == DOCUMENTED
    assert event["type"] == "REQUEST"
    assert event["identitySource"] == ["allow event"]
    assert event["routeArn"] == "arn:aws:execute-api:eu-north-1:000000000000:local/$default/GET/private"
    assert event["requestContext"]["requestId"] == integration["requestContext"]["requestId"]
    assert "authorizer" not in event["requestContext"]


def test_decisions_are_cached_by_identity(api: Running) -> None:
    def calls(token: str) -> int:
        event = api.client.get("/private", headers={"Authorization": token}).json()
        count: int = event["requestContext"]["authorizer"]["lambda"]["calls"]
        return count

    first = calls("allow A")
    assert calls("allow A") == first
    assert calls("allow B") != first
    assert calls("allow A") == first


def test_a_reauthorization_interval_of_zero_disables_the_cache(uncached: Running) -> None:
    def calls() -> int:
        event = uncached.client.get("/private", headers={"Authorization": "allow"}).json()
        count: int = event["requestContext"]["authorizer"]["lambda"]["calls"]
        return count

    assert [calls(), calls(), calls()] == [1, 2, 3]


def test_an_authorizer_that_cannot_be_loaded_returns_500(project: Path) -> None:
    with serving(project) as api:
        (project / "functions" / "authorize" / "handler.py").write_text("raise SystemError('gone')\n")
        assert api.client.get("/private", headers={"Authorization": "allow"}).status_code == 500
        assert api.client.get("/echo").status_code == 200
