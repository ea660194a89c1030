"""If-None-Match, by RFC 9110."""

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terra_connections.api_gateway import json_response
from terra_connections.etag import unless_known

ANSWER = json_response(HTTPStatus.OK, {"a": "ä"}, headers={"cache-control": "private, max-age=300"})
ETAG = unless_known(ANSWER, None).headers["etag"]


def test_an_answer_gets_an_etag_of_its_body() -> None:
    tagged = unless_known(ANSWER, None)
    assert (tagged.status, tagged.body) == (HTTPStatus.OK, ANSWER.body)
    assert tagged.headers == {**ANSWER.headers, "etag": ETAG}
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
def test_who_has_it_already_is_not_sent_it_again(header: str) -> None:
    answer = unless_known(ANSWER, header)
    assert (answer.status, answer.body) == (HTTPStatus.NOT_MODIFIED, "")
    # A cache replaces its stored headers with those of a 304.
    assert answer.headers == unless_known(ANSWER, None).headers


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
def test_what_is_no_list_of_tags_or_names_others_changes_nothing(header: str) -> None:
    assert unless_known(ANSWER, header).status == HTTPStatus.OK


@given(st.text(alphabet='W/"*, abä', max_size=40))
def test_no_header_breaks_it(header: str) -> None:
    expected = HTTPStatus.NOT_MODIFIED if header.strip() == "*" else HTTPStatus.OK
    assert unless_known(ANSWER, header).status == expected
