"""The simulator's console in a browser without script, and the functions that it shares with the control API."""

import json
import re
from html import escape
from html.parser import HTMLParser
from typing import Any

import pytest

from receiver import Receiver
from simulator_process import Terra
from terra_simulator.data.bodies import DATA_TYPES

TRACE = "X-Terra-Trace-Id"
ORDERING = "X-Terra-Ordering-Timestamp"


class Page(HTMLParser):
    """A page's forms, each with its fields and its buttons."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.forms: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.labelled: set[str] = set()
        self.inputs: list[str | None] = []
        self.select = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "form":
            self.forms.append({"method": attributes.get("method"), "fields": {}, "buttons": []})
        if tag == "label":
            self.labelled.add(attributes["for"])
        if tag in {"input", "select"} and attributes.get("type") != "hidden":
            self.inputs.append(attributes.get("id"))
        if tag == "input":
            self.forms[-1]["fields"][attributes["name"]] = attributes.get("value", "")
        if tag == "select":
            self.select = attributes["name"]
        if tag == "option" and (self.select not in self.forms[-1]["fields"] or "selected" in attributes):
            self.forms[-1]["fields"][self.select] = attributes["value"]
        if tag == "button" and "value" in attributes:
            self.forms[-1]["buttons"].append(attributes["value"])

    def form_with(self, button: str, **fields: str) -> dict[str, str]:
        """Return what the browser sends when this button is pressed in the form with these fields."""
        for form in self.forms:
            if button in form["buttons"] and fields.items() <= form["fields"].items():
                fields_sent: dict[str, str] = form["fields"] | {"do": button}
                return fields_sent
        raise AssertionError((button, fields, [form["buttons"] for form in self.forms]))


def open_page(terra: Terra, query: str = "") -> Page:
    response = terra.browser.get(f"/{query}")
    assert response.status_code == 200, response.text
    return Page(response.text)


def press(terra: Terra, button: str, *, fill: dict[str, str] | None = None, **where: str) -> Page:
    """Press a button and follow the redirect to the page."""
    query = f"?open={where['delivery_id']}" if "delivery_id" in where else ""
    form = open_page(terra, query).form_with(button, **where) | (fill or {})
    response = terra.browser.post("/", data=form, headers={"Origin": terra.url})
    assert response.status_code == 303, response.text
    assert response.headers["location"].startswith("/")
    return open_page(terra, response.headers["location"].removeprefix("/").partition("#")[0])


def add_user(terra: Terra, **fields: object) -> str:
    user: str = terra.control("POST", "/users", {"reference_id": "anna", "silent": True, **fields})["user"]["user_id"]
    return user


def user_ids(terra: Terra) -> list[str]:
    return [user["user_id"] for user in terra.control("GET", "/users")]


def test_the_page_works_on_a_phone_and_without_script(terra: Terra) -> None:
    add_user(terra)
    terra.control("POST", "/logins", {"reference_id": "anna"})
    response = terra.browser.get("/")

    assert response.headers["cache-control"] == "no-store"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    page = Page(response.text)
    assert "style" not in page.tags
    assert 'name="viewport"' in page.text
    assert "Terra simulator" in page.text
    assert set(page.inputs) == page.labelled
    assert len(page.ids) == len(set(page.ids))
    assert {form["method"] for form in page.forms} == {"post", "get"}


def test_values_of_users_and_webhooks_are_escaped(terra: Terra, receiver: Receiver) -> None:
    hostile = '"><script>alert(1)</script>'
    user_id = add_user(terra, reference_id=hostile, account=hostile, user_id=hostile)
    terra.control("POST", "/deliveries", {"body": {"type": hostile, "user": {"reference_id": hostile}}})
    press(terra, "activity", user_id=user_id)
    for delivery in terra.control("GET", "/deliveries"):
        for reference_id in ("", hostile):
            here = {"reference_id": reference_id, "search": hostile, "open": delivery["delivery_id"]}
            page = terra.browser.get("/", params=here)
            assert "Request headers" in page.text
            assert "<script>" not in page.text
            assert page.text.count("&lt;script&gt;") > 5
    refused = terra.browser.post("/", data={"do": "data_settings", "output_format": hostile, "here": hostile})
    assert "<script>" not in refused.text
    assert len(receiver.arrivals) == 2


def test_showing_the_page_changes_nothing(terra: Terra, receiver: Receiver) -> None:
    add_user(terra)
    before = [terra.control("GET", path) for path in ("/users", "/deliveries", "/settings", "/logins")]
    for _ in range(2):
        open_page(terra)
    assert [terra.control("GET", path) for path in ("/users", "/deliveries", "/settings", "/logins")] == before
    assert receiver.arrivals == []


@pytest.mark.parametrize(
    ("button", "types"),
    [
        ("deauth", ["deauth"]),
        ("access_revoked", ["access_revoked"]),
        ("connection_error", ["connection_error"]),
        ("activity", ["activity"]),
        ("send_all", list(DATA_TYPES)),
        ("send_data", ["daily"]),
        ("correct_data", ["daily"]),
        ("send_values", ["daily", "daily", "daily"]),
        ("send_large", ["daily"]),
        ("request_data", ["large_request_processing", "large_request_sending", *["daily"] * 4]),
        ("amend", ["health_observation"]),
        ("retract", ["health_observation"]),
        ("withdraw", ["permission_change"]),
        ("grant", ["permission_change"]),
        ("reauth_after", ["auth", "user_reauth"]),
        ("reauth_before", ["user_reauth", "auth"]),
        ("reauth_null", ["auth", "user_reauth"]),
        ("forget", []),
        ("access_revoked_late", []),
        ("connection_error_twice", ["connection_error", "connection_error"]),
        ("deauth_lost", []),
    ],
)
def test_each_button_of_a_connection_sends_its_webhooks(
    terra: Terra, receiver: Receiver, button: str, types: list[str]
) -> None:
    user_id, other = add_user(terra), add_user(terra, provider="OURA")

    page = press(terra, button, user_id=user_id)

    assert [arrival.type for arrival in receiver.wait_for(len(types))] == types
    if types:
        assert "response 200" in page.text
    assert other in user_ids(terra)
    removed = button in {"deauth", "deauth_lost", "forget"} or button.startswith("reauth")
    assert (user_id not in user_ids(terra)) is removed


def test_a_reconnect_contains_the_old_user_or_null(terra: Terra, receiver: Receiver) -> None:
    first = add_user(terra)
    press(terra, "reauth_before", user_id=first)
    [second] = user_ids(terra)
    press(terra, "reauth_null", user_id=second)
    [third] = user_ids(terra)

    reauths = [arrival.event for arrival in receiver.arrivals if arrival.type == "user_reauth"]
    assert [reauth["new_user"]["user_id"] for reauth in reauths] == [second, third]
    assert reauths[0]["old_user"]["user_id"] == first
    assert reauths[1]["old_user"] is None
    assert {reauth["new_user"]["reference_id"] for reauth in reauths} == {"anna"}
    assert terra.user_info(third)["is_authenticated"] is True


def test_a_permission_change_contains_the_changed_and_the_current_scopes(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra, provider="OURA")

    press(terra, "withdraw", user_id=user_id, fill={"scopes": " session , workout,"})
    press(terra, "grant", user_id=user_id, fill={"scopes": "spo2"})

    events = [arrival.event for arrival in receiver.arrivals]
    assert [(event["scopes_added"], event["scopes_removed"]) for event in events] == [
        ("", "session,workout"),
        ("spo2", ""),
    ]
    assert events[1]["user"]["scopes"] == "daily,heartrate,personal,spo2"
    terra.browser.post("/", data={"do": "grant", "user_id": user_id, "scopes": " , "})
    assert len(receiver.arrivals) == 2


def test_a_connection_is_created_with_or_without_a_webhook(terra: Terra, receiver: Receiver) -> None:
    page = press(terra, "connect", fill={"reference_id": "bob", "provider": "OURA", "account": "bob's"})
    assert "bob&#39;s Oura connected. auth: response 200" in page.text
    page = press(terra, "connect_silently", fill={"reference_id": "bob", "provider": "GARMIN"})
    assert "No webhook was sent." in page.text

    assert [arrival.event["user"]["provider"] for arrival in receiver.arrivals] == ["OURA"]
    assert [user["provider"] for user in terra.control("GET", "/users")] == ["OURA", "GARMIN"]


def test_an_unfinished_login_is_listed_and_can_be_opened(terra: Terra, receiver: Receiver) -> None:
    page = press(terra, "begin_login", fill={"reference_id": "bob"})

    assert "login never finished" in page.text
    [user] = terra.back_end.get("/api/v2/subscriptions").json()["users"]
    assert user["reference_id"] == "bob"
    assert terra.user_info(user["user_id"])["is_authenticated"] is False
    opened = re.search(r'href="(/login/[^"]+)"', page.text)
    assert opened
    assert "Connect Fitbit to your app?" in terra.browser.get(opened.group(1)).text
    assert receiver.arrivals == []
    press(terra, "forget", user_id=user["user_id"])
    assert user_ids(terra) == []
    rejected = terra.browser.post("/", data={"do": "begin_login", "provider": "APPLE"})
    assert rejected.status_code == 409


def test_dropped_webhooks_are_not_sent(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    assert "dropped" in press(terra, "lose").text
    page = press(terra, "connection_error", user_id=user_id)
    assert "dropped, not sent" in page.text
    assert "New webhooks are sent to" in press(terra, "send").text
    press(terra, "activity", user_id=user_id)
    assert [arrival.type for arrival in receiver.arrivals] == ["activity"]


@pytest.mark.parametrize(
    ("button", "arriving"),
    [("release", ["access_revoked", "deauth"]), ("release_reversed", ["deauth", "access_revoked"]), ("drop", [])],
)
def test_queued_webhooks_are_sent_in_either_order_or_dropped(
    terra: Terra, receiver: Receiver, button: str, arriving: list[str]
) -> None:
    user_id = add_user(terra)
    press(terra, "hold")
    press(terra, "access_revoked", user_id=user_id)
    assert "Queued: 2" in press(terra, "deauth", user_id=user_id).text
    assert receiver.arrivals == []

    assert "Queued: 0" in press(terra, button).text

    assert [arrival.type for arrival in receiver.arrivals] == arriving
    press(terra, "connect")
    assert receiver.arrivals[-1].type == "auth"


def test_single_queued_webhooks_are_sent_or_dropped(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    press(terra, "hold")
    for event in ("activity", "access_revoked", "deauth"):
        press(terra, event, user_id=user_id)
    ids = {delivery["type"]: delivery["delivery_id"] for delivery in terra.control("GET", "/deliveries")}

    press(terra, "release_one", delivery_id=ids["deauth"])
    press(terra, "drop_one", delivery_id=ids["activity"])
    late = terra.browser.post("/", data={"do": "drop_one", "delivery_id": ids["deauth"]})

    assert late.status_code == 409
    states = {delivery["type"]: delivery["state"] for delivery in terra.control("GET", "/deliveries")}
    assert states == {"activity": "lost", "access_revoked": "held", "deauth": "delivered"}
    assert [arrival.type for arrival in receiver.arrivals] == ["deauth"]


def test_webhooks_are_sent_twice_on_request(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    press(terra, "twice")
    press(terra, "activity", user_id=user_id)
    press(terra, "once")
    press(terra, "deauth", user_id=user_id)

    first, second, third = receiver.wait_for(3)
    assert (first.body, first.headers[TRACE], first.headers[ORDERING]) == (
        second.body,
        second.headers[TRACE],
        second.headers[ORDERING],
    )
    assert third.type == "deauth"


def test_a_webhook_is_resent_unchanged_or_with_a_new_trace_id(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    press(terra, "activity", user_id=user_id)
    [delivery] = terra.control("GET", "/deliveries")

    press(terra, "again", delivery_id=delivery["delivery_id"])
    press(terra, "replay", delivery_id=delivery["delivery_id"])

    first, again, replay = receiver.arrivals
    assert first.body == again.body == replay.body
    assert first.signature == again.signature == replay.signature
    assert first.headers[ORDERING] == again.headers[ORDERING] == replay.headers[ORDERING]
    assert first.headers[TRACE] == again.headers[TRACE] != replay.headers[TRACE]


def test_pending_webhooks_are_retried_on_request(terra: Terra, receiver: Receiver) -> None:
    terra.set(retry_scale=1)
    user_id = add_user(terra)
    receiver.answers.append(503)
    assert "response 503" in press(terra, "activity", user_id=user_id).text

    page = press(terra, "retry")

    assert "response 200, 2 attempts" in page.text
    assert "Pending: 0" in page.text


def test_one_pending_webhook_is_retried(terra: Terra, receiver: Receiver) -> None:
    terra.set(retry_scale=1)
    user_id = add_user(terra)
    receiver.answers.extend([503, 503])
    for button in ("activity", "connection_error"):
        press(terra, button, user_id=user_id)
    first, second = terra.control("GET", "/deliveries")

    press(terra, "retry_one", delivery_id=first["delivery_id"])

    states = {each["delivery_id"]: each["state"] for each in terra.control("GET", "/deliveries")}
    assert states == {first["delivery_id"]: "delivered", second["delivery_id"]: "pending"}


def test_the_page_can_be_filtered_by_reference_id(terra: Terra) -> None:
    anna, bob = add_user(terra), add_user(terra, reference_id="bob")
    terra.control("POST", f"/users/{bob}/events", {"type": "activity"})

    page = open_page(terra, "?reference_id=anna")

    assert f"user-{anna}" in page.ids
    assert f"user-{bob}" not in page.ids
    assert "None yet." in page.text
    form = page.form_with("activity", user_id=anna)
    location = terra.browser.post("/", data=form).headers["location"]
    assert re.fullmatch(rf"/\?reference_id=anna&notice=\d+#user-{anna}", location)


def users_on(page: Page) -> list[str]:
    return [place.removeprefix("user-") for place in page.ids if place.startswith("user-")]


def test_connections_are_shown_in_pages_and_found_by_a_part_of_their_values(terra: Terra) -> None:
    added = [add_user(terra, reference_id=f"user-{number:02}") for number in range(60)]

    pages = [open_page(terra, f"?page={number}") for number in (1, 2, 3)]

    assert [user for page in pages for user in users_on(page)] == added[::-1]
    assert [len(users_on(page)) for page in pages] == [25, 25, 10]
    assert [users_on(open_page(terra, f"?page={odd}")) for odd in ("99", "0", "x", "9" * 30)] == [
        users_on(pages[2]),
        *[users_on(pages[0])] * 3,
    ]
    assert users_on(open_page(terra, "?search=SER-4")) == added[49:39:-1]
    assert users_on(open_page(terra, f"?search={added[7]}")) == [added[7]]
    assert "No connection matches." in open_page(terra, "?search=nothing").text


def test_the_connections_of_a_user_are_shown_together(terra: Terra) -> None:
    anna, bob, also_anna = add_user(terra), add_user(terra, reference_id="bob"), add_user(terra, provider="OURA")
    page = open_page(terra)
    assert users_on(page) == [also_anna, anna, bob]
    assert [place for place in page.ids if place.startswith("group-")] == ["group-anna", "group-bob"]


def test_a_delivery_is_shown_with_its_request_and_its_attempts(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    receiver.answers.append(503)
    terra.set(retry_scale=1)
    [sent] = terra.control("POST", f"/users/{user_id}/events", {"type": "activity"})["deliveries"]
    terra.control("POST", "/retry_now")
    [first, second] = receiver.wait_for(2)

    page = open_page(terra, f"?open={sent['delivery_id']}")

    for shown in (first.signature, second.signature, sent["trace_id"], "answered 503", "answered 200", receiver.url):
        assert escape(shown) in page.text
    assert escape(json.dumps(first.event, indent=2)) in page.text.replace("&#34;", "&quot;")
    assert "response 503" in page.text
    assert terra.control("GET", "/deliveries")[0]["attempts"][1]["headers"]["X-Terra-Signature"] == second.signature


def test_a_link_opens_a_delivery_on_whichever_page_it_is(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    for _ in range(30):
        terra.control("POST", f"/users/{user_id}/events", {"type": "activity"})
    oldest = terra.control("GET", "/deliveries")[0]["delivery_id"]

    assert f"details-{oldest}" in open_page(terra, f"?open={oldest}").ids
    assert f"delivery-{oldest}" not in open_page(terra).ids
    assert f"delivery-{oldest}" in open_page(terra, "?deliveries=2").ids
    assert "This delivery no longer exists" in open_page(terra, "?open=unknown").text
    assert len(receiver.arrivals) == 30


def test_the_page_is_sent_again_only_after_a_change(terra: Terra) -> None:
    first = terra.browser.get("/")
    again = terra.browser.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    add_user(terra)
    changed = terra.browser.get("/", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize("name", ["console.css", "console.js", "icon.svg", "pages.css"])
def test_styles_and_the_script_are_files(terra: Terra, name: str) -> None:
    assert terra.browser.get(f"/_static/{name}").status_code == 200
    assert f"/_static/{name}" in terra.browser.get("/").text


def test_static_files_lead_nowhere_else(terra: Terra) -> None:
    assert terra.browser.get("/_static/%2e%2e/console/routes.py").status_code == 404


def test_the_notice_of_an_action_is_shown_once(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    assert "activity" in press(terra, "activity", user_id=user_id).text
    assert "Data of anna" not in open_page(terra).text
    assert len(receiver.arrivals) == 1


def test_an_action_leads_back_only_to_this_page(terra: Terra) -> None:
    for here in ("https://evil.example", "//evil.example", "reference_id=a&x=%0d%0aSet-Cookie:1", "&" * 99):
        response = terra.browser.post("/", data={"do": "hold", "here": here, "at": "\r\nX: 1//evil.example"})
        assert response.status_code == 303
        assert response.headers["location"].startswith("/?")
        assert "x" not in response.headers


@pytest.mark.parametrize(
    ("fault", "attempts", "state"),
    [
        ("timeout", [(None, 200), (200, None)], "delivered"),
        ("status", [(500, 200), (200, None)], "delivered"),
        ("lost", [], "lost"),
    ],
)
def test_what_happens_to_the_next_deliveries_is_chosen_ahead(
    terra: Terra, receiver: Receiver, fault: str, attempts: list[tuple[int | None, int | None]], state: str
) -> None:
    user_id = add_user(terra)
    page = press(terra, "choose", fill={"fault": fault, "times": "2"})
    assert "The next 2 deliveries" in page.text
    for left, event in zip(("The next delivery", "", ""), ("activity", "access_revoked", "deauth"), strict=True):
        page = press(terra, event, user_id=user_id)
        assert ("The next" in page.text) is bool(left)

    expected = 2 * len(attempts) + 1
    receiver.wait_for(expected)
    terra.control("POST", "/retry_now")
    *chosen, normal = terra.control("GET", "/deliveries")
    for delivery in chosen:
        assert [(each["status"], each["received"]) for each in delivery["attempts"]] == attempts
        assert delivery["state"] == state
    assert (normal["state"], len(normal["attempts"])) == ("delivered", 1)
    assert len(receiver.arrivals) == expected


def test_the_next_deliveries_are_sent_twice_or_late(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    terra.control("POST", "/delivery_faults", {"kind": "duplicate"})
    terra.control("POST", "/delivery_faults", {"kind": "delay", "delay_s": 3600})
    for event in ("activity", "access_revoked", "connection_error"):
        terra.control("POST", f"/users/{user_id}/events", {"type": event, "wait": False})

    receiver.wait_for(3)

    assert sorted(arrival.type for arrival in receiver.arrivals) == ["activity", "activity", "connection_error"]
    [late] = [each for each in terra.control("GET", "/deliveries") if each["type"] == "access_revoked"]
    assert (late["state"], late["attempts"]) == ("pending", [])
    assert late["next_attempt_at"] - late["created_at"] == pytest.approx(3600)


def test_faults_of_deliveries_are_listed_cleared_and_checked(terra: Terra, receiver: Receiver) -> None:
    terra.control("POST", "/delivery_faults", {"kind": "status", "status": 503, "times": 2})
    assert terra.control("GET", "/delivery_faults") == [{"kind": "status", "status": 503, "delay_s": 10.0, "times": 2}]
    assert "The next 2 deliveries are answered with 503." in open_page(terra).text
    assert "are answered with" not in press(terra, "choose_nothing").text.partition('<option value="status">')[0]
    assert terra.control("DELETE", "/delivery_faults") == []
    terra.control("POST", "/delivery_faults", {"kind": "unknown"}, expect=400)
    for form in ({"fault": "unknown", "times": "1"}, {"fault": "lost", "times": "0"}, {"fault": "lost"}):
        assert terra.browser.post("/", data={"do": "choose"} | form).status_code == 409
    assert receiver.arrivals == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Host": "elsewhere.example"},
    ],
    ids=str,
)
def test_foreign_web_pages_cannot_read_the_page_or_press_buttons(terra: Terra, headers: dict[str, str]) -> None:
    user_id = add_user(terra)

    assert terra.browser.get("/", headers=headers).status_code == 403
    rejected = terra.browser.post("/", data={"do": "forget", "user_id": user_id}, headers=headers)

    assert rejected.status_code == 403
    assert user_ids(terra) == [user_id]


def test_the_referrer_policy_lets_forms_send_their_origin(terra: Terra) -> None:
    # With no-referrer they send the Origin null, which is rejected.
    assert terra.browser.get("/").headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 400),
        ({"do": "no such thing"}, 400),
        ({"do": "deauth"}, 409),
        ({"do": "deauth", "user_id": "unknown"}, 409),
        ({"do": "reauth_after", "user_id": "unknown"}, 409),
        ({"do": "again", "delivery_id": "unknown"}, 409),
        ({"do": "connect", "provider": "UNKNOWN"}, 409),
    ],
    ids=str,
)
def test_an_impossible_action_is_rejected_with_a_reason(terra: Terra, form: dict[str, str], status: int) -> None:
    response = terra.browser.post("/", data=form)
    assert response.status_code == status
    assert "Nothing was done" in response.text


def test_a_pending_user_cannot_be_reconnected(terra: Terra) -> None:
    login = terra.control("POST", "/logins", {"reference_id": "anna"})
    form = {"do": "reauth_after", "user_id": login["user_id"]}
    assert terra.browser.post("/", data=form).status_code == 409
    terra.control("POST", f"/users/{login['user_id']}/reauth", {}, expect=409)


# -- the same through the control API ---------------------------------------------------------------------------------


def test_the_control_api_starts_a_login_without_finishing_it(terra: Terra) -> None:
    login = terra.control("POST", "/logins", {"reference_id": "anna", "resource": "GARMIN"})

    assert terra.user_info(login["user_id"])["is_authenticated"] is False
    assert "Connect Garmin to your app?" in terra.browser.get(login["auth_url"]).text
    terra.control("POST", "/logins", {"resource": "APPLE"}, expect=400)
    terra.control("POST", "/logins", {"resource": "UNKNOWN"}, expect=400)


@pytest.mark.parametrize(
    ("how", "types", "is_old_named"),
    [
        ({}, ["user_reauth", "auth"], False),
        ({"order": "auth_first"}, ["auth", "user_reauth"], False),
        ({"old_user": "present"}, ["user_reauth", "auth"], True),
        ({"order": "auth_first", "old_user": "present"}, ["auth", "user_reauth"], True),
    ],
    ids=str,
)
def test_the_fields_of_a_reconnect_override_the_settings(
    terra: Terra, receiver: Receiver, how: dict[str, str], types: list[str], *, is_old_named: bool
) -> None:
    terra.set(reauth_order="reauth_first", reauth_old_user="null")
    old = add_user(terra)

    new = terra.control("POST", f"/users/{old}/reauth", how)["user"]["user_id"]

    assert user_ids(terra) == [new]
    assert [arrival.type for arrival in receiver.arrivals] == types
    [reauth] = [arrival.event for arrival in receiver.arrivals if arrival.type == "user_reauth"]
    assert reauth["new_user"]["user_id"] == new
    assert (reauth["old_user"] is not None) is is_old_named
    assert terra.control("GET", "/settings")["reauth_order"] == "reauth_first"


def test_a_webhook_is_replayed_with_forged_headers(terra: Terra, receiver: Receiver) -> None:
    terra.set(refresh_t_on_retry=False)
    user_id = add_user(terra)
    [sent] = terra.control("POST", f"/users/{user_id}/events", {"type": "activity"})["deliveries"]
    again = f"/deliveries/{sent['delivery_id']}/again"

    forged = {"trace_id": "forged", "ordering_timestamp": 99999999999999, "copies": 2, "concurrent": True}
    answers = terra.control("POST", again, forged)
    terra.control("POST", again, {"ordering_timestamp": None})
    terra.control("POST", again, {"sign_anew": True})
    terra.control("POST", "/deliveries/unknown/again", {}, expect=404)

    assert [(response["trace_id"], response["status"]) for response in answers] == [("forged", 200)] * 2
    first, *replays, bare, anew = receiver.arrivals
    assert {arrival.body for arrival in receiver.arrivals} == {first.body}
    assert {arrival.signature for arrival in (*replays, bare)} == {first.signature}
    assert {arrival.headers[ORDERING] for arrival in replays} == {"99999999999999"}
    assert bare.headers[ORDERING] is None
    assert anew.t >= first.t


def test_a_dropped_webhook_can_be_resent(terra: Terra, receiver: Receiver) -> None:
    terra.set(send_webhooks=False)
    user_id = add_user(terra)
    [lost] = terra.control("POST", f"/users/{user_id}/events", {"type": "activity"})["deliveries"]
    assert lost["state"] == "lost"

    [response] = terra.control("POST", f"/deliveries/{lost['delivery_id']}/again", {})

    assert response["status"] == 200
    assert receiver.arrivals[0].headers[TRACE] == lost["trace_id"]


def test_a_permission_change_may_omit_the_current_scopes(terra: Terra, receiver: Receiver) -> None:
    terra.set(permission_change_scopes="absent")
    user_id = add_user(terra)

    terra.control("POST", f"/users/{user_id}/events", {"type": "permission_change", "scopes_removed": "sleep"})

    event = json.loads(receiver.arrivals[0].body)
    assert event["user"]["scopes"] is None
    assert event["scopes_removed"] == "sleep"
    assert "sleep" not in terra.user_info(user_id)["user"]["scopes"]


def test_the_settings_of_data_are_changed_on_the_page(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    changes = {"payload_fault": "wrong_user", "output_format": "json", "large_request_order": "sending chunks"}
    press(terra, "data_settings", fill=changes)
    press(terra, "ping")
    page = press(terra, "send_data", fill={"data_type": "sleep"}, user_id=user_id)

    settings = terra.control("GET", "/settings")
    assert (settings["payload_fault"], settings["large_request_order"]) == ("wrong_user", ["sending", "chunks"])
    assert settings["webhook_delivery"] == "ping"
    assert "s3_payload of sleep" in page.text
    assert terra.browser.get(receiver.wait_for(1)[0].event["url"]).json()["user"]["user_id"] != user_id
    assert "1 URLs have expired." in press(terra, "expire").text
    assert terra.browser.get(receiver.arrivals[0].event["url"]).status_code == 400
    press(terra, "push")
    press(terra, "activity", user_id=user_id)
    assert receiver.wait_for(2)[1].type == "activity"
    assert terra.browser.post("/", data={"do": "data_settings", "output_format": "csv"}).status_code == 409


def test_what_cannot_be_sent_is_explained(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    for button, event_type in (("request_data", "hormone"), ("send_values", "unknown")):
        form = {"do": button, "user_id": user_id, "data_type": event_type}
        assert terra.browser.post("/", data=form).status_code == 409
    assert receiver.arrivals == []


def test_a_large_body_is_shortened_on_the_page(terra: Terra, receiver: Receiver) -> None:
    user_id = add_user(terra)
    press(terra, "send_large", user_id=user_id)

    assert len(receiver.wait_for(1)[0].body) == 10_000_000
    page = open_page(terra, f"?open={terra.control('GET', '/deliveries')[0]['delivery_id']}")
    assert "10,000,000 bytes" in page.text
    assert len(page.text) < 100_000
    assert "anna, Fitbit" in page.text
