"""The code of docs/apps.md for a page without the custom element, in a real browser on the running stack."""

import re

from playwright.sync_api import Page, expect

from local.testing import Stack
from tests.support.chromium import OpenPage
from tests.support.demo_page import TIMEOUT, connect, sign_in
from tools.environment import ROOT

FIRST_LINES = """import { call } from "/api.js";
const tabs = new BroadcastChannel("apps.md");
"""
"""What the document says of the rest of the page."""
PATH = "/apps-md.js"
START = f"""async () => {{
  const login = await import("{PATH}");
  const button = document.createElement("button");
  button.textContent = "Start";
  button.onclick = async () => {{
    const {{ session_id }} = await login.connect("GARMIN");
    document.body.append((await login.watch(session_id)).status);
  }};
  document.body.replaceChildren(button);
}}"""


def code() -> str:
    """Return the two parts of the code as one module."""
    text = (ROOT / "docs" / "apps.md").read_text()
    parts = re.findall(r"<!-- (\w+) -->\n```js\n(.*?)\n```", text, re.DOTALL)
    assert [name for name, _ in parts] == ["connect", "watch"]
    return FIRST_LINES + "\n".join(source for _, source in parts)


def open_page(page: Page, stack: Stack, reference_id: str) -> None:
    """Show a button that runs the code, on a page of an origin that the API allows."""
    page.route(f"**{PATH}", lambda route: route.fulfill(content_type="text/javascript", body=code()))
    sign_in(page, stack, reference_id)
    connect(page, "Garmin").wait_for(timeout=TIMEOUT)
    page.evaluate(START)


def test_the_code_opens_a_tab_and_waits_for_the_result(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    page = chromium()
    open_page(page, stack, reference_id)
    with page.expect_popup(timeout=TIMEOUT) as opened:
        page.get_by_role("button", name="Start").click()
    tab = opened.value
    tab.wait_for_url("**/login/**", timeout=TIMEOUT)
    assert tab.evaluate("window.opener") is None
    tab.get_by_role("button", name="Allow").click()
    expect(page.get_by_text("connected")).to_be_visible(timeout=TIMEOUT)


def test_the_code_uses_the_current_tab_if_new_tabs_are_blocked(
    chromium: OpenPage, stack: Stack, reference_id: str
) -> None:
    page = chromium()
    page.add_init_script("window.open = () => null")
    open_page(page, stack, reference_id)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/login/**", timeout=TIMEOUT)
    expect(page.get_by_role("button", name="Allow")).to_be_visible()
