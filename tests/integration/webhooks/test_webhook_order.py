"""Order does not matter: the same facts, in any order, give the same view. Unsigned values have no influence."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import httpx
import pytest

from tests.support.api import connections_of, create_session, session_status
from tests.support.tables import Tables
from tests.support.terra import Terra
from tests.support.terra_events import auth_event, deauth_event, new_user_id
from tests.support.webhooks import Webhook, now_s

Make = Callable[..., Webhook]


@pytest.fixture
def second() -> int:
    """A time an hour ago, in milliseconds."""
    return (now_s() - 3600) * 1000


def view_of(api: httpx.Client, user_id: str) -> dict[str, Any] | None:
    response = api.get(f"/connections/{user_id}")
    if response.status_code == httpx.codes.NOT_FOUND:
        return None
    connection: dict[str, Any] = response.json()
    return connection


def status_of(api: httpx.Client, user_id: str) -> str | None:
    view = view_of(api, user_id)
    return str(view["status"]) if view else None


def deliver(browser: httpx.Client, *deliveries: Webhook) -> None:
    for delivery in deliveries:
        assert delivery.post(browser).json() == {"status": "accepted"}


def test_every_order_of_the_same_events_gives_the_same_view(
    api: httpx.Client, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str, second: int
) -> None:
    views: list[dict[str, Any] | None] = []
    facts: list[dict[str, Any] | None] = []
    for order in permutations(range(4)):
        user_id = new_user_id()
        events = [
            webhook(auth_event(user_id, reference_id), ordering=second),
            webhook(deauth_event(user_id, reference_id), ordering=second + 1000),
            webhook(auth_event(user_id, f"{reference_id}-new", provider="OURA"), ordering=second + 2000),
            webhook({**auth_event(user_id, None), "status": "error", "reason": "x"}, ordering=second + 3000),
        ]
        deliver(browser, *(events[place] for place in order))
        view = view_of(api, user_id)
        assert view is not None
        views.append({k: v for k, v in view.items() if k not in {"user_id", "connection_id"}})
        facts.append(tables.facts(user_id))
    assert all(view == views[0] for view in views)
    assert all(fact == facts[0] for fact in facts)
    assert views[0] is not None
    assert (views[0]["status"], views[0]["reference_id"]) == ("connected", f"{reference_id}-new")


def test_a_deauth_that_arrives_before_its_auth_counts(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str, second: int
) -> None:
    user_id = new_user_id()
    deliver(browser, webhook(deauth_event(user_id, reference_id), ordering=second + 1))
    assert view_of(api, user_id) is None
    assert connections_of(api, reference_id, include="revoked") == []
    deliver(browser, webhook(auth_event(user_id, reference_id), ordering=second))
    assert status_of(api, user_id) == "revoked"
    assert connections_of(api, reference_id) == []
    assert len(connections_of(api, reference_id, include="revoked")) == 1


def test_a_newer_auth_connects_again_and_keeps_connected_at(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str, second: int
) -> None:
    user_id = new_user_id()
    deliver(browser, webhook(auth_event(user_id, reference_id), ordering=second))
    first = view_of(api, user_id)
    deliver(browser, webhook(deauth_event(user_id, reference_id), ordering=second + 1))
    # Signed in another second, because equal bytes signed in the same second count as one delivery.
    deliver(browser, webhook(auth_event(user_id, reference_id), t=now_s() + 1, ordering=second + 2))
    again = view_of(api, user_id)
    assert first is not None
    assert again is not None
    assert again["status"] == "connected"
    assert (again["connection_id"], again["connected_at"]) == (first["connection_id"], first["connected_at"])
    assert again["updated_at"] > first["updated_at"]


@pytest.mark.parametrize("first", ["auth", "deauth"])
def test_a_revocation_wins_at_equal_positions(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str, second: int, first: str
) -> None:
    user_id = new_user_id()
    deliveries = [
        webhook(auth_event(user_id, reference_id), ordering=second),
        webhook(deauth_event(user_id, reference_id), ordering=second),
    ]
    deliver(browser, *(deliveries if first == "auth" else reversed(deliveries)))
    assert status_of(api, user_id) == "revoked"


def test_at_equal_positions_every_order_names_the_same_owner(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str, second: int
) -> None:
    owners = set()
    for order in permutations(["a", "b", "\u00e9"]):
        user_id = new_user_id()
        deliver(browser, *(webhook(auth_event(user_id, f"{reference_id}{x}"), ordering=second) for x in order))
        view = view_of(api, user_id)
        assert view is not None
        owners.add(view["reference_id"])
    assert len(owners) == 1


@pytest.mark.parametrize(
    "ordering",
    [None, "", "soon", "-1", "1.5", "1e3", "0x10", "\u0661\u0662", "9" * 16, "9" * 400, "1,1", "NaN", "+5", "1_000"],
)
def test_without_a_readable_ordering_timestamp_the_signed_second_counts(
    browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str, ordering: str | None
) -> None:
    delivery = webhook(auth_event(user_id := new_user_id(), reference_id), ordering=None)
    headers = [(name.encode(), value.encode()) for name, value in delivery.headers.items()]
    if ordering is not None:
        headers.append((b"x-terra-ordering-timestamp", ordering.encode()))
    assert browser.post("/webhooks/terra", content=delivery.body, headers=headers).json() == {"status": "accepted"}
    facts = tables.facts(user_id)
    assert facts is not None
    assert facts["facts"]["connected"]["at"] == delivery.t * 1000


@pytest.mark.parametrize("ahead_ms", [1000, 3_600_000, 10**14])
def test_a_forged_ordering_timestamp_does_not_exceed_the_signed_second(
    browser: httpx.Client, api: httpx.Client, tables: Tables, webhook: Make, reference_id: str, ahead_ms: int
) -> None:
    t = now_s() - 600
    forged = webhook(auth_event(user_id := new_user_id(), reference_id), t=t, ordering=t * 1000 + ahead_ms)
    deliver(browser, forged)
    facts = tables.facts(user_id)
    assert facts is not None
    assert facts["facts"]["connected"]["at"] == t * 1000 + 999
    deliver(browser, webhook(deauth_event(user_id, reference_id), t=t + 1, ordering=t * 1000 + 1000))
    assert status_of(api, user_id) == "revoked"


@pytest.mark.parametrize("backwards_ms", [None, 26 * 3_600_000, 3_600_000])
def test_a_captured_disconnect_that_is_delivered_first_does_not_suppress_the_genuine_one(
    browser: httpx.Client, api: httpx.Client, webhook: Make, reference_id: str, second: int, backwards_ms: int | None
) -> None:
    user_id = new_user_id()
    genuine = webhook(deauth_event(user_id, reference_id), ordering=second)
    deliver(browser, webhook(auth_event(user_id, reference_id), ordering=second - 1000))
    forged = 0 if backwards_ms is None else second - backwards_ms
    assert genuine.but(ordering=forged).post(browser).json() == {"status": "accepted"}
    assert genuine.post(browser).json() == {"status": "duplicate"}
    assert status_of(api, user_id) == "revoked"


def test_a_captured_body_under_the_trace_id_of_a_disconnect_does_not_suppress_it(
    browser: httpx.Client, api: httpx.Client, webhook: Make, reference_id: str, second: int
) -> None:
    user_id = new_user_id()
    genuine = webhook(deauth_event(user_id, reference_id), ordering=second)
    deliver(browser, webhook(auth_event(user_id, reference_id), ordering=second - 1000, trace_id=genuine.trace_id))
    assert genuine.post(browser).json() == {"status": "duplicate"}
    assert status_of(api, user_id) == "revoked"


def test_a_captured_body_under_a_new_trace_id_does_not_reconnect(
    browser: httpx.Client, api: httpx.Client, webhook: Make, reference_id: str, second: int
) -> None:
    user_id = new_user_id()
    captured = webhook(auth_event(user_id, reference_id), ordering=second)
    deliver(browser, captured, webhook(deauth_event(user_id, reference_id), ordering=second + 1))
    replayed = captured.but(trace_id="fresh", ordering=now_s() * 1000)
    assert replayed.post(browser).json() == {"status": "duplicate"}
    assert status_of(api, user_id) == "revoked"


def test_a_captured_body_does_not_reconnect_after_its_record_has_expired(
    browser: httpx.Client, api: httpx.Client, webhook: Make, reference_id: str
) -> None:
    """Deduplication only saves work; correctness rests on positions alone. A new signature simulates a lost record."""
    user_id, t = new_user_id(), now_s() - 100
    captured = webhook(auth_event(user_id, reference_id), t=t, ordering=(t - 3) * 1000)
    deliver(browser, captured, webhook(deauth_event(user_id, reference_id), t=t + 50, ordering=(t + 50) * 1000))
    deliver(browser, captured.but(trace_id="fresh", t=t + 1, ordering=now_s() * 1000))
    assert status_of(api, user_id) == "revoked"


# -- owners ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("none", [None, "", "null"])
def test_a_later_event_can_name_the_owner(
    api: httpx.Client,
    browser: httpx.Client,
    tables: Tables,
    webhook: Make,
    reference_id: str,
    second: int,
    none: str | None,
) -> None:
    user_id = new_user_id()
    event = auth_event(user_id, None)
    event["user"]["reference_id"] = none
    deliver(browser, webhook(event, ordering=second))
    view, item = view_of(api, user_id), tables.connection(user_id)
    assert view is not None
    assert item is not None
    assert (view["status"], view["reference_id"]) == ("connected", None)
    assert "reference_id" not in item
    assert connections_of(api, reference_id) == []
    deliver(browser, webhook(auth_event(user_id, reference_id), ordering=second + 1))
    assert [c["user_id"] for c in connections_of(api, reference_id)] == [user_id]


def test_a_later_event_without_an_owner_does_not_remove_the_owner(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str, second: int
) -> None:
    user_id = new_user_id()
    deliver(browser, webhook(auth_event(user_id, reference_id), ordering=second))
    deliver(browser, webhook(auth_event(user_id, None), ordering=second + 1))
    assert [c["user_id"] for c in connections_of(api, reference_id)] == [user_id]


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_connection_moves_with_its_owner_and_is_listed_for_one_user(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str, second: int, *, newest_first: bool
) -> None:
    user_id, other = new_user_id(), f"{reference_id}-other"
    moves = [
        webhook(auth_event(user_id, reference_id), ordering=second),
        webhook(auth_event(user_id, other), ordering=second + 1),
    ]
    for delivery in reversed(moves) if newest_first else moves:
        deliver(browser, delivery)
        listed = [len(connections_of(api, owner, include="revoked")) for owner in (reference_id, other)]
        assert sum(listed) == 1
    assert [c["user_id"] for c in connections_of(api, other)] == [user_id]
    assert connections_of(api, reference_id) == []


def test_the_older_format_names_the_owner_beside_the_user(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str
) -> None:
    event = {**auth_event(user_id := new_user_id(), None), "reference_id": reference_id}
    deliver(browser, webhook(event))
    assert [c["user_id"] for c in connections_of(api, reference_id)] == [user_id]


# -- failed logins -----------------------------------------------------------------------------------------------------


def test_a_cancellation_is_stored_under_its_widget_session(
    browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    widget = new_user_id()
    event = {"type": "auth_cancelled", "status": "error", "reason": "access_denied", "reference_id": reference_id}
    deliver(browser, webhook({**event, "widget_session_id": widget}))
    deliver(browser, webhook({**event, "widget_session_id": widget, "reason": "\ud800 anything"}))
    outcome = tables.session(f"widget:{widget}")
    assert outcome is not None
    assert outcome["failed_reasons"] == {"access_denied", "unknown"}
    assert outcome["ttl"] > now_s()


def test_a_widget_report_is_bounded_and_every_connection_is_stored(
    api: httpx.Client, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    widget = new_user_id()
    deliver(browser, webhook({**auth_event(new_user_id(), reference_id), "widget_session_id": widget}))
    tables.change_session(f"widget:{widget}", user_ids={f"u{number}" for number in range(100)})
    deliver(browser, webhook({**auth_event(user_id := new_user_id(), reference_id), "widget_session_id": widget}))
    outcome = tables.session(f"widget:{widget}")
    assert outcome is not None
    assert len(outcome["user_ids"]) == 100
    assert user_id in [connection["user_id"] for connection in connections_of(api, reference_id)]


def test_an_item_of_the_largest_size_can_be_revoked(
    api: httpx.Client, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str
) -> None:
    user_id, at = new_user_id(), now_s() * 1000 - 60_000
    deliver(browser, webhook(auth_event(user_id, reference_id), ordering=at))
    item = tables.connection(user_id)
    assert item is not None
    longer = {f"scope:{number}{'x' * 25_000}": {"at": at + 1, "value": "added"} for number in range(15)}
    tables.add_connections([{**item, "facts": item["facts"] | longer}])
    deliver(browser, webhook(deauth_event(user_id, reference_id), ordering=at + 2))
    assert status_of(api, user_id) == "revoked"


@pytest.mark.parametrize("widget", [None, "", 7, "a b", "x" * 129, "../x"])
def test_a_cancellation_without_an_id_changes_nothing(
    api: httpx.Client, browser: httpx.Client, tables: Tables, webhook: Make, reference_id: str, widget: object
) -> None:
    session, before = create_session(api, reference_id), tables.count()
    delivery = webhook(
        {
            "type": "auth_cancelled",
            "status": "error",
            "reason": "access_denied",
            "reference_id": reference_id,
            "widget_session_id": widget,
        }
    )
    deliver(browser, delivery)
    assert [record["type"] for record in tables.deliveries(delivery.keys)] == ["auth_cancelled"] * 2
    assert tables.count() == (*before[:2], before[2] + 2)
    assert session_status(api, session)["status"] == "pending"


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("access_denied", "access_denied"),
        ("missing_scopes", "missing_scopes"),
        ("server_error", "provider_error"),
        ("<script>", "unknown"),
        (None, "unknown"),
    ],
)
def test_a_failure_in_the_older_format_fails_the_session_of_its_user(
    api: httpx.Client,
    browser: httpx.Client,
    terra: Terra,
    webhook: Make,
    reference_id: str,
    reason: str | None,
    shown: str,
) -> None:
    assert terra
    session = create_session(api, reference_id)
    user_id = terra.client.get("/_control/logins").json()[-1]["user_id"]
    event = {**auth_event(user_id, reference_id), "status": "error", "reason": reason, "provider": "FITBIT"}
    deliver(browser, webhook(event))
    failed = session_status(api, session)
    assert (failed["status"], failed["reason"], failed["user_id"]) == ("failed", shown, None)
    assert connections_of(api, reference_id, include="revoked") == []
    deliver(browser, webhook(auth_event(user_id, reference_id), ordering=(now_s() - 60) * 1000))
    connected = session_status(api, session)
    assert (connected["status"], connected["reason"], connected["user_id"]) == ("connected", None, user_id)


def test_a_failed_login_ends_no_connection(
    api: httpx.Client, browser: httpx.Client, webhook: Make, reference_id: str, second: int
) -> None:
    user_id = new_user_id()
    deliver(browser, webhook(auth_event(user_id, reference_id), ordering=second))
    failure = {**auth_event(user_id, reference_id), "status": "error", "reason": "access_denied"}
    deliver(browser, webhook(failure, ordering=second + 1))
    assert [c["status"] for c in connections_of(api, reference_id)] == ["connected"]
