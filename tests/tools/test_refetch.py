"""`make refetch`: Terra sends the payloads again that could not be fetched, in both versions of the Admin API."""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.terra_side import TerraSide
from tools.terra.deliveries import Event
from tools.terra.refetch import DeadFetch, events_of

QUEUE = "DeadPayloadFetches"
NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)


@dataclass
class Dead:
    """A stack that has accepted a ping and could not fetch its payload."""

    side: TerraSide
    user_id: str

    @property
    def queue(self) -> dict[str, str]:
        return {"QueueUrl": self.side.deployed.resources[QUEUE]}

    def put(self, body: object = None, *, reason: str | None = "expired", **more: object) -> None:
        """Put a message into the queue."""
        delivery = {"delivery": {"signed_at": int(time.time()), "user_id": self.user_id, **more}, "url": "https://x"}
        attribute = {"reason": {"DataType": "String", "StringValue": reason}} if reason else {}
        self.side.deployed.client("sqs").send_message(
            **self.queue, MessageBody=json.dumps(body or delivery), MessageAttributes=attribute
        )

    def waiting(self) -> int:
        """Return how many messages can be received."""
        answer = self.side.deployed.client("sqs").get_queue_attributes(**self.queue, AttributeNames=["All"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    def sent(self, type_: str = "daily") -> int:
        return self.side.endpoint.types(self.user_id).count(type_)


@pytest.fixture(params=["october", "november"])
def dead(side: TerraSide, request: pytest.FixtureRequest, reference_id: str) -> Dead:
    side.terra.settings(admin_version=request.param)
    side.done()
    side.change(side.destination()["id"], event_types=[])
    user: dict[str, Any] = side.terra.connect(reference_id)
    side.terra.happen(user["user_id"], "daily")
    found = Dead(side, user["user_id"])
    assert found.sent() == 1
    return found


def test_the_event_of_a_payload_is_resent_once_and_its_message_is_deleted(dead: Dead) -> None:
    dead.put()
    status, out, err = dead.side.refetch()
    assert (status, err) == (0, ""), out
    assert "1 payloads could not be fetched:\n  1 expired\n" in out
    assert "Terra has resent 1 of 1 events." in out
    # Only the data are resent, not the event about the connection of the same moment.
    assert dead.side.endpoint.types(dead.user_id) == ["auth", "daily", "daily"]
    assert dead.waiting() == 0
    assert "nothing to refetch" in dead.side.refetch()[1]


def test_a_dry_run_and_an_answer_other_than_yes_leave_the_messages(dead: Dead) -> None:
    dead.put(reason="url")
    dead.put(reason=None)
    status, out, _ = dead.side.refetch("--dry-run")
    assert status == 0
    assert "1 url (PayloadUrls has no prefix of their URLs: add it and deploy before you refetch them)" in out
    assert "1 failed five times" in out
    assert "Terra can resend 2 of them, by 1 events." in out
    status, _, err = dead.side.refetch(confirms=False)
    assert (status, dead.sent(), dead.waiting()) == (1, 1, 2)
    assert "there is no terminal" in err


def test_what_terra_does_not_know_stays_in_the_queue(dead: Dead) -> None:
    dead.put(user_id="another-user")
    dead.put(signed_at=int(time.time()) - 86_400 * 2)
    status, out, _ = dead.side.refetch()
    assert (status, dead.sent(), dead.waiting()) == (1, 1, 2)
    assert "2 stay in the queue: Terra lists no event of a user at their time." in out


def test_a_resend_that_is_not_accepted_stays_and_a_repeat_continues(dead: Dead) -> None:
    dead.put()
    dead.side.terra.settings(retry_scale=1000)
    dead.side.endpoint.answer = 503
    status, _, err = dead.side.refetch()
    assert (status, dead.waiting()) == (1, 1)
    assert "accepts no signed test delivery (status 503)" in err
    dead.side.endpoint.answer = 200
    assert dead.side.refetch()[0] == 0
    assert (dead.sent(), dead.waiting()) == (2, 0)


def test_payloads_that_terra_no_longer_has_are_one_line(dead: Dead) -> None:
    dead.put(signed_at=int(time.time()) - 86_400 * 15)
    status, _, err = dead.side.refetch()
    assert (status, dead.waiting()) == (1, 1)
    assert "Terra keeps payloads for 14 days, and all of these are older" in err


@pytest.mark.parametrize(
    ("user_id", "event", "is_found"),
    [
        ("u", Event("e", "daily", "u", NOW + timedelta(seconds=90)), True),
        ("u", Event("e", "s3_payload", "u", NOW - timedelta(seconds=90)), True),
        (None, Event("e", "daily", "u", NOW), True),
        ("u", Event("e", "daily", "u", NOW + timedelta(minutes=3)), False),
        ("u", Event("e", "daily", "v", NOW), False),
        ("u", Event("e", "auth", "u", NOW), False),
        (None, Event("e", "lab_report.completed", None, NOW), False),
    ],
)
def test_a_ping_is_matched_by_its_time_and_user(user_id: str | None, event: Event, *, is_found: bool) -> None:
    assert (events_of(DeadFetch(NOW, user_id, "expired", "r"), [event]) == [event]) is is_found
