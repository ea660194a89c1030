"""What a person sees on the way back from Terra, in a real browser on the running stack."""

import httpx
from playwright.sync_api import expect

from tests.browser.chromium import OpenPage
from tests.support import create_session, session_status


def test_a_person_connects_and_is_told_so(chromium: OpenPage, api: httpx.Client, person: str) -> None:
    session = create_session(api, person)
    page = chromium()
    page.goto(session["auth_url"])
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading")).to_have_text("Your wearable is connected")
    assert session_status(api, session)["status"] == "connected"
