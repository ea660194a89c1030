"""Which caller may act for which user."""

import pytest

from terra_connections.auth.caller import Caller
from terra_connections.errors import Forbidden, InvalidRequest
from terra_connections.ids import ReferenceId

ADA, BOB = ReferenceId("ada"), ReferenceId("bob")
SERVICE, USER = Caller("service"), Caller("user", ADA)


def test_a_service_key_acts_for_the_user_in_the_request() -> None:
    assert SERVICE.reference_id(BOB) == BOB
    with pytest.raises(InvalidRequest) as rejected:
        SERVICE.reference_id(None)
    assert rejected.value.errors == (("reference_id", "is required with a service key"),)


def test_a_user_token_acts_for_its_own_user_only_with_or_without_a_reference_id() -> None:
    assert USER.reference_id(None) == USER.reference_id(ADA) == ADA
    with pytest.raises(Forbidden):
        USER.reference_id(BOB)


def test_a_user_token_may_access_its_own_user_and_a_service_key_every_user() -> None:
    assert [USER.can_access(owner) for owner in (ADA, BOB, None)] == [True, False, False]
    assert [SERVICE.can_access(owner) for owner in (ADA, BOB, None)] == [True, True, True]
