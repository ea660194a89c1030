import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terra_connections.api_gateway import Request, Response, json_response
from terra_connections.auth.caller import Caller
from terra_connections.errors import Forbidden, InvalidRequest
from terra_connections.ids import ReferenceId


def query(text: str) -> dict[str, str]:
    return Request({"rawQueryString": text}).query


def test_a_query_is_decoded_from_its_raw_text() -> None:
    assert query("") == {}
    assert query("a=1&b=&c=x%2By+z&d=%C3%BC%2F") == {"a": "1", "b": "", "c": "x+y z", "d": "ü/"}


@pytest.mark.parametrize("text", ["a=1&a=1", "a=1&b=2&a=", "a=%ff", "&".join(f"p{n}=1" for n in range(51))])
def test_a_malformed_query_is_rejected(text: str) -> None:
    with pytest.raises(InvalidRequest):
        query(text)


@given(st.text(max_size=60))
def test_the_query_of_a_redirect_is_read_with_any_other_content(more: str) -> None:
    query = Request({"rawQueryString": f"session=s&state=t&{more}"}).redirect_query
    assert (query["session"], query["state"]) == ("s", "t")


def test_the_first_value_of_a_repeated_parameter_of_a_redirect_is_used() -> None:
    query = Request({"rawQueryString": "state=a&amp;state=b?state=c&x=%ff&y=+"}).redirect_query
    assert query == {"state": "a", "x": "\ufffd", "y": " "}


def test_headers_are_case_insensitive() -> None:
    assert Request({"headers": {"X-Terra-Signature": "a"}}).header("x-terra-signature") == "a"
    assert Request({"headers": {"x-terra-signature": "a"}}).header("X-Terra-Signature") == "a"
    assert Request({}).header("x") is None


def test_a_body_is_decoded_to_the_bytes_of_the_request() -> None:
    assert Request({}).body == b""
    assert Request({"body": "ü"}).body == "ü".encode()
    assert Request({"body": "/w==", "isBase64Encoded": True}).body == b"\xff"
    with pytest.raises(InvalidRequest):
        _ = Request({"body": "not base64!", "isBase64Encoded": True}).body


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"authorizer": {}},
        {"authorizer": {"lambda": None}},
        *(
            {"authorizer": {"lambda": context}}
            for context in ({"caller": ""}, {"caller": "other"}, {"caller": ["service"]}, {"reference_id": "ada"})
        ),
        # A user without a subject must not become a service, which may do everything.
        *(
            {"authorizer": {"lambda": {"caller": "user", "reference_id": subject}}}
            for subject in (None, "", "null", 7, ["ada"], "a" * 257, "a\n")
        ),
        {"authorizer": {"lambda": {"caller": "user"}}},
    ],
)
def test_a_request_without_a_valid_caller_is_forbidden(context: dict[str, Any]) -> None:
    with pytest.raises(Forbidden):
        Request({"requestContext": context}).require_caller()


def test_the_caller_is_the_one_in_the_authorizer_s_context() -> None:
    def caller(**context: str) -> Caller:
        return Request({"requestContext": {"authorizer": {"lambda": context}}}).require_caller()

    assert caller(caller="service") == caller(caller="service", reference_id="ada") == Caller("service")
    assert caller(caller="user", reference_id="ada") == Caller("user", ReferenceId("ada"))


def test_the_base_url_does_not_depend_on_the_client() -> None:
    event = {"requestContext": {"domainName": "abc.execute-api.eu-west-1.amazonaws.com"}, "headers": {"host": "evil"}}
    assert Request(event).base_url("") == "https://abc.execute-api.eu-west-1.amazonaws.com"
    assert Request(event).base_url("https://connect.example.com/") == "https://connect.example.com"


def test_a_response_is_converted_to_the_format_of_api_gateway() -> None:
    result = json_response(HTTPStatus.OK, {"name": "ü"}).to_proxy_result()
    assert result["statusCode"] == 200
    assert json.loads(result["body"]) == {"name": "ü"}
    assert result["headers"]["x-content-type-options"] == "nosniff"
    assert result["headers"]["strict-transport-security"] == "max-age=31536000"
    assert Response(HTTPStatus.NO_CONTENT).to_proxy_result()["body"] == ""
