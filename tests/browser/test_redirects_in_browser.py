"""The redirects from Terra, in a real browser on the running stack."""

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from terra_connections.redirects.language import LANGUAGES
from tests.support.api import connections_of, create_session, query_of, session_status
from tests.support.chromium import PHONE, OpenPage
from tests.support.terra import Terra
from tests.support.texts import texts_in
from tests.support.waiting import eventually

CONNECTED = "Fitbit is connected"
WAITING = "Almost there"
CANCELLED = "Fitbit was not connected"
TIMEOUT = 30_000
"""Milliseconds that a page may need on a busy machine."""


@pytest.fixture(autouse=True)
def _simulator(terra: Terra) -> None:
    """Reset the simulator before and after each test."""


def press(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=name)
    button.wait_for()
    # Chromium drops a click on an element that it has not painted yet. Without script Playwright cannot wait for that.
    page.screenshot()
    button.click()


def decide(page: Page, auth_url: str, decision: str = "Allow") -> None:
    page.goto(auth_url)
    press(page, decision)


def expect_title(page: Page, title: str) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(title, timeout=TIMEOUT)


def test_a_successful_login_shows_the_connected_page(
    chromium: OpenPage, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    page = chromium()
    requests: list[str] = []
    messages: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: messages.append(message.text))
    session = create_session(api, reference_id)
    decide(page, session["auth_url"])
    expect_title(page, CONNECTED)
    assert session_status(api, session)["status"] == "connected"
    addresses = (str(api.base_url), str(terra.client.base_url))
    assert [url for url in requests if not url.startswith(addresses)] == []
    assert messages == []


def test_a_denied_login_shows_the_cancelled_page(chromium: OpenPage, api: httpx.Client, reference_id: str) -> None:
    page = chromium()
    session = create_session(api, reference_id)
    decide(page, session["auth_url"], "Deny")
    expect_title(page, CANCELLED)
    assert session_status(api, session)["reason"] == "access_denied"


def test_a_repair_shows_that_the_wearable_is_still_not_connected_and_then_that_it_is(
    chromium: OpenPage, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    page = chromium()
    user_id = terra.connect(reference_id)["user_id"]
    eventually(lambda: connections_of(api, reference_id))
    terra.happen(user_id, "connection_error")
    eventually(lambda: connections_of(api, reference_id)[0]["status"] == "needs_reauth")
    session = api.post("/sessions", json={"user_id": user_id}).raise_for_status().json()
    decide(page, session["auth_url"], "Deny")
    expect_title(page, "Fitbit is still not connected")
    press(page, "Try again")
    press(page, "Allow")
    expect_title(page, CONNECTED)
    [connection] = eventually(lambda: connections_of(api, reference_id))
    assert connection["status"] == "connected"
    assert connection["user_id"] != user_id


def test_a_second_attempt_after_a_denied_login_connects(
    chromium: OpenPage, api: httpx.Client, reference_id: str
) -> None:
    page = chromium()
    session = create_session(api, reference_id)
    decide(page, session["auth_url"], "Deny")
    press(page, "Try again")
    press(page, "Allow")
    expect_title(page, CONNECTED)
    assert session_status(api, session)["status"] in {"connected", "failed"}
    assert [found["provider"] for found in connections_of(api, reference_id)] == ["FITBIT"]


def test_history_navigation_and_reloads_change_nothing(
    chromium: OpenPage, api: httpx.Client, reference_id: str
) -> None:
    page = chromium()
    session = create_session(api, reference_id)
    decide(page, session["auth_url"])
    expect_title(page, CONNECTED)
    connected = connections_of(api, reference_id)
    page.reload()
    expect_title(page, CONNECTED)
    page.go_back()
    expect(page.get_by_role("button", name="Allow")).to_have_count(0, timeout=TIMEOUT)
    page.go_forward()
    expect_title(page, CONNECTED)
    assert session_status(api, session)["status"] == "connected"
    assert connections_of(api, reference_id) == connected


def test_a_login_in_two_tabs_creates_one_connection(chromium: OpenPage, api: httpx.Client, reference_id: str) -> None:
    one = chromium()
    other = one.context.new_page()
    session = create_session(api, reference_id)
    for tab in (one, other):
        tab.goto(session["auth_url"])
    for tab in (one, other):
        press(tab, "Allow")
        expect_title(tab, CONNECTED)
    assert len(connections_of(api, reference_id)) == 1


def test_a_login_connects_even_if_its_tab_is_closed_before_the_redirect(
    chromium: OpenPage, api: httpx.Client, reference_id: str
) -> None:
    page = chromium()
    empty_tab = page.context.new_page()
    page.route("**/auth/success?*", lambda route: route.abort())
    session = create_session(api, reference_id)
    page.goto(session["auth_url"])
    with page.expect_request("**/auth/success?*", timeout=TIMEOUT):
        press(page, "Allow")
    page.close()
    empty_tab.close()
    eventually(lambda: session_status(api, session)["status"] == "connected")


def test_the_waiting_page_reloads_until_terra_confirms_the_login(
    chromium: OpenPage, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.hold()
    terra.fault("/userInfo", "status", status=503)
    page = chromium()
    session = create_session(api, reference_id)
    decide(page, session["auth_url"])
    expect_title(page, WAITING)
    assert session_status(api, session)["status"] == "pending"
    terra.release()
    expect_title(page, CONNECTED)


def test_all_pages_work_without_javascript(
    chromium: OpenPage, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    page = chromium(java_script_enabled=False)
    terra.hold()
    terra.fault("/userInfo", "status", status=503)
    session = create_session(api, reference_id, return_to="android")
    decide(page, session["auth_url"], "Deny")
    expect_title(page, CANCELLED)
    press(page, "Try again")
    press(page, "Allow")
    expect_title(page, WAITING)
    expect(page.get_by_role("link", name="Back to the app")).to_be_visible()
    terra.release()
    expect_title(page, CONNECTED)


@pytest.mark.parametrize("return_to", [None, "ios", "android"])
def test_buttons_on_a_phone_are_large_enough(
    chromium: OpenPage, api: httpx.Client, reference_id: str, return_to: str | None
) -> None:
    page = chromium(**PHONE)
    decide(page, create_session(api, reference_id, return_to=return_to)["auth_url"], "Deny")
    expect_title(page, CANCELLED)
    buttons = [box for button in page.locator(".button").all() if (box := button.bounding_box())]
    assert len(buttons) == (1 if return_to is None else 2)
    assert all(box["height"] >= 48 and box["width"] >= 0.75 * 390 for box in buttons)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


# -- return to the app -------------------------------------------------------------------------------------------------


def navigations(page: Page) -> list[str]:
    """Record every URL that the page's frame requests, including those that a browser cannot load."""
    addresses: list[str] = []
    devtools = page.context.new_cdp_session(page)
    devtools.send("Page.enable")
    devtools.on("Page.frameRequestedNavigation", lambda event: addresses.append(event["url"]))
    return addresses


def expect_navigation(page: Page, addresses: list[str], url: str) -> None:
    def was_requested() -> bool:
        page.wait_for_timeout(50)  # Playwright receives events only during a call
        return url in addresses

    eventually(was_requested, within=TIMEOUT / 1000)


def test_a_web_return_target_is_redirected_to_immediately(
    chromium: OpenPage, api: httpx.Client, reference_id: str
) -> None:
    page = chromium()
    session = create_session(api, reference_id, return_to="web")
    page.goto(session["auth_url"])
    with page.expect_request("**/connected?*", timeout=TIMEOUT) as requested:
        press(page, "Allow")
    expected = {"session_id": session["session_id"], "status": "connected", "resource": "FITBIT"}
    assert query_of(requested.value.url) == expected


def test_a_custom_scheme_is_opened_automatically_and_has_a_button(
    chromium: OpenPage, api: httpx.Client, reference_id: str
) -> None:
    page = chromium()
    session = create_session(api, reference_id, return_to="ios")
    addresses = navigations(page)
    decide(page, session["auth_url"])
    expect_title(page, CONNECTED)
    href = page.get_by_role("link", name="Back to the app").get_attribute("href")
    assert href
    assert href.startswith("terraconnections-demo://connected?")
    assert query_of(href) == {"session_id": session["session_id"], "status": "connected", "resource": "FITBIT"}
    # Chromium now asks whether to open the app, which blocks all clicks on the page.
    expect_navigation(page, addresses, href)


def test_the_waiting_page_has_a_button_to_the_app_and_no_automatic_redirect(
    chromium: OpenPage, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.hold()
    terra.fault("/userInfo", "status", status=503)
    page = chromium()
    session = create_session(api, reference_id, return_to="ios")
    addresses = navigations(page)
    decide(page, session["auth_url"])
    expect_title(page, WAITING)
    back = page.get_by_role("link", name="Back to the app")
    href = back.get_attribute("href")
    assert href
    assert query_of(href)["status"] == "pending"
    assert href not in addresses
    back.click(no_wait_after=True)
    expect_navigation(page, addresses, href)


def test_an_android_app_is_opened_only_by_the_button(chromium: OpenPage, api: httpx.Client, reference_id: str) -> None:
    page = chromium(**PHONE)
    session = create_session(api, reference_id, return_to="android")
    with page.expect_response("**/auth/failure?*", timeout=TIMEOUT) as response:
        decide(page, session["auth_url"], "Deny")
    assert "refresh" not in response.value.headers
    expect_title(page, CANCELLED)
    href = page.get_by_role("link", name="Back to the app").get_attribute("href")
    assert href
    address, _, extras = href.partition("#Intent;")
    assert address.startswith("intent://connected?")
    expected = {
        "session_id": session["session_id"],
        "status": "failed",
        "resource": "FITBIT",
        "reason": "access_denied",
    }
    assert query_of(address) == expected
    assert re.fullmatch(
        r"scheme=terraconnections-demo;package=com\.example\.terraconnections;S\.browser_fallback_url=http%3A[^;]+;end",
        extras,
    )


# -- languages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_are_in_the_language_of_the_session(
    chromium: OpenPage, api: httpx.Client, reference_id: str, language: str
) -> None:
    page = chromium(locale="en-GB" if language != "en" else "de-DE")
    session = create_session(api, reference_id, language=f"{language}-XX", return_to="ios")
    decide(page, session["auth_url"])
    expect_title(page, texts_in(language)["connected"]["title_of"].replace("{provider}", "Fitbit"))
    expect(page.get_by_text(texts_in(language)["connected"]["text_back"])).to_be_visible()
    html = page.locator("html")
    expect(html).to_have_attribute("lang", language)
    expect(html).to_have_attribute("dir", "rtl" if language == "ar" else "ltr")
    expect(page.get_by_role("link", name=texts_in(language)["back"])).to_be_visible()


@pytest.mark.parametrize(("locale", "language"), [("pt-BR", "pt"), ("ar-EG", "ar"), ("ja", "ja"), ("zh-CN", "en")])
def test_pages_without_a_session_are_in_the_language_of_the_browser(
    chromium: OpenPage, api: httpx.Client, locale: str, language: str
) -> None:
    page = chromium(locale=locale)
    response = page.goto(str(api.base_url.join("/auth/success?session=unknown&state=unknown")))
    assert response
    assert response.status == httpx.codes.BAD_REQUEST
    expect_title(page, texts_in(language)["unknown_link"]["title"])
    expect(page.locator("html")).to_have_attribute("lang", language)
