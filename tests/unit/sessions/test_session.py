from dataclasses import replace
from datetime import UTC, datetime

import pytest

from terra_connections.connections.facts import (
    Facts,
    Position,
    TerraUser,
    confirmed_facts,
    login_facts,
    reconnect_facts,
    revocation_facts,
)
from terra_connections.connections.lineage import Lineage
from terra_connections.ids import ReferenceId, UserId
from terra_connections.sessions.session import (
    OTHER_ACCOUNT_AFTER,
    Reason,
    Repair,
    Session,
    SessionStatus,
    SessionView,
    connection_by_reference_id,
    connection_by_user_id,
    hash_secret,
    is_one_of,
    made_other_connection,
    reason_from,
    session_view,
)
from tests.support.sessions import CREATED, SESSION


def at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def user(name: str, position: int, *, owner: str | None = "alice", provider: str = "FITBIT") -> Facts:
    reference_id = None if owner is None else ReferenceId(owner)
    return login_facts(TerraUser(UserId(name), owner=reference_id, provider=provider), Position(position))


def view(session: Session = SESSION, *, named: tuple[Facts, ...] = (), now: int = CREATED) -> SessionView:
    return session_view(session, connected=connection_by_user_id(session, Lineage(named)), now=at(now))


def test_a_session_without_facts_is_pending_until_it_expires() -> None:
    assert view().status is SessionStatus.PENDING
    assert view(now=SESSION.expires_at - 1).status is SessionStatus.PENDING
    assert view(now=SESSION.expires_at).status is SessionStatus.EXPIRED


def test_the_announced_connection_completes_the_session_even_after_it_expired() -> None:
    late = view(named=(user("issued", CREATED + 10**9),), now=CREATED + 10**9)
    assert (late.status, late.user_id) == (SessionStatus.CONNECTED, "issued")


def test_a_later_revocation_does_not_change_a_connected_session() -> None:
    revoked = user("issued", CREATED).merged(
        revocation_facts(TerraUser(UserId("issued")), Position(CREATED + 5), by="deauth")
    )
    assert view(named=(revoked,)).status is SessionStatus.CONNECTED


def test_a_session_is_failed_until_it_is_connected() -> None:
    session = replace(SESSION, failed_reasons=frozenset({Reason.UNKNOWN, Reason.MISSING_SCOPES}))
    assert view(session).status is SessionStatus.FAILED
    assert view(session).reason is Reason.MISSING_SCOPES
    assert view(session, now=SESSION.expires_at).status is SessionStatus.FAILED
    assert view(session, named=(user("issued", CREATED),)).status is SessionStatus.CONNECTED


def test_a_failure_reported_by_terra_fails_the_session() -> None:
    failed = session_view(SESSION, connected=None, reported=[Reason.ACCESS_DENIED], now=at(CREATED))
    assert (failed.status, failed.reason) == (SessionStatus.FAILED, Reason.ACCESS_DENIED)


def test_the_successor_of_the_announced_connection_completes_the_session() -> None:
    facts = reconnect_facts(TerraUser(UserId("new")), TerraUser(UserId("issued")), Position(CREATED))
    assert view(named=tuple(facts)).user_id == "new"


def test_a_confirmed_connection_completes_the_session() -> None:
    session = replace(SESSION, confirmed_user_ids=frozenset({UserId("other")}))
    assert view(session, named=(user("other", CREATED - 120_000),)).user_id == "other"
    assert view(SESSION, named=(user("other", CREATED),)).status is SessionStatus.PENDING


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (user("new", CREATED), True),
        # Its time has a resolution of seconds, so the session's first second counts as after its start.
        (user("new", CREATED // 1000 * 1000), True),
        (user("old", CREATED // 1000 * 1000 - 1), False),
        (user("new", CREATED, provider="GARMIN"), False),
        (user("new", CREATED, owner="bob"), False),
        (user("new", CREATED, owner=None), False),
    ],
)
def test_a_new_connection_of_the_user_at_the_provider_completes_the_session(facts: Facts, *, found: bool) -> None:
    assert (connection_by_reference_id(SESSION, [facts]) == facts.user_id) is found


def test_of_several_matching_connections_the_same_is_found_in_every_order() -> None:
    first, second = user("b", CREATED + 1), user("a", CREATED + 2)
    assert (
        connection_by_reference_id(SESSION, [first, second])
        == connection_by_reference_id(SESSION, [second, first])
        == "b"
    )


def test_only_the_exact_secret_matches_its_hash() -> None:
    hashes = [hash_secret("first"), hash_secret("secret")]
    assert is_one_of(hashes, "secret")
    assert not any(is_one_of(hashes, wrong) for wrong in ["", "Secret", "secret ", hash_secret("secret"), "\ud800"])
    assert not is_one_of([], "secret")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("access_denied", Reason.ACCESS_DENIED),
        (" Access_Denied ", Reason.ACCESS_DENIED),
        ("user_denied", Reason.ACCESS_DENIED),
        ("missing_scopes", Reason.MISSING_SCOPES),
        ("server_error", Reason.PROVIDER_ERROR),
        ("provider_error", Reason.PROVIDER_ERROR),
        # Not Terra's: it follows from the connections only.
        ("other_account", Reason.UNKNOWN),
        ("<script>", Reason.UNKNOWN),
        ("", Reason.UNKNOWN),
        (None, Reason.UNKNOWN),
        (7, Reason.UNKNOWN),
    ],
)
def test_reasons_are_mapped_to_a_closed_list(text: object, reason: Reason) -> None:
    assert reason_from(text) is reason


# -- repairs -----------------------------------------------------------------------------------------------------------

REPAIR = replace(SESSION, repairs=Repair(UserId("broken"), Position(CREATED - 60_000)))
ISSUED_AT = CREATED + 5_000


def resolved(*known: Facts, now: int = CREATED, session: Session = REPAIR) -> tuple[SessionStatus, Reason | None]:
    """Return the status and the reason of the repair."""
    family = Lineage(known)
    reported = [Reason.OTHER_ACCOUNT] if made_other_connection(session, family, now=at(now)) else []
    found = session_view(session, connected=connection_by_user_id(session, family), reported=reported, now=at(now))
    return found.status, found.reason


def replacing(old: str, new: str, position: int) -> list[Facts]:
    return reconnect_facts(
        TerraUser(UserId(new), owner=ReferenceId("alice"), provider="FITBIT"),
        TerraUser(UserId(old), owner=ReferenceId("alice"), provider="FITBIT"),
        Position(position),
    )


def test_a_repair_is_connected_by_a_login_of_the_connection_or_by_its_replacement_only() -> None:
    before = user("broken", CREATED - 60_000)
    assert resolved(before) == (SessionStatus.PENDING, None)
    assert resolved(before, now=REPAIR.expires_at) == (SessionStatus.EXPIRED, None)
    assert resolved(before.merged(user("broken", ISSUED_AT))) == (SessionStatus.CONNECTED, None)
    new, old = replacing("broken", "new", ISSUED_AT)
    assert resolved(before.merged(old), new) == (SessionStatus.CONNECTED, None)
    assert resolved(before, user("issued", ISSUED_AT)) == (SessionStatus.PENDING, None)


def test_a_login_at_another_account_fails_a_repair_after_a_while_until_a_replacement_is_reported() -> None:
    before, other = user("broken", CREATED - 60_000), user("issued", ISSUED_AT)
    wait = int(OTHER_ACCOUNT_AFTER.total_seconds() * 1000)
    assert resolved(before, other, now=ISSUED_AT + wait - 1) == (SessionStatus.PENDING, None)
    assert resolved(before, other, now=ISSUED_AT + wait) == (SessionStatus.FAILED, Reason.OTHER_ACCOUNT)
    assert resolved(before, other, now=REPAIR.expires_at) == (SessionStatus.FAILED, Reason.OTHER_ACCOUNT)
    cancelled = replace(REPAIR, failed_reasons=frozenset({Reason.ACCESS_DENIED}))
    assert resolved(before, other, now=ISSUED_AT + wait, session=cancelled)[1] is Reason.OTHER_ACCOUNT
    new, old = replacing("broken", "issued", ISSUED_AT)
    late = resolved(before.merged(old), other.merged(new), now=REPAIR.expires_at)
    assert late == (SessionStatus.CONNECTED, None)


def test_a_login_that_was_known_before_the_repair_does_not_count_in_its_first_second() -> None:
    just_before = Position(CREATED - 100)
    session = replace(SESSION, repairs=Repair(UserId("broken"), just_before))
    assert just_before // 1000 == CREATED // 1000
    assert resolved(user("broken", just_before), session=session)[0] is SessionStatus.PENDING
    assert resolved(user("broken", just_before + 1), session=session)[0] is SessionStatus.CONNECTED


def test_a_redirect_confirms_a_repair_only_by_an_answer_that_is_newer_than_the_session() -> None:
    session = replace(REPAIR, confirmed_user_ids=frozenset({UserId("broken")}))
    terra_user = TerraUser(UserId("broken"), owner=ReferenceId("alice"), provider="FITBIT")
    for position, status in ((CREATED - 1, SessionStatus.PENDING), (CREATED, SessionStatus.CONNECTED)):
        confirmed = user("broken", CREATED - 60_000).merged(confirmed_facts(terra_user, Position(position)))
        assert resolved(confirmed, session=session)[0] is status
        assert resolved(confirmed)[0] is SessionStatus.PENDING


def test_a_repair_shows_which_connection_it_repairs() -> None:
    assert session_view(REPAIR, connected=None, now=at(CREATED)).as_json()["repairs"] == "broken"
    assert "repairs" not in session_view(SESSION, connected=None, now=at(CREATED)).as_json()
