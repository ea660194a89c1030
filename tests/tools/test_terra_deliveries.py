"""What Terra delivered, read from rows in every shape that its documents and texts have."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tools.stages import StageError
from tools.terra.admin import AdminApi, AdminRefused
from tools.terra.deliveries import Event, events
from tools.terra.models import Destination
from tools.terra.resend import choose

OURS = Destination(id="1", url="https://example.com/webhooks/terra")
AT = "2026-11-26T10:00:00Z"
ENVIRONMENT = "/api/v3/admin/environments/dev"


def api(answer: Callable[[httpx.Request], httpx.Response]) -> AdminApi:
    http = httpx.Client(transport=httpx.MockTransport(answer))
    url = "https://terra.example.com/api/v3/admin"
    return AdminApi(http, url=url, dev_id="dev", token=SecretStr("terra_at_0123"), sleep=lambda _: None)


def answering(lists: Mapping[str, object]) -> AdminApi:
    """An API that has these paths below the environment."""

    def answer(request: httpx.Request) -> httpx.Response:
        found = lists.get(request.url.path.removeprefix(ENVIRONMENT))
        if found is None:
            return httpx.Response(404, text="<h1>Not Found</h1>")
        content = {"data": found, "has_more": False, "next_cursor": None} if isinstance(found, list) else found
        return httpx.Response(200, json=content)

    return api(answer)


def read(lists: Mapping[str, object]) -> list[Event]:
    return events(answering(lists), [OURS], since=datetime(2026, 11, 26, tzinfo=UTC))


@pytest.mark.parametrize(
    ("row", "is_delivered"),
    [
        ({"destination_id": "1", "http_status": 200}, True),
        ({"destination_id": "1", "http_status": 299}, True),
        ({"destination_id": "1", "http_status": 0}, False),
        ({"destination_id": "1"}, False),
        ({"destination_id": "1", "http_status": None}, False),
        ({"destination_id": "1", "http_status": 301}, False),
        ({"destination_url": OURS.url, "http_status": 200}, True),
    ],
)
def test_only_2xx_of_a_row_of_october_counts_as_delivered(row: dict[str, Any], *, is_delivered: bool) -> None:
    (event,) = read({"/webhook-events": [{"event_id": "e", "sent_at": AT, "data_type": "auth", "user_id": "u", **row}]})
    assert event.reached(OURS) is is_delivered
    assert (event.type, event.user_id) == ("auth", "u")


@pytest.mark.parametrize(
    "row", [{"destination_id": "2"}, {"destination_url": ""}, {"destination_url": "https://x"}, {}]
)
def test_rows_of_other_destinations_are_ignored(row: dict[str, Any]) -> None:
    assert read({"/webhook-events": [{"event_id": "e", "sent_at": AT, "http_status": 500, **row}]}) == []


NOVEMBER = {"id": "e", "type": "auth", "created_at": AT, "user_id": "u"}
DETAIL = {**NOVEMBER, "deliveries": [{"destination_id": "1", "attempts": [{"sent_at": AT, "http_status": 401}]}]}


@pytest.mark.parametrize(
    ("row", "detail", "status"),
    [
        ({**NOVEMBER, "deliveries": [{"destination_id": "1", "status": "delivered"}]}, None, 200),
        ({**NOVEMBER, "deliveries": [{"destination": {"id": "1"}, "status": "succeeded"}]}, None, 200),
        ({**NOVEMBER, "deliveries": [{"destination_id": "1", "status": "failed"}]}, DETAIL, 401),
        ({**NOVEMBER, "deliveries": [{"destination_id": "1", "status": "pending"}]}, DETAIL, 401),
        (NOVEMBER, DETAIL, 401),
        ({"event_id": "e", "event_type": "auth", "created_at": AT, "user_id": "u"}, DETAIL, 401),
    ],
)
def test_rows_of_november_are_read_with_their_details(
    row: dict[str, Any], detail: dict[str, Any] | None, status: int
) -> None:
    (event,) = read({"/events": [row]} | ({"/events/e": detail} if detail else {}))
    assert (event.last_status(OURS), event.type, event.user_id) == (status, "auth", "u")


def test_every_page_is_read_and_malformed_rows_are_ignored() -> None:
    pages = {
        None: {"data": [{"event_id": "1", "sent_at": AT, "destination_id": "1"}], "has_more": True, "next_cursor": "c"},
        "c": {"data": [{"event_id": 7, "sent_at": "?"}, {"event_id": "2", "sent_at": AT, "destination_id": "1"}]},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return httpx.Response(404)
        return httpx.Response(200, json=pages[request.url.params.get("cursor")])

    found = events(api(answer), [OURS], since=datetime(2026, 11, 26, tzinfo=UTC))
    assert {each.event_id for each in found} == {"1", "2"}


def test_a_resource_that_does_not_exist_is_not_another_version() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"code": "dev_id_not_found", "title": "Not Found", "type": "about:blank"})

    with pytest.raises(AdminRefused, match="does not reach the environment dev"):
        events(api(answer), [OURS], since=datetime(2026, 11, 26, tzinfo=UTC))


def test_reading_is_repeated_after_a_failure_and_a_change_is_not() -> None:
    calls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        message = "connection reset"
        raise httpx.ReadError(message)

    with pytest.raises(StageError, match="cannot be reached"):
        api(answer).me()
    with pytest.raises(StageError, match="run the command again"):
        api(answer).delete("1")
    assert calls == ["GET"] * 4 + ["DELETE"]


def test_an_error_of_terra_is_one_short_line() -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(409, json={"code": "conflict", "detail": "a\nb " * 500})

    with pytest.raises(AdminRefused) as error:
        api(answer).delete("1")
    assert str(error.value).startswith("Terra's Admin API responds 409 conflict: a b a b")
    assert len(str(error.value)) < 400
    assert "terra_at_0123" not in str(error.value)


def event(event_id: str, type_: str, *, minute: int, status: int, user_id: str | None = "u") -> Event:
    at = datetime(2026, 11, 26, 10, minute, tzinfo=UTC)
    return Event(event_id, type_, user_id, at, {"1": [(at, status)]})


def test_only_an_event_about_a_status_gives_way_to_a_newer_one() -> None:
    found = [
        event("1", "auth", minute=1, status=503),
        event("2", "permission_change", minute=2, status=503),
        event("3", "deauth", minute=3, status=200),
        event("4", "auth", minute=4, status=503),
        event("5", "auth_cancelled", minute=5, status=503, user_id=None),
        event("6", "auth", minute=1, status=503, user_id="another"),
    ]
    choice = choose(found, [OURS])
    assert [each.event_id for each in choice.superseded] == ["1"]
    assert [each.event_id for each in choice.resent] == ["2", "4", "6"]
    assert [each.event_id for each in choice.without_user] == ["5"]
