"""The simulator's page in a browser without script, and the functions that its buttons share with the control API."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from receiver import Receiver
from simulator_process import Terra

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
            self.forms[-1]["fields"][attributes["name"]] = "FITBIT"
        if tag == "button" and "value" in attributes:
            self.forms[-1]["buttons"].append(attributes["value"])

    def form_with(self, button: str, **fields: str) -> dict[str, str]:
        """Return what the browser sends when this button is pressed in the form with these fields."""
        for form in self.forms:
            if button in form["buttons"] and fields.items() <= form["fields"].items():
                fields_sent: dict[str, str] = form["fields"] | {"do": button}
                return fields_sent
        raise AssertionError((button, fields, [form["buttons"] for form in self.forms]))


def look(terra: Terra, query: str = "") -> Page:
    response = terra.browser.get(f"/{query}")
    assert response.status_code == 200, response.text
    return Page(response.text)


def press(terra: Terra, button: str, *, fill: dict[str, str] | None = None, **where: str) -> Page:
    """Press a button and follow the browser back to the page."""
    form = look(terra).form_with(button, **where) | (fill or {})
    response = terra.browser.post("/", data=form, headers={"Origin": terra.url})
    assert response.status_code == 303, response.text
    assert response.headers["location"].startswith("/")
    return look(terra, response.headers["location"].removeprefix("/").partition("#")[0])


def somebody(terra: Terra, **fields: object) -> str:
    user: str = terra.control("POST", "/users", {"reference_id": "anna", "silent": True, **fields})["user"]["user_id"]
    return user


def known(terra: Terra) -> list[str]:
    return [user["user_id"] for user in terra.control("GET", "/users")]


def test_the_page_works_on_a_phone_and_without_script(terra: Terra) -> None:
    somebody(terra)
    terra.control("POST", "/logins", {"reference_id": "anna"})
    response = terra.browser.get("/")

    assert response.headers["cache-control"] == "no-store"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "form-action 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    page = Page(response.text)
    assert "script" not in page.tags
    assert 'name="viewport"' in page.text
    assert "Terra simulator" in page.text
    assert set(page.inputs) == page.labelled
    assert len(page.ids) == len(set(page.ids))
    assert {form["method"] for form in page.forms} == {"post", "get"}


def test_what_people_and_receivers_write_is_text(terra: Terra, receiver: Receiver) -> None:
    hostile = '"><script>alert(1)</script>'
    user_id = somebody(terra, reference_id=hostile, account=hostile, user_id=hostile)
    terra.control("POST", "/deliveries", {"body": {"type": hostile, "user": {"reference_id": hostile}}})
    page = terra.browser.get("/", params={"person": hostile})

    assert receiver.arrivals
    assert user_id == hostile
    assert "<script" not in page.text
    assert page.text.count("&lt;script&gt;") > 5


def test_looking_changes_nothing(terra: Terra, receiver: Receiver) -> None:
    somebody(terra)
    before = [terra.control("GET", path) for path in ("/users", "/deliveries", "/settings", "/logins")]
    for _ in range(2):
        look(terra)
    assert [terra.control("GET", path) for path in ("/users", "/deliveries", "/settings", "/logins")] == before
    assert receiver.arrivals == []


@pytest.mark.parametrize(
    ("button", "types"),
    [
        ("deauth", ["deauth"]),
        ("access_revoked", ["access_revoked"]),
        ("connection_error", ["connection_error"]),
        ("activity", ["activity"]),
        ("withdraw", ["permission_change"]),
        ("grant", ["permission_change"]),
        ("reauth_after", ["auth", "user_reauth"]),
        ("reauth_before", ["user_reauth", "auth"]),
        ("reauth_null", ["auth", "user_reauth"]),
        ("forget", []),
    ],
)
def test_each_button_of_a_connection_makes_its_events(
    terra: Terra, receiver: Receiver, button: str, types: list[str]
) -> None:
    user_id, other = somebody(terra), somebody(terra, provider="OURA")

    page = press(terra, button, user_id=user_id)

    assert [arrival.type for arrival in receiver.arrivals] == types
    if types:
        assert "was answered 200" in page.text
    assert other in known(terra)
    gone = button in {"deauth", "forget"} or button.startswith("reauth")
    assert (user_id not in known(terra)) is gone


def test_a_reconnect_names_the_old_connection_or_null(terra: Terra, receiver: Receiver) -> None:
    first = somebody(terra)
    press(terra, "reauth_before", user_id=first)
    [second] = known(terra)
    press(terra, "reauth_null", user_id=second)
    [third] = known(terra)

    reauths = [arrival.event for arrival in receiver.arrivals if arrival.type == "user_reauth"]
    assert [reauth["new_user"]["user_id"] for reauth in reauths] == [second, third]
    assert reauths[0]["old_user"]["user_id"] == first
    assert reauths[1]["old_user"] is None
    assert {reauth["new_user"]["reference_id"] for reauth in reauths} == {"anna"}
    assert terra.user_info(third)["is_authenticated"] is True


def test_a_permission_change_says_what_changed_and_what_is_granted_now(terra: Terra, receiver: Receiver) -> None:
    user_id = somebody(terra, provider="OURA")

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


def test_somebody_connects_with_or_without_a_word(terra: Terra, receiver: Receiver) -> None:
    page = press(terra, "connect", fill={"reference_id": "bob", "provider": "OURA", "account": "bob's"})
    assert "bob&#x27;s Oura connected. auth was answered 200" in page.text
    page = press(terra, "connect_silently", fill={"reference_id": "bob", "provider": "GARMIN"})
    assert "Nobody was told." in page.text

    assert [arrival.event["user"]["provider"] for arrival in receiver.arrivals] == ["OURA"]
    assert [user["provider"] for user in terra.control("GET", "/users")] == ["OURA", "GARMIN"]


def test_a_login_that_nobody_finishes_is_in_terras_lists_and_can_be_opened(terra: Terra, receiver: Receiver) -> None:
    page = press(terra, "begin_login", fill={"reference_id": "bob"})

    assert "login never finished" in page.text
    [user] = terra.back_end.get("/api/v2/subscriptions").json()["users"]
    assert user["reference_id"] == "bob"
    assert terra.user_info(user["user_id"])["is_authenticated"] is False
    opened = re.search(r'href="(/login/[^"]+)"', page.text)
    assert opened
    assert "Connect Fitbit?" in terra.browser.get(opened.group(1)).text
    assert receiver.arrivals == []
    press(terra, "forget", user_id=user["user_id"])
    assert known(terra) == []
    refused = terra.browser.post("/", data={"do": "begin_login", "provider": "APPLE"})
    assert refused.status_code == 409


def test_webhooks_get_lost_while_they_shall(terra: Terra, receiver: Receiver) -> None:
    user_id = somebody(terra)
    assert "get lost" in press(terra, "lose").text
    page = press(terra, "connection_error", user_id=user_id)
    assert "was never sent" in page.text
    press(terra, "send")
    press(terra, "activity", user_id=user_id)
    assert [arrival.type for arrival in receiver.arrivals] == ["activity"]


@pytest.mark.parametrize(
    ("button", "arriving"),
    [("release", ["access_revoked", "deauth"]), ("release_reversed", ["deauth", "access_revoked"]), ("drop", [])],
)
def test_held_webhooks_go_out_in_either_order_or_never(
    terra: Terra, receiver: Receiver, button: str, arriving: list[str]
) -> None:
    user_id = somebody(terra)
    press(terra, "hold")
    press(terra, "access_revoked", user_id=user_id)
    assert "Held back: 2" in press(terra, "deauth", user_id=user_id).text
    assert receiver.arrivals == []

    assert "Held back: 0" in press(terra, button).text

    assert [arrival.type for arrival in receiver.arrivals] == arriving
    press(terra, "connect")
    assert receiver.arrivals[-1].type == "auth"


def test_single_held_webhooks_go_out_or_get_lost(terra: Terra, receiver: Receiver) -> None:
    user_id = somebody(terra)
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


def test_each_webhook_is_sent_twice_while_it_shall(terra: Terra, receiver: Receiver) -> None:
    user_id = somebody(terra)
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


def test_a_webhook_is_sent_again_as_it_was_or_under_a_new_trace_id(terra: Terra, receiver: Receiver) -> None:
    user_id = somebody(terra)
    press(terra, "activity", user_id=user_id)
    [delivery] = terra.control("GET", "/deliveries")

    press(terra, "again", delivery_id=delivery["delivery_id"])
    press(terra, "replay", delivery_id=delivery["delivery_id"])

    first, again, replay = receiver.arrivals
    assert first.body == again.body == replay.body
    assert first.signature == again.signature == replay.signature
    assert first.headers[ORDERING] == again.headers[ORDERING] == replay.headers[ORDERING]
    assert first.headers[TRACE] == again.headers[TRACE] != replay.headers[TRACE]


def test_what_is_pending_is_tried_at_once(terra: Terra, receiver: Receiver) -> None:
    terra.set(retry_scale=1)
    user_id = somebody(terra)
    receiver.answers.append(503)
    assert "was answered 503" in press(terra, "activity", user_id=user_id).text

    page = press(terra, "retry")

    assert "Sent 2 times; the last one was answered 200" in page.text
    assert "Pending: 0" in page.text


def test_a_person_can_be_looked_at_alone(terra: Terra) -> None:
    anna, bob = somebody(terra), somebody(terra, reference_id="bob")
    terra.control("POST", f"/users/{bob}/events", {"type": "activity"})

    page = look(terra, "?person=anna")

    assert f"user-{anna}" in page.ids
    assert f"user-{bob}" not in page.ids
    assert "None yet." in page.text
    form = page.form_with("activity", user_id=anna)
    assert terra.browser.post("/", data=form).headers["location"] == f"/?person=anna#user-{anna}"


def test_the_page_stays_small_with_many_people(terra: Terra) -> None:
    for number in range(60):
        somebody(terra, reference_id=f"person-{number:02}")

    page = look(terra)

    assert "People and connections: 60" in page.text
    assert "And 10 older ones." in page.text
    assert sum(place.startswith("user-") for place in page.ids) == 50


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
def test_no_page_of_another_site_sees_it_or_presses_a_button(terra: Terra, headers: dict[str, str]) -> None:
    user_id = somebody(terra)

    assert terra.browser.get("/", headers=headers).status_code == 403
    refused = terra.browser.post("/", data={"do": "forget", "user_id": user_id}, headers=headers)

    assert refused.status_code == 403
    assert known(terra) == [user_id]


def test_the_page_lets_browsers_send_their_origin_with_its_forms(terra: Terra) -> None:
    # With no-referrer they send the Origin null, which is rejected.
    assert terra.browser.get("/").headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({}, 400),
        ({"do": "no such thing"}, 400),
        ({"do": "deauth"}, 409),
        ({"do": "deauth", "user_id": "gone"}, 409),
        ({"do": "reauth_after", "user_id": "gone"}, 409),
        ({"do": "again", "delivery_id": "gone"}, 409),
        ({"do": "connect", "provider": "NOBODY"}, 409),
    ],
    ids=str,
)
def test_a_button_for_what_is_gone_says_so(terra: Terra, form: dict[str, str], status: int) -> None:
    answer = terra.browser.post("/", data=form)
    assert answer.status_code == status
    assert "Nothing was done" in answer.text


def test_who_never_connected_cannot_connect_again(terra: Terra) -> None:
    login = terra.control("POST", "/logins", {"reference_id": "anna"})
    form = {"do": "reauth_after", "user_id": login["user_id"]}
    assert terra.browser.post("/", data=form).status_code == 409
    terra.control("POST", f"/users/{login['user_id']}/reauth", {}, expect=409)


# -- the same through the control API ---------------------------------------------------------------------------------


def test_a_login_is_begun_and_left_by_the_control_api(terra: Terra) -> None:
    login = terra.control("POST", "/logins", {"reference_id": "anna", "resource": "GARMIN"})

    assert terra.user_info(login["user_id"])["is_authenticated"] is False
    assert "Connect Garmin?" in terra.browser.get(login["auth_url"]).text
    terra.control("POST", "/logins", {"resource": "APPLE"}, expect=400)
    terra.control("POST", "/logins", {"resource": "NOBODY"}, expect=400)


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
def test_a_reconnect_is_as_ordered_and_else_as_the_settings_say(
    terra: Terra, receiver: Receiver, how: dict[str, str], types: list[str], *, is_old_named: bool
) -> None:
    terra.set(reauth_order="reauth_first", reauth_old_user="null")
    old = somebody(terra)

    new = terra.control("POST", f"/users/{old}/reauth", how)["user"]["user_id"]

    assert known(terra) == [new]
    assert [arrival.type for arrival in receiver.arrivals] == types
    [reauth] = [arrival.event for arrival in receiver.arrivals if arrival.type == "user_reauth"]
    assert reauth["new_user"]["user_id"] == new
    assert (reauth["old_user"] is not None) is is_old_named
    assert terra.control("GET", "/settings")["reauth_order"] == "reauth_first"


def test_a_captured_webhook_is_replayed_with_forged_headers(terra: Terra, receiver: Receiver) -> None:
    terra.set(refresh_t_on_retry=False)
    user_id = somebody(terra)
    [sent] = terra.control("POST", f"/users/{user_id}/events", {"type": "activity"})["deliveries"]
    again = f"/deliveries/{sent['delivery_id']}/again"

    forged = {"trace_id": "forged", "ordering_timestamp": 99999999999999, "copies": 2, "concurrent": True}
    answers = terra.control("POST", again, forged)
    terra.control("POST", again, {"ordering_timestamp": None})
    terra.control("POST", again, {"sign_anew": True})
    terra.control("POST", "/deliveries/gone/again", {}, expect=404)

    assert [(answer["trace_id"], answer["status"]) for answer in answers] == [("forged", 200)] * 2
    first, *replays, bare, anew = receiver.arrivals
    assert {arrival.body for arrival in receiver.arrivals} == {first.body}
    assert {arrival.signature for arrival in (*replays, bare)} == {first.signature}
    assert {arrival.headers[ORDERING] for arrival in replays} == {"99999999999999"}
    assert bare.headers[ORDERING] is None
    assert anew.t >= first.t


def test_a_lost_webhook_can_still_be_sent(terra: Terra, receiver: Receiver) -> None:
    terra.set(send_webhooks=False)
    user_id = somebody(terra)
    [lost] = terra.control("POST", f"/users/{user_id}/events", {"type": "activity"})["deliveries"]
    assert lost["state"] == "lost"

    [answer] = terra.control("POST", f"/deliveries/{lost['delivery_id']}/again", {})

    assert answer["status"] == 200
    assert receiver.arrivals[0].headers[TRACE] == lost["trace_id"]


def test_a_permission_change_may_leave_out_what_is_granted_now(terra: Terra, receiver: Receiver) -> None:
    terra.set(permission_change_scopes="absent")
    user_id = somebody(terra)

    terra.control("POST", f"/users/{user_id}/events", {"type": "permission_change", "scopes_removed": "sleep"})

    event = json.loads(receiver.arrivals[0].body)
    assert event["user"]["scopes"] is None
    assert event["scopes_removed"] == "sleep"
    assert "sleep" not in terra.user_info(user_id)["user"]["scopes"]
