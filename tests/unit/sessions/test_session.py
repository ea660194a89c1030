from dataclasses import replace
from datetime import UTC, datetime

import pytest

from terra_connections.connections.facts import (
    Facts,
    Position,
    TerraUser,
    login_facts,
    reconnect_facts,
    revocation_facts,
)
from terra_connections.connections.lineage import Lineage
from terra_connections.ids import ReferenceId, UserId
from terra_connections.sessions.session import (
    Reason,
    Session,
    SessionStatus,
    SessionView,
    connection_by_reference_id,
    connection_by_user_id,
    hash_secret,
    is_one_of,
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
        ("<script>", Reason.UNKNOWN),
        ("", Reason.UNKNOWN),
        (None, Reason.UNKNOWN),
        (7, Reason.UNKNOWN),
    ],
)
def test_reasons_are_mapped_to_a_closed_list(text: object, reason: Reason) -> None:
    assert reason_from(text) is reason
