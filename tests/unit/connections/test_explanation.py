"""The explanation of a status: each fact with its source, and the status in words."""

from typing import get_args

import pytest

from terra_connections.connections.explanation import Explanation, Source, explain
from terra_connections.connections.facts import (
    BY_DISCONNECT,
    Facts,
    Kind,
    Position,
    Status,
    TerraUser,
    announcement_facts,
    confirmed_facts,
    error_facts,
    login_facts,
    login_failure_facts,
    reconnect_facts,
    rename_facts,
    revocation_facts,
    scope_change_facts,
)
from terra_connections.connections.lineage import Lineage
from terra_connections.ids import ReferenceId, UserId

X, Y = UserId("x"), UserId("y")
ADA, BOB = ReferenceId("ada"), ReferenceId("bob")
LOGIN, LATER, LAST = (Position(1_767_225_600_000 + 1000 * n) for n in range(3))
USER = TerraUser(X, owner=ADA, provider="FITBIT", scopes=("SLEEP",))


def merged(*some: Facts) -> Lineage:
    found: dict[UserId, Facts] = {}
    for facts in some:
        found[facts.user_id] = found.get(facts.user_id, Facts(facts.user_id)).merged(facts)
    return Lineage(found.values())


def explained(*some: Facts, user_id: UserId = X) -> Explanation:
    return explain(user_id, merged(*some))


def status(explanation: Explanation) -> Status | None:
    return None if explanation.connection is None else explanation.connection.status


STATUSES = {
    "a login": (
        [login_facts(USER, LOGIN)],
        Status.CONNECTED,
        "Connected since 2026-01-01T00:00:00.000Z. A login at the provider connected it. Nothing newer ended it.",
    ),
    "a response of Terra": (
        [confirmed_facts(USER, LOGIN)],
        Status.CONNECTED,
        "Connected since 2026-01-01T00:00:00.000Z. Terra's API returned it as connected. Nothing newer ended it.",
    ),
    "a login after a disconnect": (
        [revocation_facts(USER, LOGIN, by="deauth"), login_facts(USER, LATER)],
        Status.CONNECTED,
        "Connected since 2026-01-01T00:00:01.000Z. A login at the provider connected it. Nothing newer ended it.",
    ),
    "an error": (
        [login_facts(USER, LOGIN), error_facts(USER, LATER)],
        Status.NEEDS_REAUTH,
        (
            "Needs a new login since 2026-01-01T00:00:01.000Z. "
            "The provider rejected Terra's access: the user has to log in again. "
            "Nothing newer connected it again."
        ),
    ),
    "an event": (
        [login_facts(USER, LOGIN), revocation_facts(USER, LATER, by="access_revoked")],
        Status.REVOKED,
        (
            "Revoked since 2026-01-01T00:00:01.000Z. "
            "Terra reported that it was disconnected (event access_revoked). "
            "Nothing newer connected it again."
        ),
    ),
    "a request": (
        [login_facts(USER, LOGIN), revocation_facts(USER, LATER, by=BY_DISCONNECT)],
        Status.REVOKED,
        (
            "Revoked since 2026-01-01T00:00:01.000Z. "
            "A request to this API disconnected it. "
            "Nothing newer connected it again."
        ),
    ),
    "absence": (
        [login_facts(USER, LOGIN), TerraUser(X).facts(LATER, Kind.ABSENT)],
        Status.REVOKED,
        (
            "Revoked since 2026-01-01T00:00:01.000Z. "
            "Terra's API did not know it (404). "
            "Nothing newer shows that it exists."
        ),
    ),
    "a reconnect to another user": (
        [login_facts(USER, LOGIN), *reconnect_facts(TerraUser(Y, owner=BOB), TerraUser(X, owner=ADA), LATER)],
        Status.REVOKED,
        "Revoked: a reconnect replaced it by a connection of another user.",
    ),
    "a failed login": (
        [announcement_facts(X, ADA, LOGIN), login_failure_facts(USER, LATER, reason="access_denied")],
        None,
        (
            "Not a connection: Terra has never reported this user_id as connected. "
            "Its last failed login has the reason access_denied."
        ),
    ),
    "an unknown user": (
        [login_facts(TerraUser(X), LOGIN)],
        Status.CONNECTED,
        (
            "Connected since 2026-01-01T00:00:00.000Z. "
            "A login at the provider connected it. "
            "Nothing newer ended it. "
            "Terra has not named its user, so it is in no user's list."
        ),
    ),
}


@pytest.mark.parametrize("why", STATUSES)
def test_the_summary_names_the_fact_that_decides_the_status(why: str) -> None:
    facts, expected, summary = STATUSES[why]
    explanation = explained(*facts)
    assert (status(explanation), explanation.summary) == (expected, summary)


def test_a_reconnected_connection_is_explained_from_each_of_its_user_ids() -> None:
    facts = [login_facts(USER, LOGIN), *reconnect_facts(TerraUser(Y, owner=ADA), TerraUser(X, owner=ADA), LATER)]
    old, new = explained(*facts, user_id=X), explained(*facts, user_id=Y)
    assert old.facts == new.facts
    assert {fact.user_id for fact in old.facts} == {X, Y}
    assert old.connection == new.connection
    assert old.summary.endswith("A reconnect replaced x by y.")
    assert new.summary.endswith("It replaced 1 older user_id of the same connection.")
    links = {(fact.user_id, fact.kind): fact.value for fact in new.facts if "replace" in fact.kind}
    assert links == {(X, "replaced_by"): Y, (Y, "replaces"): X}


def test_facts_are_sorted_by_time_and_each_has_a_source() -> None:
    explanation = explained(
        announcement_facts(X, ADA, LOGIN),
        login_facts(USER, LOGIN),
        scope_change_facts(TerraUser(X), LATER, added=["HEART"], removed=["SLEEP"]),
        confirmed_facts(TerraUser(X, owner=ADA), LAST),
        revocation_facts(TerraUser(X), LAST, by=BY_DISCONNECT),
    )
    assert [(fact.at, fact.kind, fact.value, fact.source) for fact in explanation.facts] == [
        (LAST, "connected", None, Source.TERRA_RESPONSE),
        (LAST, "owner", ADA, Source.TERRA_RESPONSE),
        (LAST, "revoked", BY_DISCONNECT, Source.REQUEST),
        (LATER, "scope_added", "HEART", Source.WEBHOOK),
        (LATER, "scope_removed", "SLEEP", Source.WEBHOOK),
        (LOGIN, "announced_for", ADA, Source.TERRA_RESPONSE),
        (LOGIN, "first_connected", None, Source.WEBHOOK),
        (LOGIN, "login", None, Source.WEBHOOK),
        (LOGIN, "provider", "FITBIT", Source.WEBHOOK),
        (LOGIN, "scopes", ("SLEEP",), Source.WEBHOOK),
    ]
    assert all(fact.summary.endswith(".") for fact in explanation.facts)


def test_a_source_that_no_fact_shows_any_more_is_unknown() -> None:
    alone = scope_change_facts(TerraUser(X, scopes=("SLEEP",)), LATER, added=[], removed=[])
    [scopes] = [fact for fact in explained(login_facts(TerraUser(X), LOGIN), alone).facts if fact.kind == "scopes"]
    assert scopes.source is Source.UNKNOWN


def test_the_id_of_a_login_page_is_not_shown() -> None:
    explanation = explained(login_facts(USER, LOGIN, widget_session_id="w-secret"))
    assert "w-secret" not in str(explanation.as_json())
    assert [fact.value for fact in explanation.facts if fact.kind == "widget_session_id"] == [None]


def test_every_kind_of_fact_has_a_sentence() -> None:
    values = {Kind.SCOPE: "added", Kind.REPLACES: None, Kind.SCOPES: ("SLEEP",), Kind.RENAMED: ("at-terra", "in-app")}
    for kind in Kind:
        name = kind.of("name") if kind in (Kind.SCOPE, Kind.REPLACES) else kind
        value = values.get(kind, "value")
        assert value is None or isinstance(value, get_args(str | tuple))
        [fact] = explained(TerraUser(X).facts(LOGIN, values={name: value})).facts
        assert fact.summary.endswith(".")


def test_a_renamed_user_is_explained_by_the_import() -> None:
    facts = rename_facts(X, ReferenceId("at-terra"), ReferenceId("in-app"), LOGIN)
    explanation = explained(login_facts(USER, LOGIN), facts)
    [renamed] = [fact for fact in explanation.facts if fact.kind == "renamed"]
    assert (renamed.value, renamed.source) == (("at-terra", "in-app"), Source.IMPORT)
    assert {fact.source for fact in explanation.facts if fact.kind == "connected"} == {Source.WEBHOOK}
