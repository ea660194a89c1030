"""Every page in every language and colour scheme: checked by axe, measured, and captured in test-artifacts/pages/."""

import base64
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from terra_connections.api_gateway import Response
from terra_connections.connections.facts import Position
from terra_connections.ids import UserId
from terra_connections.redirects.branding import Brand
from terra_connections.redirects.language import LANGUAGES
from terra_connections.redirects.pages import PageLinks, Pages
from terra_connections.sessions.session import Flow, Reason, Repair, SessionStatus, SessionView
from tests.support.chromium import ARTIFACTS, DESKTOP, PHONE, OpenPage
from tests.support.sessions import SESSION

PICTURES = ARTIFACTS / "pages"
HERE = "https://api.example.com/auth/success"
SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" onload="document.title=1">
<circle cx="12" cy="12" r="11" fill="#0a58ca"/>
<path d="M5 13h4l2-6 3 10 2-4h3" stroke="#fff" stroke-width="2" fill="none"/>
</svg>"""
BRANDS = {
    "plain": Brand(),
    "branded": Brand("Acme Health", "#0a58ca", f"data:image/svg+xml;base64,{base64.b64encode(SVG.encode()).decode()}"),
    "loud": Brand("كل يوم — Jeden Tag ein bisschen gesünder & fitter <b>", "#ffd400"),
}
EVERYTHING = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOURS = ["color-contrast", "link-in-text-block"]
"""The only rules that the dark scheme can affect."""
AGAIN = {"session": "1", "secret": "2"}
OF_ANY_PROVIDER = replace(SESSION, flow=Flow.WIDGET, resource=None)
REPAIR = replace(SESSION, repairs=Repair(UserId("u"), Position(0)))
APP = "exampleapp://connected?session_id=1&status=connected"


def every_page(pages: Pages, language: str) -> dict[str, Response]:
    def after(status: SessionStatus, reason: Reason | None = None, *, again: dict[str, str] | None = None) -> Response:
        return pages.page_for(SessionView(SESSION, status, reason), language, PageLinks(back=APP, again=again))

    def repair(reason: Reason, *, is_still_connected: bool = False, again: dict[str, str] | None = AGAIN) -> Response:
        view = SessionView(REPAIR, SessionStatus.FAILED, reason, is_still_connected=is_still_connected)
        return pages.page_for(view, language, PageLinks(back=APP, again=again))

    return {
        "connected": pages.page_for(SessionView(SESSION, SessionStatus.CONNECTED), language, PageLinks()),
        "connected-app": after(SessionStatus.CONNECTED),
        "confirming": after(SessionStatus.PENDING),
        "needs-app": after(SessionStatus.NEEDS_APP),
        "cancelled": after(SessionStatus.FAILED, Reason.ACCESS_DENIED, again=AGAIN),
        "cancelled-late": pages.page_for(
            SessionView(SESSION, SessionStatus.FAILED, Reason.ACCESS_DENIED), language, PageLinks()
        ),
        "failed": after(SessionStatus.FAILED, Reason.UNKNOWN, again=AGAIN),
        "provider-error": after(SessionStatus.FAILED, Reason.PROVIDER_ERROR, again=AGAIN),
        "missing-scopes": after(SessionStatus.FAILED, Reason.MISSING_SCOPES, again=AGAIN),
        "cancelled-repair": repair(Reason.ACCESS_DENIED),
        "failed-repair": repair(Reason.UNKNOWN),
        "unchanged": repair(Reason.ACCESS_DENIED, is_still_connected=True),
        "other-account": repair(Reason.OTHER_ACCOUNT, again=None),
        "of-any-provider": pages.page_for(SessionView(OF_ANY_PROVIDER, SessionStatus.CONNECTED), language, PageLinks()),
        "expired": after(SessionStatus.EXPIRED),
        "unknown-link": pages.unknown_link(language),
        "too-many": pages.too_many(language, retry_after=60),
        "trouble": pages.trouble(language),
    }


def show(page: Page, response: Response) -> None:
    page.unroute_all()
    page.route("**", lambda route: route.fulfill(status=200, headers=dict(response.headers), body=response.body))
    page.goto(HERE)


def violations(page: Page, rules: list[str]) -> str:
    found = Axe().run(page, options={"runOnly": rules, "resultTypes": ["violations"]})
    return found.generate_report() if found.violations_count else ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_is_accessible(chromium: OpenPage, language: str) -> None:
    page = chromium(**PHONE, reduced_motion="reduce")
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    for name_of_brand, brand in BRANDS.items():
        pages = every_page(Pages(brand, is_local=False), language)
        for name in pages if name_of_brand == "plain" else ("connected-app", "failed"):
            show(page, pages[name])
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            for button in page.locator(".button").all():
                box = button.bounding_box()
                assert box
                assert box["height"] >= 48
                assert box["width"] >= 0.75 * 390
            assert page.title().startswith(page.get_by_role("heading", level=1).inner_text())
            page.emulate_media(color_scheme="light")
            assert violations(page, EVERYTHING) == "", f"{name}, {name_of_brand}, light"
            page.emulate_media(color_scheme="dark")
            assert violations(page, COLOURS) == "", f"{name}, {name_of_brand}, dark"
    assert messages == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["phone", "desktop"])
def test_screenshots_of_every_page_are_saved(chromium: OpenPage, size: str, scheme: str) -> None:
    page = chromium(**(PHONE if size == "phone" else DESKTOP), color_scheme=scheme)
    for name, response in every_page(Pages(BRANDS["branded"], is_local=False), "en").items():
        show(page, response)
        page.screenshot(path=PICTURES / f"en-{name}-branded-{size}-{scheme}.png", animations="disabled")
    for language in LANGUAGES:
        pages = every_page(Pages(BRANDS["loud"], is_local=False), language)
        for name in ("connected-app", "failed"):
            show(page, pages[name])
            page.screenshot(path=PICTURES / f"{language}-{name}-loud-{size}-{scheme}.png", animations="disabled")


def test_arabic_pages_are_right_to_left(chromium: OpenPage) -> None:
    page = chromium(**DESKTOP)
    show(page, every_page(Pages(BRANDS["branded"], is_local=False), "ar")["connected"])
    assert page.evaluate("getComputedStyle(document.body).direction") == "rtl"
    logo, name = page.locator("header img").bounding_box(), page.locator("header bdi").bounding_box()
    assert logo
    assert name
    assert logo["x"] > name["x"]


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_hyphenated_french_word_is_on_one_line(chromium: OpenPage, size: dict[str, object]) -> None:
    page = chromium(**size)
    show(page, every_page(Pages(Brand(), is_local=False), "fr")["needs-app"])
    lines = page.locator("main p").evaluate(
        """text => {
          const start = text.textContent.indexOf("autorisez"), word = document.createRange();
          word.setStart(text.firstChild, start);
          word.setEnd(text.firstChild, start + "autorisez-la".length);
          return [word.toString(), new Set([...word.getClientRects()].map(box => box.top)).size];
        }"""
    )
    assert lines == ["autorisez\u2011la", 1]


def test_scripts_in_a_logo_do_not_run(chromium: OpenPage) -> None:
    page = chromium()
    show(page, every_page(Pages(BRANDS["branded"], is_local=False), "en")["connected"])
    assert page.locator("header img").evaluate("image => image.complete && image.naturalWidth > 0")
    assert page.title() == "Fitbit is connected · Acme Health"


def test_keyboard_focus_is_visible(chromium: OpenPage) -> None:
    page = chromium()
    show(page, every_page(Pages(Brand(), is_local=False), "en")["failed"])
    for name in ("Try again", "Back to the app"):
        page.keyboard.press("Tab")
        focused = page.locator(":focus-visible")
        assert focused.inner_text() == name
        assert focused.evaluate("element => getComputedStyle(element).outlineWidth") == "3px"


@pytest.mark.parametrize("preference", [{"reduced_motion": "reduce"}, {"reduced_motion": "no-preference"}])
def test_reduced_motion_disables_the_animation(chromium: OpenPage, preference: dict[str, str]) -> None:
    page = chromium(**preference)
    show(page, every_page(Pages(Brand(), is_local=False), "en")["confirming"])
    animations = page.locator("svg").evaluate("icon => icon.getAnimations().length")
    assert animations == (preference["reduced_motion"] == "no-preference")


def test_buttons_have_a_border_with_forced_colors(chromium: OpenPage) -> None:
    page = chromium(forced_colors="active")
    show(page, every_page(Pages(BRANDS["loud"], is_local=False), "en")["failed"])
    for button in page.locator(".button").all():
        border, background = button.evaluate(
            "element => [getComputedStyle(element).borderTopColor, getComputedStyle(document.body).backgroundColor]"
        )
        assert border != background
        assert border != "rgba(0, 0, 0, 0)"
