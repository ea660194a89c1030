"""`make recover`: what Terra could not deliver is resent, in both versions of the Admin API."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.terra_side import TerraSide
from tools.stages import StageError
from tools.terra.recover import since


@pytest.fixture(params=["october", "november"])
def outage(side: TerraSide, request: pytest.FixtureRequest) -> TerraSide:
    """A stack that has a destination and rejects everything; Terra does not retry during the test."""
    side.terra.settings(admin_version=request.param, retry_scale=1000)
    side.done()
    side.endpoint.answer = 503
    return side


def test_failed_deliveries_are_resent_once(outage: TerraSide, reference_id: str) -> None:
    users = [outage.terra.connect(f"{reference_id}-{number}")["user_id"] for number in range(3)]
    outage.terra.happen(users[2], "deauth")
    outage.endpoint.answer = 200
    outage.terra.connect(reference_id)

    status, out, err = outage.recover()

    assert (status, err) == (0, ""), out
    assert "5 events were sent to it; 4 were not delivered." in out
    assert "Delivered 4 of 4 events." in out
    assert [outage.endpoint.types(user_id) for user_id in users] == [["auth"], ["auth"], ["auth", "deauth"]]
    status, out, _ = outage.recover()
    assert (status, "0 were not delivered" in out) == (0, True)
    assert len(outage.endpoint.accepted) == 5


def test_a_dry_run_resends_nothing(outage: TerraSide, reference_id: str) -> None:
    outage.terra.connect(reference_id)
    outage.endpoint.answer = 200
    status, out, _ = outage.recover("--dry-run")
    assert (status, outage.endpoint.accepted) == (0, [])
    assert "1 were not delivered" in out


def test_an_event_about_a_status_that_has_changed_since_is_left_out(outage: TerraSide, reference_id: str) -> None:
    user_id = outage.terra.connect(reference_id)["user_id"]
    outage.terra.happen(user_id, "permission_change", scopes_added="X")
    outage.endpoint.answer = 200
    outage.terra.happen(user_id, "deauth")

    _, out, _ = outage.recover()

    assert "1 are left out: a newer event about the same connection was delivered." in out
    assert outage.endpoint.types(user_id) == ["deauth", "permission_change"]


def test_an_event_without_a_user_cannot_be_resent(outage: TerraSide, reference_id: str) -> None:
    user_id = outage.terra.connect(reference_id)["user_id"]
    outage.terra.client.delete(f"/_control/users/{user_id}")
    outage.endpoint.answer = 200
    status, out, _ = outage.recover()
    assert (status, outage.endpoint.accepted) == (0, [])
    assert "1 cannot be resent: Terra names no user for them." in out


@pytest.mark.parametrize("shape", ["zero", "absent"])
def test_deliveries_without_a_response_count_as_failed(side: TerraSide, reference_id: str, shape: str) -> None:
    side.terra.settings(admin_version="october", retry_scale=1000, unanswered_status=shape, webhook_timeout_s=0.2)
    side.terra.settings(failed_rows_name_destination=False)
    side.done()
    made, url = side.destination(), side.endpoint.url
    side.change(made["id"], config={"url": "http://127.0.0.1:9/webhooks/terra"})
    user_id = side.terra.connect(reference_id)["user_id"]
    side.change(made["id"], config={"url": url})
    # Rows without an id name the former URL, so this destination did not get them.
    assert "0 events were sent to it" in side.recover()[1]
    side.terra.settings(failed_rows_name_destination=True)
    assert "Delivered 1 of 1 events." in side.recover()[1]
    assert side.endpoint.types(user_id) == ["auth"]


def test_a_stack_that_still_rejects_deliveries_ends_it(outage: TerraSide, reference_id: str) -> None:
    outage.terra.connect(reference_id)
    status, _, err = outage.recover()
    assert status == 1
    assert "accepts no signed test delivery (status 503), so nothing was resent" in err


def test_several_failures_in_a_row_stop_it_and_a_repeat_continues(outage: TerraSide, reference_id: str) -> None:
    users = [outage.terra.connect(f"{reference_id}-{number}")["user_id"] for number in range(5)]
    outage.endpoint.answer = 200
    stored = outage.stored()
    outage.store({"another": "0123456789abcdef"})
    status, _, err = outage.recover()
    assert status == 1
    assert "failed to accept 3 of them (status 401). The rest was not resent." in err
    outage.store(stored)
    assert "Delivered 5 of 5 events." in outage.recover()[1]
    assert sorted(each["user"]["user_id"] for each in outage.endpoint.accepted) == sorted(users)


def test_a_network_that_fails_in_the_middle_is_continued_by_a_repeat(outage: TerraSide, reference_id: str) -> None:
    users = [outage.terra.connect(f"{reference_id}-{number}")["user_id"] for number in range(3)]
    outage.endpoint.answer = 200
    outage.terra.fault("/resend", "slow", times=1)
    outage.terra.fault("/resend", "disconnect", times=1)
    status, _, err = outage.recover()
    assert (status, "run the command again" in err) == (1, True)
    assert outage.recover()[0] == 0
    assert {each["user"]["user_id"] for each in outage.endpoint.accepted} == set(users)


def test_a_missing_or_inactive_destination_is_reported(side: TerraSide) -> None:
    assert "has no destination for" in side.recover()[2]
    side.done()
    side.change(side.destination()["id"], active=False)
    assert "is inactive, so Terra would deliver nothing" in side.recover()[2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not a time"),
        ("yesterday", "is not a time"),
        ("2026-11-26T10:00:00", "has no offset"),
        ("15d", "is too long ago"),
        ("99999d", "is too long ago"),
        ("2999-01-01T00:00:00Z", "is in the future"),
    ],
)
def test_a_wrong_period_is_rejected(text: str, expected: str) -> None:
    with pytest.raises(StageError, match=expected):
        since(text, datetime.now(UTC))


def test_a_period_is_a_time_or_a_duration() -> None:
    now = datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert since("90m", now) == now - timedelta(minutes=90)
    assert since("2d", now) == now - timedelta(days=2)
    assert since("2026-11-26T10:00:00+01:00", now) == datetime(2026, 11, 26, 9, tzinfo=UTC)
