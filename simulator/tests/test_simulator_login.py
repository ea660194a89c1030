import re
from urllib.parse import urlsplit

import pytest

from receiver import Receiver
from simulator_process import Terra, query_of

SUCCESS = "https://app.example/success?state=s3cret&lang=de"
FAILURE = "https://app.example/failure?state=s3cret"


def test_the_consent_page_names_the_simulator_and_needs_no_script(terra: Terra) -> None:
    page = terra.browser.get(terra.authenticate("<b>anna", "GARMIN")["auth_url"])

    assert page.status_code == 200
    assert page.headers["cache-control"] == "no-store"
    assert "Terra simulator" in page.text
    assert "Garmin" in page.text
    assert "&lt;b&gt;anna" in page.text
    assert "<b>anna" not in page.text
    assert "<script" not in page.text
    assert 'name="viewport"' in page.text
    assert re.findall(r'name="decision" value="(\w+)"', page.text) == ["allow", "deny"]
    assert "unsafe" not in page.headers["content-security-policy"]


def test_the_consent_page_names_the_provider_the_app_and_the_scopes(terra: Terra) -> None:
    terra.set(app_name="<i>Pulse")
    page = terra.browser.get(terra.authenticate(resource="OURA")["auth_url"]).text

    assert "Connect Oura to &lt;i&gt;Pulse?" in page
    assert "Oura <small>(simulated)</small>" in page
    assert re.findall(r"<li>(\w+)</li>", page) == ["daily", "heartrate", "personal", "session", "workout"]
    assert "Use a different account name to simulate a second device." in page


def test_showing_the_consent_page_changes_nothing(terra: Terra, receiver: Receiver) -> None:
    started = terra.authenticate()

    for _ in range(2):
        terra.browser.get(started["auth_url"])

    assert terra.user_info(started["user_id"])["is_authenticated"] is False
    assert receiver.arrivals == []


def test_allow_redirects_to_success_with_the_parameters_of_terra(terra: Terra, receiver: Receiver) -> None:
    started = terra.authenticate("anna", auth_success_redirect_url=SUCCESS)

    response = terra.decide(started["auth_url"])

    assert response.status_code == 303
    location = response.headers["location"]
    assert location.startswith(f"{SUCCESS}&")
    assert query_of(location) == {
        "state": "s3cret",
        "lang": "de",
        "user_id": started["user_id"],
        "resource": "FITBIT",
        "reference_id": "anna",
    }
    (arrival,) = receiver.wait_for(1)
    assert arrival.event["status"] == "success"
    assert arrival.event["user"]["user_id"] == started["user_id"]
    assert arrival.event["user"]["reference_id"] == "anna"
    assert "reference_id" not in arrival.event


def test_the_order_of_redirect_parameters_varies(terra: Terra) -> None:
    orders = set()
    for _ in range(6):
        started = terra.authenticate(auth_success_redirect_url="https://app.example/")
        orders.add(tuple(query_of(terra.decide(started["auth_url"]).headers["location"])))

    assert len(orders) == 6


def test_a_redirect_without_reference_id_contains_null_and_may_lack_the_resource(terra: Terra) -> None:
    terra.set(redirect_omits=["resource"], redirect_order=["reference_id", "resource", "user_id"])
    started = terra.authenticate(None, auth_success_redirect_url="myapp://connected")

    location = terra.decide(started["auth_url"]).headers["location"]

    assert location == f"myapp://connected?reference_id=null&user_id={started['user_id']}"


def test_a_login_without_a_redirect_url_ends_on_a_page(terra: Terra) -> None:
    started = terra.authenticate()

    response = terra.decide(started["auth_url"])

    assert response.status_code == 200
    assert "You are connected" in response.text


def test_deny_redirects_to_failure_and_its_webhook_contains_no_user(terra: Terra, receiver: Receiver) -> None:
    started = terra.authenticate("anna", auth_failure_redirect_url=FAILURE)

    location = terra.decide(started["auth_url"], "deny").headers["location"]

    assert location.startswith(f"{FAILURE}&")
    assert query_of(location)["reason"] == "access_denied"
    (arrival,) = receiver.wait_for(1)
    assert arrival.type == "auth_cancelled"
    assert arrival.event.keys() == {"type", "status", "reason", "reference_id", "flow_id"}
    assert (arrival.event["status"], arrival.event["reason"]) == ("error", "access_denied")
    assert terra.user_info(started["user_id"])["is_authenticated"] is False


def test_settings_select_the_older_webhook_shapes(terra: Terra, receiver: Receiver) -> None:
    terra.set(cancel_shape="old", success_shape="old", redirect_waits_for_webhook=True)

    denied = terra.authenticate("anna")
    terra.decide(denied["auth_url"], "deny")
    terra.connect("anna")

    cancelled, connected = (arrival.event for arrival in receiver.wait_for(2))
    assert (cancelled["type"], cancelled["status"]) == ("auth", "error")
    assert cancelled["user"]["user_id"] == denied["user_id"]
    assert {"provider", "reason", "widget_session_id"} <= cancelled.keys()
    assert connected["reference_id"] == connected["user"]["reference_id"] == "anna"


@pytest.mark.parametrize("first", ["allow", "deny"])
@pytest.mark.parametrize("second", ["allow", "deny"])
def test_a_login_is_finished_once(terra: Terra, receiver: Receiver, first: str, second: str) -> None:
    started = terra.authenticate(auth_success_redirect_url=SUCCESS, auth_failure_redirect_url=FAILURE)
    terra.set(redirect_waits_for_webhook=True)

    locations = [terra.decide(started["auth_url"], choice).headers["location"] for choice in (first, second)]

    assert locations[0] == locations[1]
    assert len(receiver.arrivals) == 1
    assert "This login is finished" in terra.browser.get(started["auth_url"]).text


def test_an_invalid_decision_or_login_is_rejected(terra: Terra) -> None:
    assert terra.decide(terra.authenticate()["auth_url"], "").status_code == 400
    assert terra.browser.get("/login/unknown").status_code == 404
    assert terra.browser.post("/login/unknown").status_code == 404


def test_the_login_of_a_removed_user_returns_404(terra: Terra) -> None:
    started = terra.authenticate()
    terra.back_end.delete("/api/v2/auth/deauthenticateUser", params={"user_id": started["user_id"]})

    assert terra.decide(started["auth_url"]).status_code == 404


@pytest.mark.parametrize(
    ("order", "types"), [("auth_first", ["auth", "user_reauth"]), ("reauth_first", ["user_reauth", "auth"])]
)
def test_connecting_the_same_account_replaces_the_connection(
    terra: Terra, receiver: Receiver, order: str, types: list[str]
) -> None:
    terra.set(reauth_order=order)
    old = terra.connect("anna")
    receiver.wait_for(1)

    new = terra.connect("anna")

    again = receiver.wait_for(3)[1:]
    assert [arrival.type for arrival in again] == types
    events = {arrival.type: arrival.event for arrival in again}
    assert events["auth"]["user"]["user_id"] == events["user_reauth"]["new_user"]["user_id"] == new
    assert events["user_reauth"]["old_user"]["user_id"] == old
    assert terra.back_end.get("/api/v2/userInfo", params={"user_id": old}).status_code == 404


def test_the_old_user_of_a_reconnect_may_be_null(terra: Terra, receiver: Receiver) -> None:
    terra.set(reauth_old_user="null", redirect_waits_for_webhook=True)
    terra.connect("anna")
    terra.connect("anna")

    assert receiver.wait_for(3)[2].event["old_user"] is None


def test_connecting_after_a_disconnect_sends_no_user_reauth(terra: Terra, receiver: Receiver) -> None:
    terra.set(redirect_waits_for_webhook=True)
    user_id = terra.connect("anna")
    terra.back_end.delete("/api/v2/auth/deauthenticateUser", params={"user_id": user_id})
    receiver.wait_for(2)
    terra.connect("anna")

    assert [arrival.type for arrival in receiver.arrivals] == ["auth", "deauth", "auth"]


def test_another_account_of_a_user_is_a_second_connection(terra: Terra, receiver: Receiver) -> None:
    first = terra.connect("anna", account="left wrist")
    second = terra.connect("anna", account="right wrist")

    assert [arrival.type for arrival in receiver.wait_for(2)] == ["auth", "auth"]
    assert terra.user_info(first)["is_authenticated"]
    assert terra.user_info(second)["is_authenticated"]


@pytest.mark.parametrize(("setting", "status"), [("both_live", 200), ("first_vanishes", 404)])
def test_the_same_account_of_another_user_follows_the_setting(
    terra: Terra, receiver: Receiver, setting: str, status: int
) -> None:
    terra.set(same_account_elsewhere=setting, redirect_waits_for_webhook=True)
    first = terra.connect("anna", account="shared")
    terra.connect("berta", account="shared")

    assert terra.back_end.get("/api/v2/userInfo", params={"user_id": first}).status_code == status
    assert [arrival.type for arrival in receiver.arrivals] == ["auth", "auth"]


def test_the_final_user_id_may_differ_from_the_pre_issued_one(terra: Terra, receiver: Receiver) -> None:
    terra.set(final_user_id="other")
    started = terra.authenticate(auth_success_redirect_url=SUCCESS)

    final = query_of(terra.decide(started["auth_url"]).headers["location"])["user_id"]

    assert final != started["user_id"]
    assert receiver.wait_for(1)[0].event["user"]["user_id"] == final
    assert terra.back_end.get("/api/v2/userInfo", params={"user_id": started["user_id"]}).status_code == 404


def open_widget(terra: Terra) -> dict[str, str]:
    fields = {
        "providers": "FITBIT,APPLE",
        "reference_id": "anna",
        "auth_success_redirect_url": SUCCESS,
        "auth_failure_redirect_url": FAILURE,
    }
    response: dict[str, str] = terra.back_end.post("/api/widget/session", json=fields).json()
    return response


def test_the_widget_leads_to_the_login_of_the_chosen_provider(terra: Terra, receiver: Receiver) -> None:
    widget = open_widget(terra)

    picked = terra.browser.post(widget["url"], data={"provider": "FITBIT"})
    assert picked.status_code == 303
    assert "Connect Fitbit to your app?" in terra.browser.get(picked.headers["location"]).text
    location = terra.decide(picked.headers["location"]).headers["location"]

    (arrival,) = receiver.wait_for(1)
    assert arrival.event["widget_session_id"] == widget["session_id"]
    assert query_of(location)["user_id"] == arrival.event["user"]["user_id"]
    assert terra.user_info(arrival.event["user"]["user_id"])["user"]["reference_id"] == "anna"


def test_choosing_an_sdk_provider_redirects_to_success_without_a_connection(terra: Terra) -> None:
    location = terra.browser.post(open_widget(terra)["url"], data={"provider": "APPLE"}).headers["location"]

    assert urlsplit(location).path == "/success"
    assert (query_of(location)["user_id"], query_of(location)["resource"]) == ("null", "APPLE")
    assert terra.control("GET", "/users") == []
    assert terra.control("GET", "/deliveries") == []


def test_cancelling_the_widget_redirects_to_failure(terra: Terra, receiver: Receiver) -> None:
    location = terra.browser.post(open_widget(terra)["url"], data={"decision": "deny"}).headers["location"]

    assert urlsplit(location).path == "/failure"
    assert receiver.wait_for(1)[0].type == "auth_cancelled"


def test_the_widget_rejects_providers_outside_its_list(terra: Terra) -> None:
    assert terra.browser.post(open_widget(terra)["url"], data={"provider": "OURA"}).status_code == 400


def test_a_widget_session_expires(terra: Terra) -> None:
    widget = open_widget(terra)
    terra.set(widget_expires_in_s=0)

    assert terra.browser.get(widget["url"]).status_code == 410
    assert terra.browser.post(widget["url"], data={"provider": "FITBIT"}).status_code == 410
