"""The demo in a real browser on the running stack, with a user token of the local issuer: the walks of a user."""

import json
import re

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from local.testing import Stack
from tests.support.api import connections_of, create_session, decide
from tests.support.chromium import DESKTOP, PHONE, OpenPage, wait_until
from tests.support.demo_page import (
    TIMEOUT,
    connect,
    examine,
    expect_close,
    expect_message,
    login_tab,
    options,
    row,
    sign_in,
)
from tests.support.terra import Terra


def errors_of(page: Page) -> list[str]:
    """Return a list that gets every error of the browser's console."""
    errors: list[str] = []
    page.context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.context.on("weberror", lambda error: errors.append(str(error.error)))
    return errors


# --- connect ----------------------------------------------------------------------------------------------------------


def test_a_user_connects_the_first_wearable(
    chromium: OpenPage, stack: Stack, api: httpx.Client, reference_id: str
) -> None:
    page = chromium(**DESKTOP)
    errors = errors_of(page)
    sign_in(page, stack, reference_id)
    expect(page.get_by_text("No wearables yet")).to_be_visible(timeout=TIMEOUT)
    expect(page.get_by_text("Pulse never sees your password")).to_be_visible(timeout=TIMEOUT)
    examine(page, "empty")
    tab = login_tab(page, connect(page, "Fitbit"))
    assert tab.evaluate("window.opener") is None
    expect(page.get_by_text("You will sign in at Fitbit. Pulse never sees your password.")).to_be_visible()
    examine(page, "waiting")
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_message(page, "Fitbit is connected")
    expect(row(page, "Fitbit")).to_contain_text("Connected · added just now", timeout=TIMEOUT)
    expect(row(page, "Fitbit").locator("img")).to_be_visible()
    expect(page.get_by_role("button", name="Connect another Fitbit")).to_be_visible()
    examine(page, "connected")
    (connection,) = connections_of(api, reference_id)
    assert (connection["provider"], connection["status"]) == ("FITBIT", "connected")
    assert errors == []


def test_a_user_who_declines_can_try_again(
    chromium: OpenPage, stack: Stack, api: httpx.Client, reference_id: str
) -> None:
    page = sign_in(chromium(**PHONE), stack, reference_id)
    tab = login_tab(page, connect(page, "Garmin"))
    with expect_close(tab):
        tab.get_by_role("button", name="Deny").click()
    expect_message(page, "Garmin was not connected", "You declined access. Nothing was shared.")
    assert connections_of(api, reference_id) == []
    examine(page, "declined")
    tab = login_tab(page, page.get_by_role("button", name="Try again"))
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_message(page, "Garmin is connected")


def test_a_user_picks_the_provider_on_terra_s_page(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    page = sign_in(chromium(**PHONE), stack, reference_id)
    tab = login_tab(page, page.get_by_role("button", name="Browse all providers"))
    tab.get_by_role("button", name="WHOOP").click()
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_message(page, "WHOOP is connected")


def test_on_a_phone_the_outcome_is_in_view_wherever_the_page_is_scrolled(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    for provider in ("FITBIT", "OURA", "POLAR"):
        terra.connect(reference_id, provider=provider)
    page = sign_in(chromium(**PHONE), stack, reference_id)
    expect(row(page, "Polar")).to_be_visible(timeout=TIMEOUT)
    connect(page, "Withings").scroll_into_view_if_needed(timeout=TIMEOUT)
    tab = login_tab(page, connect(page, "Withings"))
    expect(page.get_by_role("button", name="Cancel")).to_be_in_viewport(timeout=TIMEOUT)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_message(page, "Withings is connected")
    message = page.locator(".toast").bounding_box()
    assert message
    assert message["y"] > PHONE["viewport"]["height"] / 2  # type: ignore[index]


def test_the_login_tab_opens_before_the_api_responds(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    """Browsers block a tab opened after an await as a pop-up, so the demo opens the tab before the response arrives."""
    page = sign_in(chromium(), stack, reference_id)
    held: list[Route] = []
    page.route("**/sessions", lambda route: held.append(route) if route.request.method == "POST" else route.continue_())
    with page.expect_popup(timeout=TIMEOUT) as opened:
        connect(page, "Fitbit").click(timeout=TIMEOUT)
    tab = opened.value
    assert tab.url == "about:blank"
    wait_until(page, lambda: held)
    held[0].continue_()
    tab.wait_for_url("**/login/**", timeout=TIMEOUT)


def test_a_user_whose_browser_blocks_new_tabs_continues_in_this_one(
    chromium: OpenPage, stack: Stack, reference_id: str
) -> None:
    page = chromium()
    page.add_init_script("window.open = () => null")
    sign_in(page, stack, reference_id)
    connect(page, "Fitbit").click(timeout=TIMEOUT)
    page.get_by_role("link", name="Open again").or_(page.get_by_role("link", name="Continue here")).click(
        timeout=TIMEOUT
    )
    page.wait_for_url("**/login/**", timeout=TIMEOUT)
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="Fitbit is connected")).to_be_visible(timeout=TIMEOUT)
    page.get_by_role("link", name="Back to Pulse").click()
    expect(row(page, "Fitbit")).to_contain_text("Connected", timeout=TIMEOUT)


def test_a_user_who_closed_the_login_opens_it_again_or_cancels(
    chromium: OpenPage, stack: Stack, reference_id: str
) -> None:
    """The webhook arrives without the redirect. The result also appears after the app is reloaded."""
    page = sign_in(chromium(), stack, reference_id)
    login_tab(page, connect(page, "Oura")).close()
    again = page.get_by_role("link", name="Open again").or_(page.get_by_role("button", name="Open again"))
    tab = login_tab(page, again)
    login = tab.url
    tab.close()
    page.reload()
    expect(page.get_by_role("button", name="Cancel")).to_be_visible(timeout=TIMEOUT)
    decide(login, "allow")  # without following the redirect
    expect_message(page, "Oura is connected")

    login_tab(page, connect(page, "Polar")).close()
    page.get_by_role("button", name="Cancel").click(timeout=TIMEOUT)
    expect(connect(page, "Polar")).to_be_visible(timeout=TIMEOUT)
    page.reload()
    expect(connect(page, "Polar")).to_be_visible(timeout=TIMEOUT)
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


def test_two_tabs_of_the_app_show_the_same_wearables(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    expect(page.get_by_text("No wearables yet")).to_be_visible(timeout=TIMEOUT)
    other = page.context.new_page()
    other.goto(stack.demo_url)
    expect(other.get_by_text("No wearables yet")).to_be_visible(timeout=TIMEOUT)
    tab = login_tab(page, connect(page, "Fitbit"))
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_message(page, "Fitbit is connected")
    expect(row(other, "Fitbit")).to_contain_text("Connected", timeout=TIMEOUT)
    expect(other.locator("#toasts")).to_be_empty()


# --- later: repair, revoke, disconnect --------------------------------------------------------------------------------


def test_a_user_repairs_a_connection(
    chromium: OpenPage, stack: Stack, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    user = terra.connect(reference_id, provider="POLAR", account=reference_id)
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    expect(row(page, "Polar")).to_contain_text("Connected", timeout=TIMEOUT)
    assert options(page, "Polar").all_inner_texts() == ["Reconnect", "Disconnect …"]
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Reconnect Polar")).to_have_count(0)

    terra.happen(user["user_id"], "connection_error")
    banner = page.get_by_role("region", name="Polar needs your attention")
    expect(banner).to_contain_text("Polar no longer accepts Pulse’s access", timeout=TIMEOUT)
    expect(row(page, "Polar")).to_contain_text("Sign in again")
    expect(page.get_by_role("button", name="Reconnect Polar")).to_have_count(2)
    examine(page, "needs-reauth")
    tab = login_tab(page, banner.get_by_role("button", name="Reconnect Polar"))
    tab.get_by_label("Account").fill(reference_id)
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_message(page, "Polar is connected")
    expect(row(page, "Polar")).to_contain_text("Connected ·", timeout=TIMEOUT)
    expect(banner).to_be_hidden()
    (connection,) = connections_of(api, reference_id)
    assert connection["status"] == "connected"
    assert connection["user_id"] != user["user_id"]


def test_a_user_connects_breaks_and_repairs_a_wearable_by_what_the_pages_say(
    chromium: OpenPage, stack: Stack, api: httpx.Client, reference_id: str
) -> None:
    """Nothing but labels is used: the demo leads to the console, and both lead back to a connected wearable."""
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    tab = login_tab(page, connect(page, "Fitbit"))
    tab.get_by_label("Account").fill(reference_id)
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_message(page, "Fitbit is connected")

    console = page.context.new_page()
    link = page.get_by_role("link", name="the console of the Terra simulator").get_attribute("href")
    assert link is not None
    console.goto(link)
    console.get_by_role("button", name=f"Trigger event for Fitbit of {reference_id}").click(timeout=TIMEOUT)
    console.get_by_role("button", name="Connection error", exact=True).click()

    reconnect = page.get_by_role("region", name="Fitbit needs your attention").get_by_role("button")
    tab = login_tab(page, reconnect)
    tab.get_by_label("Account").fill(reference_id)
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect(row(page, "Fitbit")).to_contain_text("Connected ·", timeout=TIMEOUT)
    expect(reconnect).to_be_hidden()
    (connection,) = connections_of(api, reference_id)
    assert connection["status"] == "connected"


def test_a_wearable_that_is_disconnected_at_its_provider_stays_visible_until_it_is_dismissed(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    user = terra.connect(reference_id)
    page = sign_in(chromium(**PHONE), stack, reference_id)
    expect(row(page, "Fitbit")).to_contain_text("Connected", timeout=TIMEOUT)
    terra.happen(user["user_id"], "access_revoked")
    expect(row(page, "Fitbit")).to_contain_text("Disconnected at Fitbit", timeout=TIMEOUT)  # without a reload
    page.reload()
    expect(row(page, "Fitbit")).to_contain_text("Disconnected at Fitbit", timeout=TIMEOUT)
    examine(page, "revoked")
    page.get_by_role("button", name="Dismiss Fitbit").click()
    expect(page.get_by_text("No wearables yet")).to_be_visible(timeout=TIMEOUT)
    page.reload()
    expect(page.get_by_text("No wearables yet")).to_be_visible(timeout=TIMEOUT)


@pytest.mark.parametrize("webhook_loss", [0, 1])
def test_a_wearable_that_was_connected_again_is_listed_once(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str, webhook_loss: int
) -> None:
    """Without a webhook Terra's response connects it, at a time before the end of the old connection."""
    terra.happen(terra.connect(reference_id)["user_id"], "access_revoked")
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    expect(row(page, "Fitbit")).to_contain_text("Disconnected at Fitbit", timeout=TIMEOUT)
    terra.settings(webhook_loss=webhook_loss)
    tab = login_tab(page, page.get_by_role("button", name="Connect Fitbit again"))
    tab.get_by_label("Account").fill(f"{reference_id}-new")
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_message(page, "Fitbit is connected")
    expect(row(page, "Fitbit")).to_contain_text("Connected ·", timeout=TIMEOUT)
    expect(page.locator("#connections > li")).to_have_count(1)


def test_a_hidden_page_does_not_call_the_api_and_refreshes_when_it_is_shown(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    user = terra.connect(reference_id)
    page = chromium()
    page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.isAway === true})")
    calls: list[str] = []
    page.on("request", lambda request: calls.append(request.url) if stack.api_url in request.url else None)
    sign_in(page, stack, reference_id)
    expect(row(page, "Fitbit")).to_contain_text("Connected", timeout=TIMEOUT)
    page.evaluate("window.isAway = true")
    page.wait_for_timeout(6000)  # lets requests already under way finish, and the next one come due
    calls.clear()
    terra.happen(user["user_id"], "connection_error")
    page.wait_for_timeout(6000)  # longer than the time between two readings
    assert calls == []
    page.evaluate("window.isAway = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect(row(page, "Fitbit")).to_contain_text("Sign in again", timeout=TIMEOUT)


def test_a_user_disconnects_a_wearable_after_a_question(
    chromium: OpenPage, stack: Stack, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    terra.connect(reference_id)
    terra.connect(reference_id, provider="OURA")
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    expect(row(page, "Oura")).to_contain_text("Connected", timeout=TIMEOUT)
    options(page, "Fitbit").filter(has_text="Disconnect").click()
    dialog = page.get_by_role("dialog", name="Disconnect Fitbit?")
    expect(dialog).to_contain_text("access at Fitbit ends, and no new data arrives.")
    expect(dialog).to_contain_text("The data that Pulse already has stays.")
    expect(dialog.get_by_role("button", name="Keep it")).to_be_focused()
    examine(page, "disconnect")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Options for Fitbit")).to_be_focused()
    assert len(connections_of(api, reference_id)) == 2

    options(page, "Fitbit").filter(has_text="Disconnect").click()
    page.context.set_offline(True)
    dialog.get_by_role("button", name="Disconnect Fitbit").click()
    expect(dialog).to_contain_text("Fitbit was not disconnected. The server cannot be reached.", timeout=TIMEOUT)
    page.context.set_offline(False)
    dialog.get_by_role("button", name="Disconnect Fitbit").click()
    expect_message(page, "Fitbit is disconnected")
    expect(row(page, "Fitbit")).to_have_count(0)
    expect(page.get_by_role("heading", name="Your wearables")).to_be_focused()
    page.reload()
    expect(row(page, "Oura")).to_contain_text("Connected", timeout=TIMEOUT)
    expect(row(page, "Fitbit")).to_have_count(0)  # the user knows it
    assert [each["provider"] for each in connections_of(api, reference_id)] == ["OURA"]


def test_the_menu_of_a_wearable_is_used_with_the_keyboard(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    terra.connect(reference_id)
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    button = page.get_by_role("button", name="Options for Fitbit")
    button.focus(timeout=TIMEOUT)
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(page.get_by_role("menuitem", name="Reconnect")).to_be_focused()
    examine(page, "menu", sizes=("desktop",))
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Disconnect")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Reconnect")).to_be_focused()
    page.keyboard.press("End")
    expect(page.get_by_role("menuitem", name="Disconnect")).to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")


def test_two_wearables_of_one_provider_have_different_names(
    chromium: OpenPage, stack: Stack, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    for account in ("first", "second"):
        terra.connect(reference_id, account=f"{reference_id}-{account}")
    page = sign_in(chromium(**PHONE), stack, reference_id)
    expect(row(page, "Fitbit 1")).to_contain_text("Connected", timeout=TIMEOUT)
    options(page, "Fitbit 2").filter(has_text="Disconnect").click()
    page.get_by_role("button", name="Disconnect Fitbit 2").click()
    expect_message(page, "Fitbit 2 is disconnected")
    expect(row(page, "Fitbit")).to_contain_text("Connected")
    (kept,) = connections_of(api, reference_id)
    every = connections_of(api, reference_id, include="revoked")
    assert kept["connected_at"] == min(each["connected_at"] for each in every)


# --- states -----------------------------------------------------------------------------------------------------------


def test_a_blank_name_is_explained(chromium: OpenPage, stack: Stack) -> None:
    page = chromium(**DESKTOP)
    page.goto(stack.demo_url)
    examine(page, "sign-in")
    page.get_by_label("Name").fill("   ")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert").filter(has_text="Enter a name to sign in.")).to_be_visible()
    expect(page.get_by_label("Name")).to_be_focused()
    examine(page, "blank-name")


def test_a_long_name_is_shortened_and_shown_whole_as_a_tooltip(
    chromium: OpenPage, stack: Stack, reference_id: str
) -> None:
    name = f"maximiliane-von-und-zu-{reference_id}@example.com"
    page = sign_in(chromium(**PHONE), stack, name)
    expect(page.locator("#who")).to_have_attribute("title", name, timeout=TIMEOUT)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_list_is_loading_until_it_is_there(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    page = chromium(**DESKTOP)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/connections?*", hold)
    sign_in(page, stack, reference_id)
    expect(page.get_by_text("Loading your wearables")).to_be_attached(timeout=TIMEOUT)
    expect(page.get_by_text("No wearables yet")).to_be_hidden()
    examine(page, "loading")
    wait_until(page, lambda: held)
    for route in held:
        route.continue_()
    page.unroute("**/connections?*")
    expect(page.get_by_text("No wearables yet")).to_be_visible(timeout=TIMEOUT)


def test_a_failure_of_the_api_is_no_empty_list(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    terra.connect(reference_id)
    page = chromium(**DESKTOP)
    page.route(f"{stack.api_url}/**", lambda route: route.abort("connectionrefused"))
    sign_in(page, stack, reference_id)
    expect(page.get_by_text("Your wearables cannot be loaded")).to_be_visible(timeout=TIMEOUT)
    expect(page.get_by_text("No wearables yet")).to_be_hidden()
    examine(page, "failed")
    page.unroute(f"{stack.api_url}/**")
    page.locator("#retry").click()
    expect(row(page, "Fitbit")).to_contain_text("Connected", timeout=TIMEOUT)
    expect(connect(page, "Garmin")).to_be_visible(timeout=TIMEOUT)

    page.route(f"{stack.api_url}/**", lambda route: route.abort("connectionrefused"))
    expect(page.get_by_text("Not up to date")).to_be_visible(timeout=TIMEOUT)
    expect(row(page, "Fitbit")).to_be_visible()
    examine(page, "stale")
    page.unroute(f"{stack.api_url}/**")
    page.locator("#stale-retry").click()
    expect(page.get_by_text("Not up to date")).to_be_hidden(timeout=TIMEOUT)


def test_a_login_that_terra_does_not_start_is_explained_in_the_app(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    connect(page, "Fitbit").wait_for(timeout=TIMEOUT)
    terra.fault("/auth/authenticateUser", "status", status=400)
    with page.expect_popup() as opened:
        connect(page, "Fitbit").click()
    expect(page.get_by_text("Fitbit was not connected")).to_be_visible(timeout=TIMEOUT)
    assert opened.value.is_closed()
    examine(page, "not-started")


def test_an_expired_token_is_renewed_and_a_rejected_one_ends_the_session(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    terra.connect(reference_id)
    page = chromium(**DESKTOP)
    issued: list[int] = []
    lifetimes = [-3600]  # the first token has expired when it is issued

    def issue(route: Route) -> None:
        lifetime = lifetimes.pop(0) if lifetimes else 3600
        issued.append(lifetime)
        body = json.dumps({**(route.request.post_data_json or {}), "expires_in": lifetime})
        token = route.fetch(post_data=body).json()
        route.fulfill(
            json={**token, "expires_in": 3600}, headers={"access-control-allow-origin": stack.demo_url}
        )  # the app does not know it

    page.route(f"{stack.oidc_issuer}/token", issue)
    sign_in(page, stack, reference_id)
    expect(row(page, "Fitbit")).to_contain_text("Connected", timeout=TIMEOUT)
    assert issued[0] == -3600

    lifetimes.extend([-3600] * 100)
    page.reload()
    expect(page.get_by_text("Your session has ended. Sign in again to continue.")).to_be_visible(timeout=TIMEOUT)
    expect(page.get_by_text("Your wearables", exact=True)).to_be_hidden()
    examine(page, "session-ended")


def test_a_user_signs_out(chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str) -> None:
    terra.connect(reference_id)
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    expect(row(page, "Fitbit")).to_be_visible(timeout=TIMEOUT)
    login_tab(page, connect(page, "Oura")).close()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Name")).to_be_visible(timeout=TIMEOUT)
    expect(row(page, "Fitbit")).to_have_count(0)
    assert page.evaluate("Object.keys(localStorage)") == []
    sign_in(page, stack, f"{reference_id}-other")
    expect(page.get_by_text("No wearables yet")).to_be_visible(timeout=TIMEOUT)
    expect(connect(page, "Oura")).to_be_visible(timeout=TIMEOUT)  # and not the other user's login


def test_a_provider_without_a_logo_has_its_letter(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    page = sign_in(chromium(), stack, reference_id)
    page.context.route("https://access.tryterra.co/**", lambda route: route.abort())
    terra_logo = row(page, "Fitbit").locator(".icon")
    tab = login_tab(page, connect(page, "Fitbit"))
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect(terra_logo).to_have_text("F", timeout=TIMEOUT)
    expect(terra_logo.locator("img")).to_have_count(0)


# --- the timeline -----------------------------------------------------------------------------------------------------


def test_the_requests_and_webhooks_are_shown_as_they_finished_without_secrets(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    page = chromium(**DESKTOP, permissions=["clipboard-read", "clipboard-write"])
    sign_in(page, stack, reference_id)
    tab = login_tab(page, connect(page, "Fitbit"))
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    # The stack publishes the change while the browser returns, in no fixed order.
    notified = page.locator("#events li[data-way='API → app']").get_by_role("heading")
    expect(notified).to_have_text(["event connected 204"], timeout=TIMEOUT)
    events = page.locator("#events li:not([data-way='API → app'])")
    expect(events.get_by_role("heading")).to_have_text(
        [
            "POST …/authenticateUser 200",
            "POST /sessions 201",
            "webhook auth 200",
            "GET /auth/success 303",
            "GET /sessions/{session_id} 200",
        ],
        timeout=TIMEOUT,
    )
    assert page.locator("#events li").evaluate_all("rows => rows.map(row => row.dataset.result)") == ["good"] * 6

    events.nth(1).get_by_role("button", name="Copy POST /sessions as curl").click()
    assert page.evaluate("navigator.clipboard.readText()").split(" \\\n  ") == [
        f'curl -X POST "{stack.api_url}/sessions"',
        '-H "Authorization: Bearer $TOKEN"',
        "-H 'Content-Type: application/json'",
        """-d '{"resource": "FITBIT", "return_to": "web", "language": "en"}'""",
    ]
    (webhook,) = terra.deliveries(reference_id=reference_id)
    delivery = page.locator("#events").get_by_role("link", name="Open webhook auth in the console")
    expect(delivery).to_have_attribute("href", f"{stack.terra_url}/?open={webhook['delivery_id']}")
    console = page.get_by_role("link", name="the console of the Terra simulator")
    expect(console).to_have_attribute("href", f"{stack.terra_url}/?reference_id={reference_id}")

    expect(page.locator("#Sessions summary")).to_contain_text("Session · FITBIT connected", timeout=TIMEOUT)
    expect(page.locator("#Connections summary")).to_contain_text("Connection · FITBIT connected", timeout=TIMEOUT)
    for table in ("Sessions", "Connections"):
        item = page.locator(f"#{table} details")
        item.locator("summary").click()
        expect(item.locator("pre")).to_contain_text(reference_id)
    events.nth(0).get_by_text("Details").click()
    expect(events.nth(0).locator("pre")).to_contain_text("state=…")
    assert not re.search(r"state=\w", page.content())
    page.evaluate("document.querySelector('.timeline').scrollIntoView()")
    examine(page, "timeline")


def test_a_webhook_that_is_late_is_not_shown_as_if_it_had_been_there(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    terra.hold()
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    tab = login_tab(page, connect(page, "Oura"))
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_message(page, "Oura is connected")
    events = page.locator("#events > li")
    expect(events.filter(has_text="GET …/userInfo")).to_contain_text(
        "because no webhook has confirmed it yet", timeout=TIMEOUT
    )
    expect(events.last).to_contain_text("webhook auth held", timeout=TIMEOUT)
    expect(events.last).to_contain_text("open")
    terra.release()
    expect(events.filter(has_text="webhook auth")).to_contain_text("200", timeout=TIMEOUT)
    titles = events.get_by_role("heading").all_inner_texts()
    places = {title.split()[-2] if "webhook" in title else title.split()[1]: n for n, title in enumerate(titles)}
    assert places["…/userInfo"] < places["auth"]


def test_the_tables_show_the_status_of_an_open_session_and_of_a_connection(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    terra.connect(reference_id, provider="POLAR")
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    login_tab(page, connect(page, "Oura"))
    expect(page.locator("#Sessions summary")).to_contain_text("Session · OURA pending", timeout=TIMEOUT)
    expect(page.locator("#Connections summary")).to_contain_text("Connection · POLAR connected", timeout=TIMEOUT)


# --- the page that users return to, and the result pages --------------------------------------------------------------


@pytest.mark.parametrize("signed_in", [False, True], ids=["signed out", "signed in as another user"])
def test_a_login_of_another_user_is_not_shown_as_failed(
    chromium: OpenPage, stack: Stack, api: httpx.Client, reference_id: str, *, signed_in: bool
) -> None:
    page = chromium(**DESKTOP)
    if signed_in:
        sign_in(page, stack, f"{reference_id}-other")
        expect(connect(page, "Fitbit")).to_be_visible(timeout=TIMEOUT)
    page.goto(decide(create_session(api, reference_id, return_to="web")["auth_url"], "allow"))
    expect(page.get_by_role("heading", name="Back in Pulse")).to_be_visible(timeout=TIMEOUT)
    expect(page.locator("#message")).to_have_text(
        "This page cannot show how the login went. Open Pulse, signed in with the name you started it with."
    )
    expect(page.locator("body")).to_have_attribute("data-kind", "unknown")
    examine(page, "return-unknown")


def test_a_user_who_declined_tries_again_on_the_page_that_users_return_to(
    chromium: OpenPage, stack: Stack, api: httpx.Client, reference_id: str
) -> None:
    page = sign_in(chromium(**PHONE), stack, reference_id)
    expect(page.get_by_text("No wearables yet")).to_be_visible(timeout=TIMEOUT)
    page.goto(create_session(api, reference_id, return_to="web")["auth_url"])  # no other tab of the app is open
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("heading", name="Fitbit was not connected")).to_be_visible(timeout=TIMEOUT)
    expect(page.locator("#message")).to_have_text("You declined access. Nothing was shared.")
    examine(page, "return-declined")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_url("**/login/**", timeout=TIMEOUT)
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="Fitbit is connected")).to_be_visible(timeout=TIMEOUT)
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    examine(page, "return-connected")
    assert [each["provider"] for each in connections_of(api, reference_id)] == ["FITBIT"]


def test_an_untrusted_status_in_the_url_is_not_shown(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    page = sign_in(chromium(**DESKTOP), stack, reference_id)
    connect(page, "Fitbit").wait_for(timeout=TIMEOUT)
    page.goto(f"{stack.demo_url}/connected?session_id=<b>unknown</b>&status=connected")
    expect(page.get_by_role("heading", name="Back in Pulse")).to_be_visible(timeout=TIMEOUT)


def test_the_result_pages_of_the_local_stack_have_the_app_s_brand(
    chromium: OpenPage, stack: Stack, api: httpx.Client, reference_id: str
) -> None:
    page = chromium(**PHONE)
    page.goto(decide(create_session(api, reference_id)["auth_url"], "allow"))
    expect(page.locator("header")).to_contain_text("Pulse", timeout=TIMEOUT)
    logo = page.locator("header img")
    assert logo.evaluate("image => image.complete && image.naturalWidth > 0")
    assert stack.parameters["BrandName"] == "Pulse"


# --- other pages ------------------------------------------------------------------------------------------------------


FETCH = (
    "url => fetch(url, {headers: {authorization: 'Bearer ?'}}).then(response => response.status, error => error.name)"
)


def test_only_pages_of_the_demo_may_read_the_api(chromium: OpenPage, stack: Stack) -> None:
    """CORS, and not a network rule, blocks an untrusted page on the same machine."""
    url = f"{stack.api_url}/connections"
    page = chromium()
    page.goto(stack.demo_url)
    assert page.evaluate(FETCH, url) == 403
    page.goto(f"{stack.oidc_issuer}/jwks")  # another port is another origin
    assert page.evaluate(FETCH, url) == "TypeError"
    assert page.evaluate("url => fetch(url, {mode: 'no-cors'}).then(response => response.type)", url) == "opaque"
    assert page.evaluate(FETCH, f"{stack.demo_url}/timeline.json?reference_id=ada") == "TypeError"
