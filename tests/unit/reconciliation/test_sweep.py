from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from terra_connections.connections.facts import (
    Facts,
    Kind,
    Position,
    TerraUser,
    confirmed_facts,
    error_facts,
    login_failure_facts,
    reconnect_facts,
    revocation_facts,
)
from terra_connections.ids import ReferenceId, UserId
from terra_connections.reconciliation.sweep import (
    NEVER_TOO_MANY,
    SEGMENTS,
    Phase,
    Recheck,
    RevocationLimit,
    Step,
    Sweep,
    Task,
    first_steps,
    is_absent,
    may_be_missing_here,
    should_exist_at_terra,
)

USER = UserId("user")
ADA = TerraUser(USER, owner=ReferenceId("ada"), provider="FITBIT")
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def at(position: int) -> Position:
    return Position(position)


def fact(kind: Kind, position: int) -> Facts:
    return TerraUser(USER).facts(at(position), kind)


def merged(*several: Facts) -> Facts:
    known = Facts(USER)
    for facts in several:
        known = known.merged(facts)
    return known


CONNECTED = confirmed_facts(ADA, at(10))
REPLACED = reconnect_facts(TerraUser(UserId("new"), owner=ReferenceId("ada")), ADA, at(20))[1]

# facts; whether Terra must know the user_id; whether only absence revoked it; whether, if Terra lists it, it may be
# missing here
CASES: dict[str, tuple[Facts | None, bool, bool, bool]] = {
    "unknown": (None, False, False, True),
    "connected": (CONNECTED, True, False, False),
    "needs reauth": (merged(CONNECTED, error_facts(ADA, at(20))), True, False, False),
    "disconnected": (merged(CONNECTED, revocation_facts(ADA, at(20), by="deauth")), False, False, False),
    "disconnected, without a known connect": (
        revocation_facts(ADA, at(20), by="deauth"),
        False,
        False,
        False,
    ),
    "connected again after a disconnect": (
        merged(CONNECTED, revocation_facts(ADA, at(5), by="deauth")),
        True,
        False,
        False,
    ),
    "absent": (merged(CONNECTED, fact(Kind.ABSENT, 20)), False, True, True),
    "absent, then present": (
        merged(CONNECTED, fact(Kind.ABSENT, 20), fact(Kind.PRESENT, 30)),
        True,
        False,
        False,
    ),
    "absent and disconnected": (
        merged(CONNECTED, fact(Kind.ABSENT, 30), revocation_facts(ADA, at(20), by="deauth")),
        False,
        False,
        False,
    ),
    "replaced by a reconnect": (merged(CONNECTED, REPLACED), False, False, False),
    "known by its replacement only": (REPLACED, False, False, False),
    "failed to log in": (login_failure_facts(ADA, at(20), reason="access_denied"), False, False, True),
    "known by its owner only": (ADA.facts(at(10)), False, False, True),
}


@pytest.mark.parametrize("case", CASES)
def test_facts_determine_which_user_ids_a_sweep_expects_at_terra(case: str) -> None:
    facts, should_exist, absent, may_be_missing = CASES[case]
    assert (facts is not None and should_exist_at_terra(facts)) is should_exist
    assert is_absent(facts) is absent
    assert may_be_missing_here(facts) is may_be_missing


def sweep(candidates: int, checked: int) -> Sweep:
    return Sweep("s", Phase.COLLECTING, 0, checked=checked, candidates=candidates)


@pytest.mark.parametrize(
    ("candidates", "checked", "is_allowed"),
    [
        (0, 0, True),
        (0, 100, True),
        (1, 2, True),
        (1, 1, False),  # all of them
        (10, 10, False),  # all of them
        (NEVER_TOO_MANY, 11, True),
        (NEVER_TOO_MANY + 1, 100, False),
        (19, 1_000, True),
        (20, 1_000, False),  # the share must be below the limit
        (19_999, 1_000_000, True),
        (20_000, 1_000_000, False),
        (1_000_000, 1_000_000, False),
    ],
)
def test_a_sweep_revokes_few_candidates_and_not_many(candidates: int, checked: int, is_allowed: bool) -> None:  # noqa: FBT001
    assert RevocationLimit(percent=2).allows(sweep(candidates, checked)) is is_allowed


def test_a_sweep_never_revokes_all_connections() -> None:
    assert not RevocationLimit(percent=100).allows(sweep(50, 50))
    assert RevocationLimit(percent=100).allows(sweep(49, 50))


def test_zero_percent_never_revokes() -> None:
    assert not RevocationLimit(percent=0).allows(sweep(1, 1_000_000))
    assert RevocationLimit(percent=0).allows(sweep(0, 1_000_000))


def verification_times(days: int, *, every: timedelta) -> list[datetime]:
    """Return when sweeps at this interval query Terra about a login that is never finished."""
    recheck: Recheck | None = None
    times = []
    for number in range(int(timedelta(days=days) / every)):
        now = NOON + number * every
        if recheck is None or recheck.is_due(now):
            recheck = Recheck.after_check(now, recheck)
            times.append(now)
    return times


def test_an_unfinished_login_is_verified_at_increasing_intervals() -> None:
    times = verification_times(365, every=timedelta(hours=6))
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert gaps[:5] == [timedelta(hours=hours) for hours in (6, 6, 12, 24, 48)]
    assert gaps == sorted(gaps)
    assert max(gaps) == timedelta(days=7)
    assert len(times) < 365 / 7 + 8


def test_a_repeated_verification_keeps_the_time_of_the_first_one() -> None:
    first = Recheck.after_check(NOON, None)
    again = Recheck.after_check(NOON + timedelta(hours=6), first)
    assert again.since == first.since == int(NOON.timestamp())
    assert not again.is_due(NOON + timedelta(hours=11))
    assert again.is_due(NOON + timedelta(hours=12))


@pytest.mark.parametrize(
    "step",
    [
        *first_steps("s"),
        Step("s", Task.CONNECTIONS, 3, number=7, start="erased:00"),
        Step("s", Task.VERDICT),
        Step("s", Task.REVOKE, 2, number=9, offset=32),
    ],
)
def test_a_step_is_parsed_from_its_message_unchanged(step: Step) -> None:
    parsed = Step.parse(step.as_text())
    assert parsed == step
    assert type(parsed.task) is Task


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", "7", '{"sweep_id": "s", "task": "other"}', '{"x": 1}'])
def test_a_malformed_step_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Step.parse(text)


def test_a_sweep_begins_with_every_segment_and_with_terra_s_list() -> None:
    steps = first_steps("s")
    assert [step.segment for step in steps if step.task is Task.CONNECTIONS] == list(range(SEGMENTS))
    assert [step.task for step in steps].count(Task.TERRA_USERS) == 1
    assert len({step.page_id for step in steps}) == len(steps) == SEGMENTS + 1


def test_a_revoking_step_has_the_page_id_of_its_candidates() -> None:
    page = Step("s", Task.CONNECTIONS, 3, number=7)
    assert Step("s", Task.VERDICT).revoking(page.page_id).page_id == page.page_id


@pytest.mark.parametrize(
    ("phase", "open_parts", "unsettled", "is_over"),
    [
        (Phase.COLLECTING, 1, 0, False),
        (Phase.COLLECTING, 0, 0, False),
        (Phase.REVOKING, 0, 1, False),
        (Phase.REVOKING, 0, 0, True),
        (Phase.REFUSED, 0, 0, True),
    ],
)
def test_a_sweep_is_over_when_it_was_refused_or_every_candidate_is_settled(
    phase: Phase,
    open_parts: int,
    unsettled: int,
    is_over: bool,  # noqa: FBT001
) -> None:
    assert Sweep("s", phase, open_parts, unsettled=unsettled).is_over is is_over
