"""Which caller may act for which user."""

import pytest

from terra_connections.auth.caller import Caller
from terra_connections.errors import Forbidden, InvalidRequest
from terra_connections.ids import ReferenceId

ADA, BOB = ReferenceId("ada"), ReferenceId("bob")
SERVICE, USER = Caller("service"), Caller("user", ADA)


def test_a_service_key_acts_for_whom_it_names() -> None:
    assert SERVICE.reference_id(BOB) == BOB
    with pytest.raises(InvalidRequest) as refused:
        SERVICE.reference_id(None)
    assert refused.value.errors == (("reference_id", "is required with a service key"),)


def test_a_user_acts_for_themselves_named_or_not_and_for_nobody_else() -> None:
    assert USER.reference_id(None) == USER.reference_id(ADA) == ADA
    with pytest.raises(Forbidden):
        USER.reference_id(BOB)


def test_a_user_sees_what_is_theirs_and_a_service_sees_everything() -> None:
    assert [USER.can_access(owner) for owner in (ADA, BOB, None)] == [True, False, False]
    assert [SERVICE.can_access(owner) for owner in (ADA, BOB, None)] == [True, True, True]
