"""The record of each request: method, path without query, status, duration and the user that it is about."""

from collections.abc import Iterator

import pytest

from local.gateway import Access
from tests.support.gateway import Running, as_json, raw, serving, write_project


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, list[Access]]]:
    records: list[Access] = []
    with serving(write_project(tmp_path_factory.mktemp("stack")), on_access=records.append) as running:
        running.load()  # a busy machine may need longer to start a function than an authorizer may take
        yield running, records


def record_of(recorded: tuple[Running, list[Access]], method: str, path: str, **request: object) -> Access:
    running, records = recorded
    response = running.client.request(method, path, **request)  # type: ignore[arg-type]
    assert records[-1].status == response.status_code
    assert records[-1].request_id == response.headers["apigw-requestid"]
    return records[-1]


def test_a_request_is_recorded_without_its_query(recorded: tuple[Running, list[Access]]) -> None:
    access = record_of(recorded, "GET", "/act?do=sleep&seconds=0.2&secret=s")
    assert (access.method, access.path, access.reference_id) == ("GET", "/act", "")
    assert access.milliseconds >= 200


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("/nothing", {}, 404), ("/private", {}, 401), ("/private", {"authorization": "deny"}, 403), ("/act", {}, 200)],
)
def test_responses_of_the_gateway_itself_are_recorded(
    recorded: tuple[Running, list[Access]], path: str, headers: dict[str, str], status: int
) -> None:
    access = record_of(recorded, "GET", path, headers=headers)
    assert (access.path, access.status) == (path, status)


@pytest.mark.parametrize(
    ("query", "body", "reference_id"),
    [
        ("?reference_id=alice%20a", b"", "alice a"),
        ("", as_json({"reference_id": "alice", "resource": "FITBIT"}), "alice"),
        ("", as_json({"type": "auth", "user": {"user_id": "u", "reference_id": "alice"}}), "alice"),
        ("", as_json({"statusCode": 200, "body": '{"reference_id": "alice"}'}), "alice"),
        ("", as_json({"reference_id": 7}), ""),
        ("", as_json({"reference_id": "alice", "filler": "x" * 70_000}), ""),
        ("", b'{"reference_id": "alice"', ""),
        ("", b"[" * 10_000, ""),
    ],
    ids=["query", "body", "webhook", "response", "not a text", "too large", "not JSON", "deep"],
)
def test_the_user_is_that_of_the_query_the_body_or_the_response(
    recorded: tuple[Running, list[Access]], query: str, body: bytes, reference_id: str
) -> None:
    headers = {"content-type": "application/json"}
    assert record_of(recorded, "POST", f"/answer{query}", content=body, headers=headers).reference_id == reference_id


def test_a_path_is_recorded_as_it_was_sent(recorded: tuple[Running, list[Access]]) -> None:
    running, records = recorded
    assert raw(running, b"GET /items/a%0Ab%1b HTTP/1.1\r\nhost: x\r\n\r\n")[0] == 200
    assert records[-1].path == "/items/a%0Ab%1b"
