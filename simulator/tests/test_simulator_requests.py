"""Requests for a period of data: direct answers, deliveries, chunks with their announcements, limits, errors."""

from itertools import permutations
from typing import Any

import httpx
import pytest

from receiver import Arrival, Receiver
from simulator_process import Terra
from test_simulator_data import connected

TRACE = "X-Terra-Trace-Id"
ORDERING = "X-Terra-Ordering-Timestamp"
TYPES = ("activity", "body", "daily", "menstruation", "nutrition", "sleep")
QUARTER = {"start_date": "2026-04-01", "end_date": "2026-06-29"}


def get(terra: Terra, name: str, **query: object) -> httpx.Response:
    parameters = {key: str(value) for key, value in query.items()}
    return terra.back_end.get(f"/api/v2/{name}", params=parameters)


def answer(terra: Terra, name: str, **query: object) -> Any:  # noqa: ANN401 - JSON
    response = get(terra, name, **query)
    assert response.status_code == 200, response.text
    return response.json()


def kind(arrival: Arrival) -> str:
    _, _, chunk = arrival.headers[TRACE].partition(":chunk:")
    return f"chunk:{chunk}" if chunk else arrival.type.removeprefix("large_request_")


@pytest.mark.parametrize("name", TYPES)
def test_a_request_is_answered_by_webhook_unless_it_says_otherwise(terra: Terra, receiver: Receiver, name: str) -> None:
    user_id = connected(terra)
    period = {"user_id": user_id, "start_date": "2026-07-01", "end_date": "2026-07-03"}

    found = answer(terra, name, **period)

    assert found["reference"] == found["trace_id"]
    assert (found["status"], found["type"], found["user"]["user_id"]) == ("success", name, user_id)
    assert "message" not in found
    (arrival,) = receiver.wait_for(1)
    assert (arrival.headers["Terra-Reference"], arrival.headers[TRACE]) == (found["reference"], found["trace_id"])
    direct = answer(terra, name, **period, to_webhook="false")
    assert direct == {"user": arrival.event["user"], "data": arrival.event["data"], "type": name}
    assert len(direct["data"]) == 3
    assert len(receiver.arrivals) == 1


def test_samples_are_sent_on_request_only(terra: Terra) -> None:
    query = {"user_id": connected(terra), "start_date": "2026-07-01", "to_webhook": "false"}

    assert "detailed" not in answer(terra, "daily", **query)["data"][0]["heart_rate_data"]
    assert answer(terra, "daily", **query, with_samples="true")["data"][0]["heart_rate_data"]["detailed"]["hr_samples"]


def test_the_athlete_and_planned_workouts_are_returned(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)

    reference = answer(terra, "athlete", user_id=user_id)["reference"]
    (arrival,) = receiver.wait_for(1)
    assert (arrival.type, arrival.headers["Terra-Reference"]) == ("athlete", reference)
    assert answer(terra, "athlete", user_id=user_id, to_webhook="false")["athlete"] == arrival.event["athlete"]
    workouts = answer(terra, "plannedWorkouts", user_id=user_id, start_date="2026-07-01", end_date="2026-07-02")
    assert [each["planned_date"] for each in workouts] == ["2026-07-01", "2026-07-02"]


def test_a_date_may_be_in_seconds_and_nothing_is_known_of_the_future(terra: Terra) -> None:
    user_id = connected(terra)
    dated = answer(terra, "daily", user_id=user_id, start_date="2026-07-01", to_webhook="false")

    assert answer(terra, "daily", user_id=user_id, start_date=1782864000, to_webhook="false") == dated
    assert answer(terra, "daily", user_id=user_id, start_date="2999-01-01", to_webhook="false")["data"] == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"user_id": ""}, 400),
        ({"start_date": ""}, 400),
        ({"start_date": "1 July"}, 400),
        ({"start_date": "2026-07-01", "end_date": "2026-06-30"}, 400),
        ({"to_webhook": "maybe"}, 400),
        ({"user_id": "unknown"}, 404),
    ],
)
def test_errors_are_problems(terra: Terra, receiver: Receiver, query: dict[str, str], status: int) -> None:
    user_id = connected(terra)
    response = get(terra, "daily", **{"user_id": user_id, "start_date": "2026-07-01", **query})

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["instance"].startswith("/api/v2/daily")
    assert receiver.arrivals == []


def test_data_need_credentials_an_account_in_order_and_a_finished_login(terra: Terra) -> None:
    query = {"user_id": connected(terra), "start_date": "2026-07-01"}

    assert terra.browser.get("/api/v2/daily", params=query).status_code == 401
    pending = terra.authenticate()["user_id"]
    assert get(terra, "daily", user_id=pending, start_date="2026-07-01").status_code == 404
    terra.set(account="entitlement_required")
    assert get(terra, "daily", **query).status_code == 403
    terra.set(account="user_limit")
    assert get(terra, "daily", **query).status_code == 200


def test_a_month_is_sent_whole_and_more_is_sent_in_announced_chunks(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    answer(terra, "daily", user_id=user_id, start_date="2026-06-01", end_date="2026-07-01")
    assert len(receiver.wait_for(1)[0].event["data"]) == 31
    receiver.arrivals.clear()

    large = answer(terra, "daily", user_id=user_id, **QUARTER)

    assert large["message"]
    processing, sending, *chunks = receiver.wait_for(5)
    assert [kind(each) for each in receiver.arrivals] == ["processing", "sending", "chunk:0", "chunk:1", "chunk:2"]
    assert (processing.event["status"], sending.event["expected_payloads"]) == ("processing", 3)
    assert {each.event["reference"] for each in (processing, sending)} == {large["reference"]}
    assert {each.headers["Terra-Reference"] for each in receiver.arrivals} == {large["reference"]}
    assert {each.headers[TRACE].partition(":")[0] for each in chunks} == {large["reference"]}
    dates = [each["metadata"]["start_time"] for chunk in chunks for each in chunk.event["data"]]
    assert len(dates) == 90
    assert dates == sorted(set(dates))
    assert len({each.headers[ORDERING] for each in chunks}) == 3


def test_chunks_are_limited_by_their_size(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    terra.set(chunk_bytes=200_000, chunk_days=1000)
    found = terra.control("POST", f"/users/{user_id}/requests", {"samples": True, **QUARTER})

    chunks = [each for each in receiver.arrivals if each.type == "daily"]
    assert found["answer"]["message"]
    assert len(chunks) > 10
    assert 100_000 < max(len(each.body) for each in chunks) <= 200_000
    assert sum(len(each.event["data"]) for each in chunks) == 90


@pytest.mark.parametrize("order", list(permutations(("processing", "sending", "chunks"))))
def test_announcements_come_before_or_after_the_chunks(
    terra: Terra, receiver: Receiver, order: tuple[str, ...]
) -> None:
    user_id = connected(terra)
    terra.set(large_request_order=order)
    terra.control("POST", f"/users/{user_id}/requests", QUARTER)

    chunks = ["chunk:0", "chunk:1", "chunk:2"]
    assert [kind(each) for each in receiver.arrivals] == [
        each for step in order for each in (chunks if step == "chunks" else [step])
    ]


def test_chunks_are_repeated_reordered_and_lost_and_announcements_may_be_missing(
    terra: Terra, receiver: Receiver
) -> None:
    user_id = connected(terra)
    terra.set(large_request_order=["chunk:2", "sending", "chunk:0", "chunk:2"])
    terra.control("POST", f"/users/{user_id}/requests", QUARTER)

    assert [kind(each) for each in receiver.arrivals] == ["chunk:2", "sending", "chunk:0", "chunk:2"]
    first, _, _, again = receiver.arrivals
    assert (first.body, first.headers[TRACE], first.headers[ORDERING]) == (
        again.body,
        again.headers[TRACE],
        again.headers[ORDERING],
    )
    receiver.arrivals.clear()
    for order in ("reversed", "shuffled"):
        terra.set(large_request_order=[order])
        terra.control("POST", f"/users/{user_id}/requests", QUARTER)
    assert [kind(each) for each in receiver.arrivals[:3]] == ["chunk:2", "chunk:1", "chunk:0"]
    assert {kind(each) for each in receiver.arrivals[3:]} == {"chunk:0", "chunk:1", "chunk:2"}
    terra.control("PATCH", "/settings", {"large_request_order": ["chunk"]}, expect=400)


def test_the_reference_of_a_chunk_may_have_its_number(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    terra.set(chunk_reference="numbered", large_request_order=["chunk:1"])
    terra.control("POST", f"/users/{user_id}/requests", QUARTER)

    (chunk,) = receiver.arrivals
    assert chunk.headers["Terra-Reference"] == chunk.headers[TRACE]


def test_requested_days_are_limited_for_each_user(terra: Terra, receiver: Receiver) -> None:
    user_id, other = connected(terra), connected(terra, "berta")
    years = {"start_date": "2020-01-01", "end_date": "2024-12-30", "to_webhook": "false"}

    too_long = get(terra, "body", user_id=user_id, **{**years, "end_date": "2024-12-31"})
    assert (too_long.status_code, too_long.headers["X-Terra-RateLimit-Rule"]) == (429, "r1")
    terra.set(days_per_hour=2000)
    allowed = get(terra, "body", user_id=user_id, **years)
    assert (allowed.status_code, allowed.headers["X-Terra-RateLimit-Remaining"]) == (200, "175")
    assert len(allowed.json()["data"]) == 1826
    too_many = get(terra, "sleep", user_id=user_id, **years)
    assert too_many.status_code == 429
    assert too_many.headers["X-Terra-RateLimit-Limit"] == "2000"
    assert 3500 < int(too_many.headers["Retry-After"]) <= 3600
    assert too_many.headers["Retry-After"] == too_many.headers["X-Terra-RateLimit-Reset-After"]
    day = {"start_date": "2026-07-01", "to_webhook": "false"}
    assert get(terra, "sleep", user_id=user_id, **day).headers["X-Terra-RateLimit-Remaining"] == "174"
    assert get(terra, "sleep", user_id=other, **day).headers["X-Terra-RateLimit-Remaining"] == "1999"
    assert receiver.arrivals == []


def test_a_request_returns_what_was_corrected(terra: Terra, receiver: Receiver) -> None:
    user_id = connected(terra)
    terra.control("POST", f"/users/{user_id}/data", {"date": "2026-07-01", "corrections": 1})

    query = {"user_id": user_id, "start_date": "2026-07-01", "to_webhook": "false"}
    assert answer(terra, "daily", **query)["data"] == receiver.arrivals[0].event["data"]
