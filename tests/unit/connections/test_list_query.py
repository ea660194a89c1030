"""The query of GET /connections."""

import pytest

from terra_connections.auth.caller import Caller
from terra_connections.connections.list_query import ListQuery
from terra_connections.errors import Forbidden, InvalidRequest
from terra_connections.ids import ReferenceId

ADA = ReferenceId("ada")


@pytest.mark.parametrize("limit", ["1", "1000", "0001"])
def test_a_page_has_one_to_a_thousand_items(limit: str) -> None:
    query = ListQuery.parse({"limit": limit})
    assert (query.is_of_all_users, query.limit, query.cursor) == (True, int(limit), None)


@pytest.mark.parametrize(
    "limit", ["0", "1001", "abc", "", "-1", "+1", "1.0", "1e2", " 1", "0x10", "99999999999999999999", "\u0661"]
)
def test_every_other_limit_is_rejected(limit: str) -> None:
    with pytest.raises(InvalidRequest) as error:
        ListQuery.parse({"limit": limit})
    assert error.value.errors == (("limit", "must be a whole number from 1 to 1000"),)


def test_a_cursor_alone_asks_for_a_page_of_all_users() -> None:
    query = ListQuery.parse({"cursor": "x"})
    assert (query.is_of_all_users, query.limit) == (True, 100)


def test_a_query_without_limit_and_cursor_is_of_one_user() -> None:
    assert not ListQuery.parse({}).is_of_all_users
    with pytest.raises(InvalidRequest, match="give limit instead"):
        ListQuery.parse({}).user_of(Caller("service"))
    assert ListQuery.parse({}).user_of(Caller("user", ADA)) == ADA
    assert ListQuery.parse({"reference_id": "ada"}).user_of(Caller("service")) == ADA
    with pytest.raises(Forbidden):
        ListQuery.parse({"reference_id": "bob"}).user_of(Caller("user", ADA))


def test_limit_and_cursor_are_rejected_together_with_a_user() -> None:
    with pytest.raises(InvalidRequest) as error:
        ListQuery.parse({"reference_id": "ada", "limit": "10", "cursor": "x"})
    assert [field for field, _ in error.value.errors] == ["limit", "cursor"]
