"""The demo in a real browser on the running stack, with a user token of the local issuer."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Route, expect

from local.testing import Stack
from tests.support.api import connections_of, create_session, decide
from tests.support.chromium import ARTIFACTS, DESKTOP, PHONE, OpenPage
from tests.support.terra import Terra

TIMEOUT = 30_000
"""Milliseconds that a page may need on a busy machine."""
WCAG_22_AA = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def sign_in(page: Page, stack: Stack, reference_id: str) -> Page:
    page.goto(stack.demo_url)
    page.get_by_label("Name").fill(reference_id)
    page.get_by_role("button", name="Sign in").click()
    return page


def connect(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=f"Connect {name}", exact=True)


def login_tab(page: Page, button: Locator) -> Page:
    with page.expect_popup() as opened:
        button.click()
    opened.value.wait_for_url(re.compile("/(login|widget)/"))
    return opened.value


def expect_status(page: Page, message: str) -> None:
    expect(page.locator("#status")).to_have_text(message, timeout=TIMEOUT)


def wearables(page: Page) -> Locator:
    return page.get_by_role("list").filter(has=page.get_by_role("button", name=re.compile("^Disconnect")))


@contextmanager
def expect_close(tab: Page) -> Iterator[None]:
    with tab.expect_event("close", timeout=TIMEOUT):
        yield


def test_a_user_connects_and_disconnects(
    chromium: OpenPage, stack: Stack, api: httpx.Client, reference_id: str
) -> None:
    page = chromium(**DESKTOP)
    errors: list[str] = []
    page.context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.context.on("weberror", lambda error: errors.append(str(error.error)))
    sign_in(page, stack, reference_id)
    tab = login_tab(page, connect(page, "Fitbit"))
    assert tab.evaluate("window.opener") is None
    expect_status(page, "Continue with Fitbit in the other tab.")
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_status(page, "Fitbit is connected.")
    expect(wearables(page).get_by_text("Connected")).to_be_visible()
    (connection,) = connections_of(api, reference_id)
    assert (connection["provider"], connection["status"]) == ("FITBIT", "connected")

    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Disconnect Fitbit").click()
    expect_status(page, "Fitbit is disconnected.")
    expect(page.get_by_text("No connections yet.")).to_be_visible(timeout=TIMEOUT)
    assert connections_of(api, reference_id) == []
    assert errors == []


def test_a_denied_login_is_shown_as_unchanged(
    chromium: OpenPage, stack: Stack, api: httpx.Client, reference_id: str
) -> None:
    page = sign_in(chromium(**PHONE), stack, reference_id)
    tab = login_tab(page, connect(page, "Garmin"))
    with expect_close(tab):
        tab.get_by_role("button", name="Deny").click()
    expect_status(page, "Garmin was not connected. You declined access. Nothing was shared.")
    assert connections_of(api, reference_id) == []


def test_the_login_tab_opens_before_the_api_responds(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    """Browsers block a tab opened after an await as a pop-up, so the demo opens the tab before the response arrives."""
    page = sign_in(chromium(), stack, reference_id)
    held: list[Route] = []
    page.route("**/sessions", lambda route: held.append(route) if route.request.method == "POST" else route.continue_())
    with page.expect_popup() as opened:
        connect(page, "Fitbit").click()
    tab = opened.value
    assert tab.url == "about:blank"
    while not held:
        page.wait_for_timeout(50)  # lets Playwright process its events
    held[0].continue_()
    tab.wait_for_url("**/login/**")


def test_the_login_uses_the_current_tab_if_new_tabs_are_blocked(
    chromium: OpenPage, stack: Stack, reference_id: str
) -> None:
    page = chromium()
    page.add_init_script("window.open = () => null")
    sign_in(page, stack, reference_id)
    connect(page, "Fitbit").click()
    page.wait_for_url("**/login/**")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="Connected")).to_be_visible(timeout=TIMEOUT)
    expect(page.get_by_text("Fitbit is connected.")).to_be_visible()
    page.get_by_role("link", name="Back to Pulse").click()
    expect_status(page, "Fitbit is connected.")
    expect(wearables(page).get_by_text("Connected")).to_be_visible()


def test_the_app_shows_a_login_whose_tab_was_closed(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    """The webhook arrives without the redirect. The result also appears after the app is reloaded."""
    page = sign_in(chromium(), stack, reference_id)
    tab = login_tab(page, connect(page, "Oura"))
    login = tab.url
    tab.close()
    page.reload()
    expect_status(page, "Continue in the other tab.")
    decide(login, "allow")  # without following the redirect
    expect_status(page, "Oura is connected.")


def test_a_hidden_tab_does_not_poll_the_api(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    page = chromium()
    page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.isAway === true})")
    polled: list[str] = []
    page.on("request", lambda request: polled.append(request.url) if "/sessions/" in request.url else None)
    sign_in(page, stack, reference_id)
    tab = login_tab(page, connect(page, "Fitbit"))
    with page.expect_request("**/sessions/*"):
        pass
    page.evaluate("window.isAway = true")
    page.wait_for_timeout(2000)  # lets requests already under way finish
    polled.clear()
    decide(tab.url, "allow")
    page.wait_for_timeout(4000)  # more than twice the polling interval
    assert polled == []
    page.evaluate("window.isAway = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect_status(page, "Fitbit is connected.")


def test_a_user_picks_the_provider_on_terra_s_page(
    chromium: OpenPage, stack: Stack, api: httpx.Client, reference_id: str
) -> None:
    page = sign_in(chromium(), stack, reference_id)
    tab = login_tab(page, page.get_by_role("button", name="Browse all providers"))
    tab.get_by_role("button", name="WHOOP").click()
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_status(page, "WHOOP is connected.")
    assert [connection["provider"] for connection in connections_of(api, reference_id)] == ["WHOOP"]


def test_a_user_reconnects_a_connection_with_an_error(
    chromium: OpenPage, stack: Stack, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    user = terra.connect(reference_id, provider="POLAR", account=reference_id)
    terra.happen(user["user_id"], "connection_error")
    page = sign_in(chromium(), stack, reference_id)
    expect(wearables(page).get_by_text("Please reconnect")).to_be_visible(timeout=TIMEOUT)
    tab = login_tab(page, page.get_by_role("button", name="Reconnect Polar"))
    tab.get_by_label("Account").fill(reference_id)
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    expect_status(page, "Polar is connected.")
    expect(wearables(page).get_by_text("Connected")).to_be_visible(timeout=TIMEOUT)
    assert [connection["status"] for connection in connections_of(api, reference_id)] == ["connected"]


def test_errors_are_shown_as_messages(chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str) -> None:
    page = sign_in(chromium(), stack, reference_id)
    terra.fault("/auth/authenticateUser", "status", status=503)
    with page.expect_popup() as opened:
        connect(page, "Fitbit").click()
    status = page.locator("#status")
    expect(status).to_have_attribute("data-kind", "failed", timeout=TIMEOUT)
    expect(status).to_contain_text("Terra")
    assert opened.value.is_closed()

    page.context.set_offline(True)
    with page.expect_popup():
        connect(page, "Fitbit").click()
    expect_status(page, "The server cannot be reached. Are you online?")


def test_a_user_finds_a_provider_by_searching(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    page = sign_in(chromium(), stack, reference_id)
    offered = page.get_by_role("button", name=re.compile("^Connect "))
    expect(offered).to_have_count(8, timeout=TIMEOUT)
    expect(connect(page, "Apple Health")).to_be_disabled()
    page.get_by_label("Search").fill("wi")
    expect(offered).to_have_count(1)
    expect(offered).to_have_accessible_name("Connect Withings")
    page.get_by_label("Search").fill("a typewriter")
    expect(page.get_by_text('No provider matches "a typewriter".')).to_be_visible()


def test_the_requests_and_webhooks_are_shown_in_order_without_the_state(
    chromium: OpenPage, stack: Stack, terra: Terra, reference_id: str
) -> None:
    terra.settings(redirect_waits_for_webhook=True)
    page = sign_in(chromium(), stack, reference_id)
    tab = login_tab(page, connect(page, "Fitbit"))
    with expect_close(tab):
        tab.get_by_role("button", name="Allow").click()
    # The stack publishes the change while the browser returns, in no fixed order.
    notified = page.locator("#events li[data-way='API → app']").get_by_role("heading")
    expect(notified).to_have_text(["event connected"], timeout=TIMEOUT)
    events = page.locator("#events li:not([data-way='API → app'])").get_by_role("heading")
    expect(events).to_have_text(
        [
            "POST /sessions → 201",
            "POST …/authenticateUser → 200",
            "webhook auth → 200",
            "GET /auth/success → 303",
            "GET /sessions/{session_id} → 200",
        ],
        timeout=TIMEOUT,
    )
    for table in ("Sessions", "Connections"):
        item = page.locator(f"#{table} details")
        item.locator("summary").click()
        expect(item.locator("pre")).to_contain_text(reference_id)
    page.locator("#events li").nth(1).get_by_text("Details").click()
    expect(page.locator("#events li").nth(1).locator("pre")).to_contain_text("state=…")
    assert not re.search(r"state=\w", page.content())


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


@pytest.mark.parametrize(("device", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desktop", "phone"])
def test_the_demo_is_accessible(
    chromium: OpenPage,
    stack: Stack,
    terra: Terra,
    reference_id: str,
    device: dict[str, object],
    scheme: str,
    request: pytest.FixtureRequest,
) -> None:
    terra.connect(reference_id)
    terra.happen(terra.connect(reference_id, provider="OURA")["user_id"], "connection_error")
    page = chromium(**device, color_scheme=scheme, reduced_motion="reduce")
    page.goto(stack.demo_url)
    expect(page.get_by_label("Name")).to_be_visible()
    assert violations(page) == []
    sign_in(page, stack, reference_id)
    expect(page.get_by_role("button", name=re.compile("^Disconnect"))).to_have_count(2, timeout=TIMEOUT)
    connect(page, "Fitbit").wait_for()
    expect(page.locator("#events li").first).to_be_visible(timeout=TIMEOUT)
    for details in page.locator("details").all():
        details.evaluate("details => details.open = true")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.screenshot(path=ARTIFACTS / "demo" / f"{request.node.callspec.id}.png", full_page=True)
    page.goto(f"{stack.demo_url}/connected?session_id=<b>unknown</b>&status=connected")  # an untrusted claim
    expect(page.get_by_role("heading", name="Back in Pulse")).to_be_visible(timeout=TIMEOUT)
    assert violations(page) == []


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


def violations(page: Page) -> list[str]:
    found = Axe().run(page, options=WCAG_22_AA).response["violations"]
    return [f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']]}" for each in found]
