"""The query of GET /connections: one user's connections, or a page of those of all users."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from terra_connections.auth.caller import Caller
from terra_connections.errors import InvalidRequest
from terra_connections.ids import ReferenceId, reference_id_error
from terra_connections.unknown_name import unknown

MOST = 1000
_BY_DEFAULT = 100
_PARAMETERS = ("reference_id", "include", "limit", "cursor")
_NUMBER = re.compile(r"[0-9]{1,4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """A valid query.

    Attributes:
        reference_id: the user, if the query names one.
        include_revoked: whether revoked connections are included.
        is_of_all_users: whether it has `limit` or `cursor`. Both are explicit, so that a back end that leaves out
            `reference_id` by mistake does not get the connections of other users.
        limit: the number of items of a page.
        cursor: where the page starts; None for the first one.
    """

    reference_id: ReferenceId | None
    include_revoked: bool
    is_of_all_users: bool
    limit: int
    cursor: str | None

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> Self:
        """Parse the parameters.

        Raises:
            InvalidRequest: with a message for each invalid parameter.
        """
        if wrong := _wrong(query):
            raise InvalidRequest(wrong)
        reference_id = query.get("reference_id")
        return cls(
            reference_id=None if reference_id is None else ReferenceId(reference_id),
            include_revoked="include" in query,
            is_of_all_users="limit" in query or "cursor" in query,
            limit=int(query.get("limit", _BY_DEFAULT)),
            cursor=query.get("cursor"),
        )

    def user_of(self, caller: Caller) -> ReferenceId:
        """Return the user whose connections are listed.

        Raises:
            InvalidRequest: a query with a service key names no user.
            Forbidden: a query with a user token names another user.
        """
        if caller.subject is None and self.reference_id is None:
            sentence = "is required with a service key; to list the connections of all users, give limit instead"
            raise InvalidRequest([("reference_id", sentence)])
        return caller.reference_id(self.reference_id)


def _wrong(query: Mapping[str, str]) -> list[tuple[str, str]]:
    wrong = [(name, unknown("parameter", name, _PARAMETERS)) for name in query if name not in _PARAMETERS]
    if "reference_id" in query and (sentence := reference_id_error(query["reference_id"])):
        wrong.append(("reference_id", sentence))
    if query.get("include", "revoked") != "revoked":
        wrong.append(("include", "must be revoked, or be left out"))
    if "limit" in query and not (_NUMBER.fullmatch(query["limit"]) and 1 <= int(query["limit"]) <= MOST):
        wrong.append(("limit", f"must be a whole number from 1 to {MOST}"))
    if "reference_id" in query:
        of_one_user = "is for the connections of all users; leave it out with reference_id"
        wrong += [(name, of_one_user) for name in ("limit", "cursor") if name in query]
    return wrong
