"""If-None-Match, by RFC 9110."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terra_connections.api_gateway import json_response
from terra_connections.etag import unless_known

RESPONSE = json_response(HTTPStatus.OK, {"a": "ä"}, headers={"cache-control": "private, max-age=300"})
ETAG = unless_known(RESPONSE, None).headers["etag"]


def test_a_response_gets_an_etag_of_its_body() -> None:
    tagged = unless_known(RESPONSE, None)
    assert (tagged.status, tagged.body) == (HTTPStatus.OK, RESPONSE.body)
    assert tagged.headers == {**RESPONSE.headers, "etag": ETAG}
    assert unless_known(json_response(HTTPStatus.OK, {"a": "b"}), None).headers["etag"] != ETAG


@pytest.mark.parametrize(
    "header",
    [
        ETAG,
        f"W/{ETAG}",
        "*",
        " * ",
        f'"other", {ETAG}',
        f'"with,comma",W/"x",W/{ETAG} , "last"',
        f",, {ETAG},",
    ],
)
def test_a_matching_etag_gets_304_without_a_body(header: str) -> None:
    response = unless_known(RESPONSE, header)
    assert (response.status, response.body) == (HTTPStatus.NOT_MODIFIED, "")
    # A cache replaces its stored headers with those of a 304.
    assert response.headers == unless_known(RESPONSE, None).headers


@pytest.mark.parametrize(
    "header",
    [
        "",
        '"other"',
        ETAG.strip('"'),
        f"w/{ETAG}",
        f'"x{ETAG}',
        f'{ETAG} "two"',
        f"{ETAG}x",
        f'"a" * {ETAG}',
        f"*, {ETAG}x",
        f'"{ETAG[1:5]}, {ETAG[5:]}',
        '"' * 9000,
        "," * 9000 + "x",
        " " * 9000 + "x",
    ],
)
def test_a_malformed_header_or_other_etags_get_the_whole_response(header: str) -> None:
    assert unless_known(RESPONSE, header).status == HTTPStatus.OK


@given(st.text(alphabet='W/"*, abä', max_size=40))
def test_any_header_is_parsed_without_an_error(header: str) -> None:
    expected = HTTPStatus.NOT_MODIFIED if header.strip() == "*" else HTTPStatus.OK
    assert unless_known(RESPONSE, header).status == expected
