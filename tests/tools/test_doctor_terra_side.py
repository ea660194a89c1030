"""`make doctor` compares a stack with the destination that Terra has for it."""

import time

import pytest

from tests.support.terra_side import DESTINATIONS, SCOPES, TerraSide
from tools.doctor import terra_side
from tools.doctor.finding import Sign
from tools.doctor.stack import deployed
from tools.terra.plan import EVENT_TYPES


@pytest.fixture
def ready(side: TerraSide) -> TerraSide:
    """A stack with a correct destination, and a token with keys:read."""
    side.done()
    side.authorize(*SCOPES, "keys:read")
    return side


def findings(side: TerraSide) -> list[tuple[Sign, str]]:
    stack = deployed("dev", side.deployed.samconfig)
    found = terra_side.check(stack, {"SigningSecrets": side.stored()}, time.time)
    return [(each.sign, str(each)[2:]) for each in found]


def problems(side: TerraSide) -> list[str]:
    return [text for sign, text in findings(side) if sign is not Sign.FINE]


def test_both_sides_agree(ready: TerraSide, reference_id: str) -> None:
    ready.terra.connect(reference_id)
    made = ready.destination()
    assert [text for _, text in findings(ready)] == [
        f"Terra's destination: {made['id']} is active, for {ready.endpoint.url}",
        f"Terra's signing secret: is stored as destination-{made['id']}",
        "Terra's record of deliveries: 1 events in the last day, all delivered",
    ]
    assert problems(ready) == []


def test_without_a_token_one_line_says_so(side: TerraSide) -> None:
    side.monkeypatch.delenv("TERRA_ADMIN_TOKEN")
    [(sign, text)] = findings(side)
    assert (sign, "was not checked, because TERRA_ADMIN_TOKEN is not set" in text) == (Sign.FINE, True)


def test_a_missing_destination_is_reported(side: TerraSide) -> None:
    (problem,) = problems(side)
    assert f"is missing: Terra has none for {side.endpoint.url} (it has http" in problem
    assert "make terra STAGE=dev" in problem


def test_an_inactive_destination_with_other_event_types_and_url_is_reported(ready: TerraSide) -> None:
    made = ready.destination()
    ready.change(made["id"], active=False, event_types=["auth", "sleep"])
    texts = " ".join(problems(ready))
    assert "is inactive: Terra delivers nothing to it" in texts
    assert "lacks the event types access_revoked, auth_cancelled, " in texts
    assert "takes further event types, which the stack does not keep: sleep" in texts
    ready.change(made["id"], active=True, event_types=[], config={"url": "https://other.example.com/"})
    texts = " ".join(problems(ready))
    assert f"has another URL: https://other.example.com/, not {ready.endpoint.url}" in texts
    assert "takes every event type" in texts


def test_a_stack_that_keeps_data_needs_both_auth_events_and_data(ready: TerraSide) -> None:
    ready.keep_data()
    made = ready.destination()
    (problem,) = [text for text in problems(ready) if "health data" in text or "auth events" in text]
    assert "does not get both auth events and data" in problem
    for names in ([], ["auth", "daily"]):
        ready.change(made["id"], event_types=names)
        texts = " ".join(text for _, text in findings(ready))
        assert "does not get both" not in texts
        assert "delivery mode push: bodies over about 5.6 MB are rejected" in texts
    ready.change(made["id"], event_types=["daily"])
    assert "does not get both auth events and data" in " ".join(problems(ready))
    ready.change(made["id"], event_types=[], config={"delivery": "ping"})
    assert "delivery mode push" not in " ".join(text for _, text in findings(ready))


def test_another_signing_secret_is_reported_if_the_token_can_read_it(ready: TerraSide) -> None:
    made = ready.destination()
    ready.admin("POST", f"{DESTINATIONS}/{made['id']}/signing-secret/rotate")
    (problem,) = problems(ready)
    assert "Terra's signing secret: is none of the stack's" in problem
    assert "ROTATE=1" in problem
    ready.authorize(*SCOPES)
    assert problems(ready) == []
    assert any("to compare it, the token needs keys:read" in text for _, text in findings(ready))


@pytest.mark.parametrize("version", ["october", "november"])
def test_failed_deliveries_are_reported_with_their_status(ready: TerraSide, reference_id: str, version: str) -> None:
    ready.terra.settings(admin_version=version, retry_scale=1000)
    ready.endpoint.answer = 401
    ready.terra.connect(reference_id)
    (problem,) = problems(ready)
    assert "1 of 1 events of the last day were not delivered; the newest got 401" in problem
    assert "make recover STAGE=dev SINCE=24h" in problem


def test_an_unfinished_rotation_is_reported(ready: TerraSide) -> None:
    made, older = ready.destination(), ready.make_by_hand(event_types=list(EVENT_TYPES))
    ready.store({f"destination-{older['id']}": older["signing_secret"], **ready.stored()})
    (problem,) = problems(ready)
    assert f"{older['id']} is an older one for this stack" in problem
    assert made["id"] not in problem


def test_a_token_that_terra_rejects_is_inconclusive(ready: TerraSide) -> None:
    for token, expected in (("terra_dt_1", "is not a token"), ("terra_at_1", "it is unknown, or was revoked")):
        ready.monkeypatch.setenv("TERRA_ADMIN_TOKEN", token)
        [(sign, text)] = findings(ready)
        assert (sign, expected in text) == (Sign.INCONCLUSIVE, True)
