"""The demo app in a browser: sign in, find its parts, and examine a state of the page."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from local.testing import Stack
from tests.support.chromium import ARTIFACTS

TIMEOUT = 60_000
"""Milliseconds that a page may need on a busy machine."""
PICTURES = ARTIFACTS / "demo"
SIZES = {"phone": (390, 844), "desktop": (1440, 900)}
EXAMINED = {("phone", "light"), ("desktop", "dark")}
"""Each size and each scheme once: a violation depends on one of them only."""
SMALLEST_TARGET = 44
"""Pixels, on a phone."""
LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9" fill="#0a58ca"/></svg>'
_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
_TARGETS = ".app button, .app input, dialog button, #toasts button, .back .button"
_SMALL = f"""least => [...document.querySelectorAll("{_TARGETS}")].filter(
  one => one.checkVisibility() && one.getBoundingClientRect().height < least).map(one => one.outerHTML)"""


def sign_in(page: Page, stack: Stack, reference_id: str) -> Page:
    """Open the demo app as a user. The providers' logos, which are on Terra's server, are the same square."""
    page.context.route(
        "https://access.tryterra.co/**", lambda route: route.fulfill(content_type="image/svg+xml", body=LOGO)
    )
    page.goto(stack.demo_url)
    page.get_by_label("Name").fill(reference_id)
    page.get_by_role("button", name="Sign in").click()
    return page


def connect(page: Page, name: str) -> Locator:
    """Return the button that connects a provider."""
    return page.get_by_role("button", name=f"Connect {name}", exact=True)


def login_tab(page: Page, button: Locator) -> Page:
    """Press a button, and return the tab with the provider's login."""
    with page.expect_popup(timeout=TIMEOUT) as opened:
        button.click(timeout=TIMEOUT)
    opened.value.wait_for_url(re.compile("/(login|widget)/"), timeout=TIMEOUT)
    return opened.value


@contextmanager
def expect_close(tab: Page) -> Iterator[None]:
    """Wait until the tab has closed itself."""
    with tab.expect_event("close", timeout=TIMEOUT):
        yield


def expect_message(page: Page, title: str, text: str = "") -> None:
    """Wait for a message at the lower edge of the window."""
    message = page.locator("#toasts .toast")
    expect(message).to_contain_text(title, timeout=TIMEOUT)
    expect(message).to_contain_text(text)
    expect(message).to_be_in_viewport(ratio=1)


def row(page: Page, name: str) -> Locator:
    """Return the row of a wearable."""
    return page.locator("#connections").get_by_role("listitem").filter(has=page.get_by_text(name, exact=True))


def options(page: Page, name: str) -> Locator:
    """Open the menu of a wearable, and return its entries."""
    page.get_by_role("button", name=f"Options for {name}", exact=True).click(timeout=TIMEOUT)
    return page.get_by_role("menuitem")


def violations(page: Page) -> list[str]:
    """Return the violations of WCAG 2.2 AA that axe finds."""
    found = Axe().run(page, options=_RULES).response["violations"]
    return [f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']]}" for each in found]


def examine(page: Page, name: str, *, sizes: tuple[str, ...] = tuple(SIZES)) -> None:
    """Examine a state of the page at phone and desktop width, light and dark, and keep pictures of it.

    axe finds no violation, nothing is scrolled sideways, and on a phone every target is large enough. The pictures are
    in test-artifacts/demo/.
    """
    before = page.viewport_size
    page.emulate_media(reduced_motion="reduce")
    for size in sizes:
        width, height = SIZES[size]
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=PICTURES / f"{name}-{size}-{scheme}.png", animations="disabled")
            if (size, scheme) in EXAMINED:
                assert violations(page) == [], f"{name}, {size}, {scheme}"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name}, {size}"
        if size == "phone":
            assert page.evaluate(_SMALL, SMALLEST_TARGET) == [], name
    page.emulate_media(color_scheme="light")
    if before:
        page.set_viewport_size(before)
