import json
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from terra_connections.connections.facts import Kind, Position
from terra_connections.ids import SessionId, UserId
from terra_connections.sessions.session import Reason, WidgetReport
from terra_connections.webhooks.payload import MALFORMED, WebhookEvent, parse

AT = Position(1_700_000_000_000)
USER = {
    "user_id": "40f7b0e1-89e2-43ac-a5b8-1e29c8d47cad",
    "provider": "GARMIN",
    "scopes": "SLEEP, ACTIVITY",
    "reference_id": "your-user-123",
}


def parsed(content: object) -> WebhookEvent:
    return parse(json.dumps(content).encode(), AT)


def auth(**changes: object) -> dict[str, Any]:
    return {"type": "auth", "status": "success", "user": {**USER, **changes}}


def test_a_successful_auth_connects() -> None:
    event = parsed({**auth(), "widget_session_id": "w-1"})
    [facts] = event.facts
    assert event.report == WidgetReport(SessionId("w-1"), user_ids=frozenset({UserId(str(USER["user_id"]))}))
    assert facts.user_id == USER["user_id"]
    assert facts.first_connected == AT
    assert facts.owner == "your-user-123"
    assert facts.text(Kind.PROVIDER) == "GARMIN"
    assert facts.newest[Kind.SCOPES].value == ("ACTIVITY", "SLEEP")
    assert facts.text(Kind.WIDGET_SESSION) == "w-1"


def test_an_older_successful_auth_names_its_owner_outside_of_the_user() -> None:
    content = {**auth(reference_id=None), "reference_id": "your-user-123"}
    [facts] = parsed(content).facts
    assert facts.owner == "your-user-123"


@pytest.mark.parametrize("reference_id", [None, "", "null", 7, {}, "x" * 257, "a\x00b", "\ud800"])
def test_an_invalid_reference_id_is_not_an_owner(reference_id: object) -> None:
    [facts] = parsed(auth(reference_id=reference_id)).facts
    assert facts.owner is None


def test_a_cancellation_concerns_only_its_widget_session() -> None:
    cancelled = {"type": "auth_cancelled", "status": "error", "reason": "access_denied", "reference_id": "alice"}
    assert parsed(cancelled) == WebhookEvent("auth_cancelled")
    event = parsed({**cancelled, "widget_session_id": "w-1"})
    assert event.report == WidgetReport(SessionId("w-1"), reasons=frozenset({Reason.ACCESS_DENIED}))
    assert event.facts == ()


def test_an_older_failed_auth_concerns_its_user_and_connects_nothing() -> None:
    event = parsed({**auth(), "status": "error", "reason": "missing_scopes", "widget_session_id": "w-1"})
    [facts] = event.facts
    assert facts.text(Kind.FAILED) == "missing_scopes"
    assert facts.first_connected is None
    assert facts.at(Kind.REVOKED) is None
    assert event.report == WidgetReport(SessionId("w-1"), reasons=frozenset({Reason.MISSING_SCOPES}))


def test_a_disconnect_revokes() -> None:
    [facts] = parsed({"type": "deauth", "status": "success", "user": USER, "message": None}).facts
    assert facts.at(Kind.REVOKED) == AT


@pytest.mark.parametrize("type_", ["activity", "healthcheck", "lab_report.completed", "something_new"])
def test_an_event_that_concerns_no_connection_has_only_a_type(type_: str) -> None:
    assert parsed({"type": type_, "user": USER, "data": []}) == WebhookEvent(type_)


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "auth",
        7,
        {},
        {"type": None},
        {"type": ["auth"]},
        {"type": "x" * 65},
        {"type": "evil\ntype"},
        {"type": "auth"},
        {"type": "auth", "status": "success"},
        {"type": "auth", "status": "success", "user": None},
        {"type": "auth", "status": "success", "user": []},
        {"type": "auth", "status": "pending", "user": USER},
        {"type": "auth", "status": ["success"], "user": USER},
        auth(user_id=None),
        auth(user_id=""),
        auth(user_id="a b"),
        auth(user_id="x" * 129),
        auth(user_id={"S": "x"}),
        {"type": "deauth", "user": {}},
    ],
)
def test_an_invalid_event_is_malformed(content: object) -> None:
    assert parsed(content) == WebhookEvent(MALFORMED)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"type": NaN}', b"1" * 5000])
def test_a_body_that_is_not_json_is_malformed(body: bytes) -> None:
    assert parse(body, AT) == WebhookEvent(MALFORMED)


@pytest.mark.parametrize("new", ["new_user", "user"])
def test_an_older_reconnect_names_only_the_old_user_id(new: str) -> None:
    flat = parsed({"type": "user_reauth", "old_user_id": "old", new: USER}).facts
    nested = parsed({"type": "user_reauth", "old_user": {"user_id": "old"}, "new_user": USER}).facts
    assert flat == nested
    assert [facts.user_id for facts in flat] == [USER["user_id"], "old"]


@pytest.mark.parametrize("old", [None, "", "a b", 7, {"user_id": "x"}])
def test_a_reconnect_with_an_invalid_old_id_connects_the_new_one(old: object) -> None:
    [facts] = parsed({"type": "user_reauth", "old_user_id": old, "new_user": USER}).facts
    assert facts.user_id == USER["user_id"]


@pytest.mark.parametrize("scopes", [None, 7, [], "\ud800", "x," * 201, "x" * 30_000, "SLEEP," + "x" * 129])
def test_malformed_scopes_are_ignored(scopes: object) -> None:
    [facts] = parsed(auth(scopes=scopes)).facts
    assert Kind.SCOPES not in facts.newest


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    type_=st.sampled_from(["auth", "auth_cancelled", "deauth"]),
    status=st.sampled_from(["success", "error"]) | anything,
    user=anything
    | st.fixed_dictionaries(
        {"user_id": st.just("u-1") | anything},
        optional={"provider": anything, "reference_id": anything, "scopes": anything},
    ),
    reason=anything,
    widget_session_id=anything,
)
def test_any_signed_body_is_parsed_and_can_be_stored(**content: object) -> None:
    event = parsed({"type": content.pop("type_"), **content})
    for facts in event.facts:
        for fact in facts.newest.values():
            value = list(fact.value) if isinstance(fact.value, tuple) else fact.value
            json.dumps(TypeSerializer().serialize(value), ensure_ascii=False).encode()


@given(st.binary())
def test_any_bytes_are_parsed_without_an_error(body: bytes) -> None:
    parse(body, AT)
