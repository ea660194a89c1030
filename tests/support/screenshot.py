"""Take README's picture of the demo app: `python -m tests.support.screenshot` writes docs/images/demo.png."""

from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from local.testing import Stack, running_stack
from tests.support import chromium
from tests.support.demo_page import connect, expect_message, login_tab, row
from tools.environment import ROOT
from tools.progress import say

PICTURE = ROOT / "docs" / "images" / "demo.png"
VIEW = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "color_scheme": "light"}
LARGEST = 150_000
"""Bytes."""
TIMEOUT = 120_000
"""Milliseconds that a step may need on a busy machine."""


def take(page: Page, stack: Stack, reference_id: str, path: Path) -> None:
    """Connect a wearable in the demo app, and take a picture of the app and its timeline."""
    page.set_default_timeout(TIMEOUT)
    page.goto(stack.demo_url)
    page.get_by_label("Name").fill(reference_id)
    page.get_by_role("button", name="Sign in").click()
    login_tab(page, connect(page, "Fitbit")).get_by_role("button", name="Allow").click()
    expect_message(page, "Fitbit is connected")
    expect(row(page, "Fitbit")).to_contain_text("Connected", timeout=TIMEOUT)
    expect(page.get_by_text("webhook auth").first).to_be_visible(timeout=TIMEOUT)
    page.wait_for_timeout(3_000)  # the timeline's next reading has the notification, too
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path)


def main() -> None:
    """Start a stack and replace the picture."""
    with running_stack() as stack, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=chromium.ARGUMENTS)
        take(browser.new_page(**VIEW), stack, "alice", PICTURE)  # type: ignore[arg-type]
        browser.close()
    say(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
