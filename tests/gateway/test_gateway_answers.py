"""The gateway's responses: routes, limits, and the conversion of function results."""

import base64
import json
import socket
from collections.abc import Callable

import httpx
import pytest

from local.gateway.routes import Routes
from local.gateway.template import RouteSpec
from tests.support.gateway import Running, as_json, raw

INTERNAL = {"message": "Internal Server Error"}


@pytest.fixture
def respond_with(api: Running) -> Callable[[object], httpx.Response]:
    """Return a function that calls a handler which returns the given value."""

    def call(value: object) -> httpx.Response:
        return api.client.post("/answer", content=as_json(value), headers={"content-type": "application/json"})

    return call


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("GET", "/answer"),
        ("DELETE", "/items/1"),
        ("HEAD", "/items/1"),
        ("OPTIONS", "/items/1"),
        ("GET", "/echo/"),
        ("GET", "/items/"),
        ("GET", "/items/a/b"),
        ("GET", "/items/a%2Fb"),
        ("GET", "/"),
    ],
)
def test_an_unknown_route_or_method_returns_404(api: Running, method: str, path: str) -> None:
    response = api.client.request(method, path)
    assert response.status_code == 404
    assert response.content == (b"" if method == "HEAD" else b'{"message":"Not Found"}')
    assert response.headers["content-type"] == "application/json"
    assert response.headers["apigw-requestid"]


def test_the_most_specific_route_is_selected() -> None:
    keys = [
        "GET /pets/dog/1",
        "GET /pets/dog/{id}",
        "GET /pets/{proxy+}",
        "ANY /{proxy+}",
        "ANY /pets/dog/1",
        "$default",
    ]
    specs: list[RouteSpec] = []
    for key in keys:
        method, _, path = key.rpartition(" ")
        specs.append(RouteSpec(method=method or "ANY", path=path, function=key, authorizer=None))
    routes = Routes(reversed(specs))

    def find(method: str, path: str) -> tuple[str, dict[str, str]]:
        match = routes.find(method, path)
        assert match is not None
        return match.route.key, dict(match.parameters)

    assert find("GET", "/pets/dog/1") == ("GET /pets/dog/1", {})
    assert find("PUT", "/pets/dog/1") == ("ANY /pets/dog/1", {})
    assert find("GET", "/pets/dog/2") == ("GET /pets/dog/{id}", {"id": "2"})
    assert find("GET", "/pets/cat/1") == ("GET /pets/{proxy+}", {"proxy": "cat/1"})
    assert find("POST", "/test/5") == ("ANY /{proxy+}", {"proxy": "test/5"})
    assert find("POST", "/") == ("$default", {})


def test_a_complete_response_is_returned_unchanged(respond_with: Callable[[object], httpx.Response]) -> None:
    response = respond_with(
        {
            "statusCode": 201,
            "headers": {"Content-Type": "application/problem+json", "X-Number": 5, "X-Flag": True},
            "cookies": ["a=1; Path=/; HttpOnly", "b=2"],
            "body": "gr\u00fc\u00df",
        }
    )
    assert response.status_code == 201
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-number"] == "5"
    assert response.headers["x-flag"] == "true"
    assert response.headers.get_list("set-cookie") == ["a=1; Path=/; HttpOnly", "b=2"]
    assert response.content == "gr\u00fc\u00df".encode()
    assert response.headers["apigw-requestid"]


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ("Hello from Lambda!", b"Hello from Lambda!"),
        ({"message": "Hello"}, b'{"message": "Hello"}'),
        ([1, 2], b"[1, 2]"),
        (None, b"null"),
        ({"body": "no status"}, b'{"body": "no status"}'),
    ],
)
def test_a_result_without_a_status_becomes_the_body_of_a_200(
    respond_with: Callable[[object], httpx.Response], value: object, body: bytes
) -> None:
    response = respond_with(value)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.content == body


def test_a_response_without_a_content_type_is_plain_text(respond_with: Callable[[object], httpx.Response]) -> None:
    response = respond_with({"statusCode": "202", "body": "ok"})
    assert response.status_code == 202
    assert response.headers["content-type"] == "text/plain;charset=UTF-8"


def test_a_base64_body_is_decoded(respond_with: Callable[[object], httpx.Response]) -> None:
    content = bytes(range(256))
    encoded = base64.b64encode(content).decode()
    response = respond_with({"statusCode": 200, "body": encoded, "isBase64Encoded": True})
    assert response.content == content


def test_connection_headers_of_a_function_are_replaced(respond_with: Callable[[object], httpx.Response]) -> None:
    response = respond_with(
        {
            "statusCode": 200,
            "headers": {"Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "close", "Date": "never"},
            "body": "four",
        }
    )
    assert response.text == "four"
    assert response.headers["content-length"] == "4"
    assert "transfer-encoding" not in response.headers
    assert "connection" not in response.headers
    assert response.headers["date"] != "never"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_sends_no_body(respond_with: Callable[[object], httpx.Response], status: int) -> None:
    response = respond_with({"statusCode": status, "body": "ignored"})
    assert response.status_code == status
    assert response.content == b""


@pytest.mark.parametrize(
    "value",
    [
        {"statusCode": "many"},
        {"statusCode": None},
        {"statusCode": True},
        {"statusCode": 99},
        {"statusCode": 1000},
        {"statusCode": 200, "body": {"not": "text"}},
        {"statusCode": 200, "headers": ["not", "an", "object"]},
        {"statusCode": 200, "headers": {"bad name": "x"}},
        {"statusCode": 200, "headers": {"x": "split\r\nset-cookie: a=b"}},
        {"statusCode": 200, "headers": {"x": {"nested": 1}}},
        {"statusCode": 200, "cookies": "a=b"},
        {"statusCode": 200, "cookies": ["a\r\nb"]},
        {"statusCode": 200, "body": "not base64!", "isBase64Encoded": True},
    ],
)
def test_a_malformed_response_returns_500_and_is_logged(
    api: Running, respond_with: Callable[[object], httpx.Response], value: object
) -> None:
    api.log.clear()
    response = respond_with(value)
    assert response.status_code == 500
    assert response.json() == INTERNAL
    assert api.logged("[Answer] returned a malformed response")


def test_a_body_over_10_mb_returns_413(api: Running) -> None:
    response = api.client.post("/echo", content=b"x" * (10 * 1024 * 1024 + 1))
    assert response.status_code == 413
    assert response.json() == {"message": "Request Entity Too Large"}
    assert response.headers["apigw-requestid"]


def test_an_event_over_6_mb_with_its_escapes_returns_413(api: Running) -> None:
    headers = {"content-type": "text/plain"}
    fits = api.client.post("/echo", content=b"x" * (5 * 1024 * 1024), headers=headers)
    assert fits.status_code == 200
    escaped = api.client.post("/echo", content=b'"' * (4 * 1024 * 1024), headers=headers)
    assert escaped.status_code == 413
    assert escaped.json() == {"message": "Request Entity Too Large"}
    assert api.logged("[Echo] was not invoked")
    encoded = api.client.post("/echo", content=b"x" * (5 * 1024 * 1024))  # base64 makes it 6.7 MB
    assert encoded.status_code == 413


def test_head_returns_the_headers_without_a_body(api: Running) -> None:
    status, body = raw(api, b"HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200
    assert body == b""


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /echo HTTP/1.1\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\nX: \x00\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_malformed_request_returns_400(api: Running, request_bytes: bytes) -> None:
    assert raw(api, request_bytes)[0] == 400
    assert api.client.get("/echo").status_code == 200


def test_headers_over_the_limit_return_431(api: Running) -> None:
    status, body = raw(api, b"GET /echo HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 11_000 + b"\r\n\r\n")
    assert (status, json.loads(body)) == (431, {"message": "Request Header Fields Too Large"})


@pytest.mark.parametrize(
    "begun", [b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf", b"GET /ec", b""]
)
def test_an_early_disconnect_does_not_affect_other_clients(api: Running, begun: bytes) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(api.gateway.url).port or 0), timeout=20) as connection:
        connection.sendall(begun)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1024) == b""
    assert api.client.get("/echo").status_code == 200
