"""The events that functions receive, compared with AWS's documentation and with observations at AWS."""

import base64
import json
import socket
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.support.gateway import Running, raw

# "Create AWS Lambda proxy integrations for HTTP APIs", payload format 2.0: the fields of the documented event. Those
# for mutual TLS, JWT authorizers and stage variables belong to features that the stack does not use.
DOCUMENTED = {
    "version",
    "routeKey",
    "rawPath",
    "rawQueryString",
    "cookies",
    "headers",
    "queryStringParameters",
    "requestContext",
    "body",
    "pathParameters",
    "isBase64Encoded",
}
DOCUMENTED_CONTEXT = {
    "accountId",
    "apiId",
    "domainName",
    "domainPrefix",
    "http",
    "requestId",
    "routeKey",
    "stage",
    "time",
    "timeEpoch",
}
DOCUMENTED_HTTP = {"method", "path", "protocol", "sourceIp", "userAgent"}


def event_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    event: dict[str, Any] = response.json()
    return event


def test_the_documented_example_produces_the_documented_event(api: Running) -> None:
    response = api.client.request(
        "GET",
        "/items/value1?parameter1=value1&parameter1=value2&parameter2=value",
        headers=[
            ("Header1", "value1"),
            ("Header2", "value1"),
            ("header2", "value2"),
            ("Cookie", "cookie1; cookie2"),
            ("User-Agent", "agent"),
            ("Content-Type", "text/plain"),
        ],
        content="Hello from Lambda",
    )
    event = event_of(response)
    assert set(event) == DOCUMENTED
    assert event["version"] == "2.0"
    assert event["routeKey"] == "GET /items/{id}"
    assert event["rawPath"] == "/items/value1"
    assert event["rawQueryString"] == "parameter1=value1&parameter1=value2&parameter2=value"
    assert event["cookies"] == ["cookie1", "cookie2"]
    assert event["headers"]["header1"] == "value1"
    assert event["headers"]["header2"] == "value1,value2"
    assert event["queryStringParameters"] == {"parameter1": "value1,value2", "parameter2": "value"}
    assert event["pathParameters"] == {"id": "value1"}
    assert event["body"] == "Hello from Lambda"
    assert event["isBase64Encoded"] is False

    context = event["requestContext"]
    assert set(context) == DOCUMENTED_CONTEXT
    assert set(context["http"]) == DOCUMENTED_HTTP
    assert context["http"] == {
        "method": "GET",
        "path": "/items/value1",
        "protocol": "HTTP/1.1",
        "sourceIp": "127.0.0.1",
        "userAgent": "agent",
    }
    assert context["routeKey"] == "GET /items/{id}"
    assert context["stage"] == "$default"
    assert len(context["accountId"]) == 12
    assert context["domainName"] == f"{context['apiId']}.execute-api.eu-north-1.amazonaws.com"
    assert context["domainPrefix"] == context["apiId"]
    assert context["requestId"] == response.headers["apigw-requestid"]
    moment = datetime.strptime(context["time"], "%d/%b/%Y:%H:%M:%S %z")
    assert int(moment.timestamp()) == context["timeEpoch"] // 1000
    assert abs(datetime.now(UTC) - moment).total_seconds() < 60


def test_the_event_omits_fields_that_the_request_lacks(api: Running) -> None:
    event = event_of(api.client.get("/echo"))
    assert set(event) == DOCUMENTED - {"cookies", "queryStringParameters", "pathParameters", "body"}
    assert event["rawQueryString"] == ""
    assert event["isBase64Encoded"] is False


def test_forwarding_headers_are_added_and_hop_by_hop_headers_are_removed(api: Running) -> None:
    request = (
        b"GET /echo HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
        b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Empty:\r\n\r\n"
    )
    status, body = raw(api, request)
    assert status == 200
    headers = json.loads(body)["headers"]
    port = api.gateway.url.rsplit(":", 1)[1]
    assert headers.pop("x-amzn-trace-id").startswith("Root=1-")
    assert headers == {
        "host": "example.com",
        "x-empty": "",
        "x-forwarded-for": "203.0.113.9, 127.0.0.1",
        "x-forwarded-port": port,
        "x-forwarded-proto": "http",
    }


def test_cookies_of_all_header_lines_are_moved_to_their_own_field(api: Running) -> None:
    event = event_of(api.client.get("/echo", headers=[("Cookie", "a=1; b=2"), ("Cookie", "c=x=y")]))
    assert event["cookies"] == ["a=1", "b=2", "c=x=y"]
    assert "cookie" not in event["headers"]


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        (b"a=b%20c&d=e+f", {"a": "b c", "d": "e f"}),
        (b"empty=&flag", {"empty": "", "flag": ""}),
        (b"%C3%A9=%E2%82%AC", {"\u00e9": "\u20ac"}),
        (b"a=1,2&a=3", {"a": "1,2,3"}),
        (b"bad=%zz&lone=%FF", {"bad": "%zz", "lone": "\ufffd"}),
    ],
)
def test_the_event_contains_the_decoded_and_the_raw_query(
    api: Running, query: bytes, parameters: dict[str, str]
) -> None:
    status, body = raw(api, b"GET /echo?" + query + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200
    event = json.loads(body)
    assert event["rawQueryString"] == query.decode()
    assert event["queryStringParameters"] == parameters


@pytest.mark.parametrize(
    ("path", "seen", "parameter"),
    [
        (b"/items/a%20b", "/items/a b", "a b"),
        (b"/items/%E2%82%AC", "/items/\u20ac", "\u20ac"),
        (b"/items/a+b", "/items/a+b", "a+b"),
        (b"/items/a%2520b", "/items/a%20b", "a%20b"),
        (b"/items/a%3Fb=c", "/items/a", "a"),
        (b"/%69tems/x", "/items/x", "x"),
    ],
)
def test_the_path_is_decoded_once(api: Running, path: bytes, seen: str, parameter: str) -> None:
    status, body = raw(api, b"GET " + path + b"?q=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status == 200
    event = json.loads(body)
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == seen
    assert event["pathParameters"] == {"id": parameter}
    assert event["rawQueryString"] == "q=1"


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "TEXT/HTML", "application/json", "application/json; charset=utf-8", "application/xml", "text/csv"],
)
def test_a_body_with_a_text_type_is_passed_as_text(api: Running, content_type: str) -> None:
    event = event_of(
        api.client.post("/echo", content="gr\u00fc\u00df".encode(), headers={"content-type": content_type})
    )
    assert event["body"] == "gr\u00fc\u00df"
    assert event["isBase64Encoded"] is False


@pytest.mark.parametrize(
    "content_type",
    [
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "application/problem+json",
        "multipart/form-data; boundary=b",
        "image/png",
        None,
    ],
)
def test_a_body_with_any_other_type_is_passed_as_base64(api: Running, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    event = event_of(api.client.post("/echo", content=b"a=b", headers=headers))
    assert event["body"] == base64.b64encode(b"a=b").decode()
    assert event["isBase64Encoded"] is True


def test_a_body_that_is_not_utf_8_is_passed_as_base64(api: Running) -> None:
    content = b"\x00\xff\xfe{"
    event = event_of(api.client.post("/echo", content=content, headers={"content-type": "application/json"}))
    assert base64.b64decode(event["body"]) == content
    assert event["isBase64Encoded"] is True


def test_a_chunked_body_is_passed_complete_with_its_length(api: Running) -> None:
    event = event_of(api.client.post("/echo", content=iter([b"one ", b"two"]), headers={"content-type": "text/plain"}))
    assert event["body"] == "one two"
    assert event["headers"]["content-length"] == "7"
    assert "transfer-encoding" not in event["headers"]


def test_expect_100_continue_is_answered(api: Running) -> None:
    host, port = api.gateway.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        head = (
            b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head)
        assert connection.recv(1024).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"hi")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_unusual_characters_are_passed_unchanged(api: Running) -> None:
    text = '\u2028 \U0001f600 \\ " </script> \x7f'
    event = event_of(api.client.post("/echo", content=text.encode(), headers={"content-type": "text/plain"}))
    assert event["body"] == text
