"""<terra-connect> in Chromium on running stacks, under a strict policy: with a team's proxy and with user tokens."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from urllib.parse import urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Request, Route, expect

from local.testing import Stack, running_stack
from terra_connections.redirects.language import LANGUAGES
from tests.support.api import connections_of, create_session, decide
from tests.support.chromium import ARTIFACTS, PHONE, OpenPage, wait_until
from tests.support.component_page import APP, COMPONENT, PAGE, File, file_at, page_server, policy, team_server
from tests.support.documents import blocks, section
from tests.support.terra import Terra
from tests.support.waiting import eventually
from tools.environment import ROOT

TIMEOUT = 30_000
"""Milliseconds that a page may need on a busy machine."""
PICTURES = ARTIFACTS / "component"
WIDE = {"viewport": {"width": 1440, "height": 900}}
WCAG_22_AA = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
ELEMENT = '<terra-connect app-name="Pulse"></terra-connect>'
GUIDE = "docs/connect-component.md"


@pytest.fixture
def team(stack: Stack, reference_id: str) -> Iterator[str]:
    """The URL of a page of a team's own server, for this test's user."""
    with team_server(stack, reference_id, ELEMENT) as url:
        yield url


def card(page: Page) -> Locator:
    return page.get_by_role("status").filter(has=page.locator(".heading"))


def tile(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def login_tab(page: Page, button: Locator) -> Page:
    with page.expect_popup() as opened:
        button.click()
    opened.value.wait_for_url(re.compile("/(login|widget)/"))
    return opened.value


def expect_card(page: Page, title: str) -> None:
    expect(card(page).locator(".heading")).to_have_text(title, timeout=TIMEOUT)


def seen(page: Page, event: str) -> list[dict[str, object]]:
    details: list[dict[str, object]] = page.evaluate(
        "name => seen.filter(each => each[0] === name).map(each => each[1])", event
    )
    return details


def expect_answer(back: Page, url: str) -> None:
    """Announce the return of the user from another tab, and wait until the component answers."""
    back.goto(url)
    back.evaluate(
        """() => {
            const tabs = new BroadcastChannel("terra-connect");
            tabs.onmessage = ({data}) => window.answer = data;
            tabs.postMessage("back");
        }"""
    )
    back.wait_for_function("window.answer === 'here'")


def keep(held: list[Route]) -> Callable[[Route], None]:
    """Return a handler that answers nothing yet. Playwright accepts no built-in function as a handler."""

    def handle(route: Route) -> None:
        held.append(route)

    return handle


def answer(content: object) -> Callable[[Route], None]:
    return lambda route: route.fulfill(json=content)


def violations(page: Page) -> list[str]:
    found = Axe().run(page, options={"runOnly": WCAG_22_AA}).response["violations"]
    return [f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']]}" for each in found]


def test_the_module_is_small() -> None:
    assert (COMPONENT / "terra-connect.js").stat().st_size <= 10_000
    sizes = {path.stem: path.stat().st_size for path in (COMPONENT / "languages").iterdir()}
    assert set(sizes) == set(LANGUAGES) - {"en"}
    assert max(sizes.values()) <= 2_000


def test_every_language_has_every_text() -> None:
    english = (COMPONENT / "terra-connect.js").read_text().partition("};")[0]
    texts = dict(re.findall(r'^\t(\w+): "(.*)",$', english, re.MULTILINE))
    assert len(texts) > 20
    for language in set(LANGUAGES) - {"en"}:
        translated = dict(
            re.findall(r'^  (\w+): "(.*)",$', (COMPONENT / f"languages/{language}.js").read_text(), re.MULTILINE)
        )
        assert translated.keys() == texts.keys(), language
        for key, text in texts.items():
            assert sorted(re.findall(r"{\w+}", translated[key])) == sorted(re.findall(r"{\w+}", text)), (language, key)


def test_a_user_connects_under_a_strict_policy(
    chromium: OpenPage, team: str, api: httpx.Client, reference_id: str
) -> None:
    page = chromium()
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if "Security Policy" in message.text else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(team)
    tab = login_tab(page, tile(page, "Connect Fitbit"))
    assert tab.evaluate("window.opener") is None
    expect_card(page, "Continue in the Fitbit tab")
    expect(card(page)).to_contain_text("You will sign in at Fitbit. Pulse never sees your password.")
    tab.get_by_role("button", name="Allow").click()
    expect_card(page, "Fitbit is connected")
    (connection,) = connections_of(api, reference_id)
    assert (connection["provider"], connection["status"]) == ("FITBIT", "connected")
    assert [detail["provider"] for detail in seen(page, "session")] == ["FITBIT"]
    (connected,) = seen(page, "connected")
    assert connected["session"]["user_id"] == connection["user_id"]  # type: ignore[index]
    page.get_by_role("button", name="Done").click()
    expect(tile(page, "Connect Fitbit")).to_be_visible()
    assert errors == []
    assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]


def test_the_policy_of_these_tests_is_enforced(chromium: OpenPage, stack: Stack, reference_id: str) -> None:
    page = chromium()
    with team_server(stack, reference_id, "<p id=x style='color: red'>text</p>") as url:
        page.goto(url)
        assert page.locator("#x").evaluate("element => getComputedStyle(element).color") == "rgb(0, 0, 0)"


@dataclass
class OtherOrigin:
    """A page of another origin than the API, which the API allows."""

    stack: Stack
    url: str
    page: str = ""
    app: str = ""

    def token(self, reference_id: str) -> str:
        response = httpx.post(f"{self.stack.oidc_issuer}/token", json={"subject": reference_id})
        return str(response.json()["access_token"])


@pytest.fixture(scope="module")
def other_origin() -> Iterator[OtherOrigin]:
    """A stack of its own, because `AllowedOrigins` is a parameter of the deployment."""
    found: list[OtherOrigin] = []

    def answer(request: BaseHTTPRequestHandler) -> File:
        (other,) = found
        return file_at(urlsplit(request.path).path, other.page, other.app, other.stack.api_url)

    with page_server(answer) as url:
        allowed = ("--parameter", f"AllowedOrigins={url.rstrip('/')}")
        with running_stack(more=("--retry-scale", "0.01", *allowed)) as stack:
            found.append(OtherOrigin(stack, url))
            yield found[0]


@pytest.fixture
def token_page(chromium: OpenPage, other_origin: OtherOrigin, reference_id: str) -> Page:
    """A page whose requests have the user's token. It is set late, as by an app that reads its configuration first."""
    attributes = f'api-url="{other_origin.stack.api_url}" return-to="web" providers="OURA,FITBIT,APPLE"'
    other_origin.page = PAGE.replace("ELEMENT", f"<terra-connect {attributes}></terra-connect>")
    other_origin.app = f"""{APP}
await new Promise(resolve => setTimeout(resolve, 300));
document.querySelector("terra-connect").getToken = async () => "{other_origin.token(reference_id)}";
"""
    page = chromium()
    page.goto(other_origin.url)
    return page


def service(stack: Stack) -> httpx.Client:
    return httpx.Client(base_url=stack.api_url, headers={"authorization": f"Bearer {stack.service_key}"}, timeout=30)


def test_a_user_token_is_sent_to_the_api_of_another_origin(
    token_page: Page, other_origin: OtherOrigin, reference_id: str
) -> None:
    """The first list without a token is refused; setting `getToken` loads it again."""
    page = token_page
    expect(page.get_by_role("button", name=re.compile("^Connect "))).to_have_text(["FFitbit", "OOura"], timeout=TIMEOUT)
    expect(page.get_by_text("Apple Health. Connect in our mobile app.")).to_be_visible()
    tab = login_tab(page, tile(page, "Connect Oura"))
    tab.get_by_role("button", name="Allow").click()
    expect_card(page, "Oura is connected")
    with service(other_origin.stack) as api:
        assert [connection["provider"] for connection in connections_of(api, reference_id)] == ["OURA"]


def test_a_double_click_starts_one_session(chromium: OpenPage, team: str) -> None:
    page = chromium()
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    held: list[Route] = []
    page.route("**/sessions", keep(held))
    page.goto(team)
    with page.expect_popup():
        tile(page, "Connect Fitbit").dblclick()
    page.evaluate("void document.querySelector('terra-connect').connect('FITBIT')")
    expect_card(page, "Continue in the Fitbit tab")
    wait_until(page, lambda: held)
    held[0].continue_()
    expect(page.get_by_role("link", name="Open again")).to_be_visible(timeout=TIMEOUT)
    assert len(posts) == 1
    assert len(page.context.pages) == 2


def test_each_attempt_has_its_own_idempotency_key(chromium: OpenPage, team: str) -> None:
    page = chromium()
    keys: list[str] = []
    page.on(
        "request",
        lambda request: keys.append(request.headers["idempotency-key"]) if request.method == "POST" else None,
    )
    page.goto(team)
    for count in (1, 2):
        login_tab(page, tile(page, "Connect Fitbit")).close()
        page.get_by_role("button", name="Cancel").click()
        assert len(set(keys)) == count
    assert [set(detail) for detail in seen(page, "cancelled")] == [{"sessionId"}] * 2


def test_a_declined_login_offers_another_try(chromium: OpenPage, team: str) -> None:
    page = chromium(**PHONE)
    page.goto(team)
    tab = login_tab(page, tile(page, "Connect Garmin"))
    tab.get_by_role("button", name="Deny").click()
    expect_card(page, "Garmin was not connected")
    expect(card(page)).to_contain_text("You declined access. Nothing was shared.")
    assert seen(page, "failed")[0]["session"]["reason"] == "access_denied"  # type: ignore[index]
    tab = login_tab(page, page.get_by_role("button", name="Try again"))
    tab.get_by_role("button", name="Allow").click()
    expect_card(page, "Garmin is connected")


def test_the_user_picks_the_provider_at_terra(chromium: OpenPage, team: str) -> None:
    page = chromium()
    page.goto(team)
    tile(page, "Connect Fitbit").wait_for()
    with page.expect_popup() as opened:
        page.evaluate("void document.querySelector('terra-connect').connect()")
    expect_card(page, "Continue in the other tab")
    opened.value.get_by_role("button", name="WHOOP").click()
    opened.value.get_by_role("button", name="Allow").click()
    expect_card(page, "WHOOP is connected")


def test_a_login_is_followed_after_a_reload(chromium: OpenPage, team: str) -> None:
    page = chromium()
    page.goto(team)
    tab = login_tab(page, tile(page, "Connect Oura"))
    login = tab.url
    session_id = seen(page, "session")[0]["sessionId"]
    page.reload()
    page.evaluate("id => void document.querySelector('terra-connect').follow(id)", session_id)
    expect_card(page, "Continue in the other tab")
    decide(login, "allow")
    expect_card(page, "Oura is connected")


def test_a_user_repairs_a_connection_and_tries_again_after_a_reload(
    chromium: OpenPage, team: str, api: httpx.Client, terra: Terra, reference_id: str
) -> None:
    user = terra.connect(reference_id, account=reference_id)
    terra.happen(user["user_id"], "connection_error")
    eventually(lambda: connections_of(api, reference_id)[0]["status"] == "needs_reauth")
    page = chromium()
    page.goto(team)
    tile(page, "Connect Fitbit").wait_for(timeout=TIMEOUT)
    page.evaluate("id => void document.querySelector('terra-connect').repair(id, 'Fitbit')", user["user_id"])
    expect(page.get_by_role("link", name="Open again")).to_be_visible(timeout=TIMEOUT)
    (session,) = seen(page, "session")
    assert (session["provider"], session["repairs"]) == ("FITBIT", user["user_id"])
    login = page.get_by_role("link", name="Open again").get_attribute("href")
    assert login is not None
    page.reload()
    page.evaluate("id => void document.querySelector('terra-connect').follow(id)", session["sessionId"])
    expect_card(page, "Continue in the other tab")
    httpx.get(decide(login, "deny"))  # the redirect reports the failure
    expect_card(page, "Fitbit was not connected")

    tab = login_tab(page, page.get_by_role("button", name="Try again"))
    tab.get_by_label("Account").fill(reference_id)
    tab.get_by_role("button", name="Allow").click()
    expect_card(page, "Fitbit is connected")
    (again,) = seen(page, "session")
    assert again["repairs"] == user["user_id"]
    (connection,) = connections_of(api, reference_id)
    assert connection["status"] == "connected"


def test_a_session_of_another_user_is_an_error(token_page: Page, other_origin: OtherOrigin, reference_id: str) -> None:
    page = token_page
    tile(page, "Connect Fitbit").wait_for(timeout=TIMEOUT)
    with service(other_origin.stack) as api:
        other = create_session(api, f"{reference_id}-other")
    page.evaluate("id => void document.querySelector('terra-connect').follow(id)", other["session_id"])
    expect(card(page)).to_contain_text("Please try again later.", timeout=TIMEOUT)
    assert seen(page, "error")[-1]["problem"]["code"] == "not_found"  # type: ignore[index]


def test_a_blocked_tab_is_replaced_by_a_link(chromium: OpenPage, team: str) -> None:
    page = chromium()
    page.add_init_script("window.open = () => null")
    page.goto(team)
    tile(page, "Connect Fitbit").click()
    expect_card(page, "The new tab was blocked")
    page.get_by_role("link", name="Open again").click()
    page.wait_for_url("**/login/**")
    page.get_by_role("button", name="Allow").click()
    page.wait_for_url("**/auth/success**")


def test_a_hidden_page_does_not_poll_and_a_return_page_wakes_it(chromium: OpenPage, team: str) -> None:
    page = chromium()
    page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.isAway === true})")
    polled: list[str] = []
    page.on("request", lambda request: polled.append(request.url) if "/sessions/" in request.url else None)
    page.goto(team)
    tab = login_tab(page, tile(page, "Connect Fitbit"))
    page.evaluate("window.isAway = true")
    page.wait_for_timeout(2000)  # lets requests already under way finish
    polled.clear()
    decide(tab.url, "allow")
    page.wait_for_timeout(4000)  # longer than the next pauses
    assert polled == []
    expect_answer(page.context.new_page(), team)
    expect_card(page, "Fitbit is connected")


def test_a_return_page_is_answered_even_if_the_first_poll_is_slow(chromium: OpenPage, team: str) -> None:
    page = chromium()
    held: list[Route] = []
    page.route("**/sessions/*", keep(held), times=1)
    page.goto(team)
    tab = login_tab(page, tile(page, "Connect Fitbit"))
    decide(tab.url, "allow")
    expect(page.get_by_role("link", name="Open again")).to_be_visible(timeout=TIMEOUT)
    expect_answer(page.context.new_page(), team)
    wait_until(page, lambda: held)
    held[0].continue_()
    expect_card(page, "Fitbit is connected")


def test_a_page_that_becomes_visible_polls_at_once(chromium: OpenPage, team: str) -> None:
    page = chromium()
    page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => window.isAway === true})")
    polls: set[Request] = set()
    page.on("request", lambda request: polls.add(request) if "/sessions/" in request.url else None)
    page.on("requestfinished", lambda request: polls.difference_update([request]))
    page.goto(team)
    tab = login_tab(page, tile(page, "Connect Fitbit"))
    page.evaluate("window.isAway = true")
    wait_until(page, lambda: not polls)  # the response of one that began before
    decide(tab.url, "allow")
    page.wait_for_timeout(3000)
    expect_card(page, "Continue in the Fitbit tab")
    page.evaluate("window.isAway = false; document.dispatchEvent(new Event('visibilitychange'))")
    expect_card(page, "Fitbit is connected")


def test_polling_ends_when_the_element_is_removed_and_goes_on_when_it_is_back(chromium: OpenPage, team: str) -> None:
    page = chromium()
    polled: list[str] = []
    page.on("request", lambda request: polled.append(request.url) if "/sessions/" in request.url else None)
    page.goto(team)
    tab = login_tab(page, tile(page, "Connect Fitbit"))
    page.evaluate("window.element = document.querySelector('terra-connect'); element.remove()")
    page.wait_for_timeout(2000)  # lets a request already under way finish
    polled.clear()
    decide(tab.url, "allow")
    page.wait_for_timeout(4000)
    assert polled == []
    page.evaluate("document.querySelector('main').append(element)")
    expect_card(page, "Fitbit is connected")


def test_temporary_errors_are_retried_after_retry_after(chromium: OpenPage, team: str) -> None:
    page = chromium()
    answers: list[float] = []

    def refuse(route: Route) -> None:
        answers.append(page.evaluate("Date.now()"))
        if len(answers) == 1:
            route.fulfill(status=503, headers={"Retry-After": "3"}, body="{}")
        elif len(answers) == 2:
            route.abort()
        else:
            route.continue_()

    page.route("**/sessions/*", refuse)
    page.goto(team)
    tab = login_tab(page, tile(page, "Connect Fitbit"))
    decide(tab.url, "allow")
    expect_card(page, "Fitbit is connected")
    assert answers[1] - answers[0] >= 3000


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, "Please sign in again."), (422, "Please try again later."), (503, "Please try again later.")],
)
def test_a_failed_start_closes_the_tab_and_says_what_to_do(
    chromium: OpenPage, team: str, status: int, text: str
) -> None:
    page = chromium()
    page.route("**/sessions", lambda route: route.fulfill(status=status, json={"code": "a_code", "status": status}))
    page.goto(team)
    with page.expect_popup() as opened:
        tile(page, "Connect Fitbit").click()
    expect_card(page, "Fitbit was not connected")
    expect(card(page)).to_contain_text(text)
    assert opened.value.is_closed()
    assert seen(page, "error")[0]["problem"]["code"] == "a_code"  # type: ignore[index]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://example.com/",
        "http://localhost:1@example.com/",
        "//a.example",
        "",
    ],
)
def test_an_unsafe_login_url_is_not_opened(chromium: OpenPage, team: str, url: str) -> None:
    page = chromium()
    session = {"session_id": "1", "status": "pending", "resource": "FITBIT", "auth_url": url}
    page.route("**/sessions", lambda route: route.fulfill(status=201, json=session))
    page.goto(team)
    with page.expect_popup() as opened:
        tile(page, "Connect Fitbit").click()
    expect_card(page, "Fitbit was not connected")
    assert opened.value.is_closed()
    assert page.get_by_role("link").count() == 0
    assert seen(page, "error")[0]["problem"] == {"code": "unsafe_url"}


def test_data_of_the_api_is_never_markup(chromium: OpenPage, team: str) -> None:
    name = "<img src=x onerror=window.hacked=1>$&{app}"
    page = chromium()
    provider = {"resource": "FITBIT", "name": name, "type": "api", "icon_url": None}
    page.route("**/providers", lambda route: route.fulfill(json={"providers": [provider]}))
    page.goto(team)
    tile(page, f"Connect {name}").click()
    expect_card(page, f"Continue in the {name} tab")
    assert page.evaluate("window.hacked") is None


def test_providers_that_cannot_be_loaded_are_loaded_again(chromium: OpenPage, team: str) -> None:
    page = chromium()
    page.route("**/providers", lambda route: route.abort(), times=1)
    page.goto(team)
    expect_card(page, "Loading failed")
    assert len(seen(page, "error")) == 1
    page.get_by_role("button", name="Try again").click()
    expect(tile(page, "Connect Fitbit")).to_be_visible(timeout=TIMEOUT)


def test_the_search_and_the_connected_ones(chromium: OpenPage, team: str) -> None:
    page = chromium()
    page.goto(team)
    offered = page.get_by_role("button", name=re.compile("^Connect "))
    expect(offered).not_to_have_count(0, timeout=TIMEOUT)
    expect(tile(page, "Connect Apple Health")).to_have_count(0)
    search = page.get_by_role("searchbox", name="Search")
    search.fill(" WI ")
    expect(offered).to_have_count(1)
    expect(offered).to_have_accessible_name("Connect Withings")
    search.fill("a typewriter")
    expect(page.get_by_text("No provider matches a typewriter.")).to_be_visible()
    page.evaluate("document.querySelector('terra-connect').connected = ['OURA']")
    search.fill("")
    expect(tile(page, "Connect another Oura")).to_contain_text("✓")
    expect(tile(page, "Connect Fitbit")).not_to_contain_text("✓")


def test_the_keyboard_is_enough_and_the_focus_follows(chromium: OpenPage, team: str) -> None:
    page = chromium()
    page.goto(team)
    tile(page, "Connect Fitbit").focus()
    with page.expect_popup() as opened:
        page.keyboard.press("Enter")
    expect(card(page)).to_be_focused()
    opened.value.wait_for_url("**/login/**")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Open again")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("group")).to_be_focused()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_is_shown(chromium: OpenPage, stack: Stack, reference_id: str, language: str) -> None:
    page = chromium(**PHONE)
    posts: list[str] = []
    page.on("request", lambda request: posts.append(request.post_data or "") if request.method == "POST" else None)
    with team_server(stack, reference_id, ELEMENT.replace(" ", f' lang="{language}" ', 1)) as url:
        page.goto(url)
        button = page.get_by_role("button", name=re.compile("Fitbit"))
        button.wait_for(timeout=TIMEOUT)
        assert page.locator(".picker").evaluate("box => getComputedStyle(box).direction") == (
            "rtl" if language == "ar" else "ltr"
        )
        page.screenshot(path=PICTURES / f"picker-{language}.png", full_page=True)
        tab = login_tab(page, button)
        expect(card(page)).to_contain_text("Fitbit")
        page.screenshot(path=PICTURES / f"waiting-{language}.png", full_page=True)
        tab.close()
        assert f'"language":"{language}"' in posts[0]
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_page_without_a_language_has_that_of_the_browser(chromium: OpenPage, team: str) -> None:
    page = chromium(locale="de-DE")
    page.goto(team)
    tile(page, "Connect Fitbit").wait_for(timeout=TIMEOUT)
    page.evaluate("document.documentElement.removeAttribute('lang')")
    page.evaluate("document.querySelector('terra-connect').refresh()")
    expect(tile(page, "Fitbit verbinden")).to_be_visible(timeout=TIMEOUT)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "device"), [("phone", PHONE), ("desktop", WIDE)], ids=["phone", "desktop"])
def test_every_state_is_accessible(
    chromium: OpenPage, stack: Stack, reference_id: str, name: str, device: dict[str, object], scheme: str
) -> None:
    page = chromium(**device, color_scheme=scheme, reduced_motion="reduce")
    held: list[Route] = []
    page.route("**/providers", keep(held), times=1)

    def check(state: str) -> None:
        page.screenshot(path=PICTURES / f"{state}-{name}-{scheme}.png")
        assert violations(page) == [], state

    with team_server(stack, reference_id, ELEMENT, style=True) as url:
        page.goto(url)
        page.locator(".busy").wait_for(timeout=TIMEOUT)
        check("loading")
        wait_until(page, lambda: held)
        held[0].continue_()
        tile(page, "Connect Fitbit").wait_for(timeout=TIMEOUT)
        page.evaluate("document.querySelector('terra-connect').connected = ['OURA']")
        check("picker")
        page.get_by_role("searchbox").fill("strava 2")
        check("nothing-found")
        page.get_by_role("searchbox").fill("")
        tab = login_tab(page, tile(page, "Connect Fitbit"))
        page.get_by_role("link", name="Open again").wait_for(timeout=TIMEOUT)
        check("waiting")
        tab.get_by_role("button", name="Allow").click()
        expect_card(page, "Fitbit is connected")
        check("connected")
        page.get_by_role("button", name="Done").click()
        tab = login_tab(page, tile(page, "Connect Garmin"))
        tab.get_by_role("button", name="Deny").click()
        expect_card(page, "Garmin was not connected")
        check("declined")
        page.get_by_role("button", name="Cancel").click()
        for status, reason in (("expired", None), ("needs_app", None), ("failed", "provider_error")):
            session = {"session_id": "1", "status": status, "reason": reason, "resource": "POLAR"}
            page.route("**/sessions/*", answer(session), times=1)
            page.evaluate("void document.querySelector('terra-connect').follow('1')")
            expect_card(page, "Polar was not connected")
            check(reason or status)
        page.get_by_role("button", name="Cancel").click()
        page.evaluate("window.open = () => null")
        tile(page, "Connect Fitbit").click()
        expect_card(page, "The new tab was blocked")
        check("blocked")
        page.route("**/providers", lambda route: route.abort(), times=1)
        page.reload()
        expect_card(page, "Loading failed")
        check("loading-failed")


def test_the_spinner_stands_still_with_reduced_motion(chromium: OpenPage, team: str) -> None:
    for motion, running in (("reduce", 0), ("no-preference", 1)):
        page = chromium(reduced_motion=motion)
        page.goto(team)
        login_tab(page, tile(page, "Connect Fitbit")).close()
        count = page.locator("terra-connect").evaluate("element => element.shadowRoot.getAnimations().length")
        assert count == running


def test_a_page_sets_colours_and_parts(chromium: OpenPage, team: str) -> None:
    page = chromium()
    page.goto(team)
    page.evaluate(
        """() => {
            const sheet = new CSSStyleSheet();
            sheet.replaceSync(`terra-connect { --terra-accent: rgb(1, 2, 3); --terra-radius: 5px }
                terra-connect::part(tile) { color: rgb(4, 5, 6) }`);
            document.adoptedStyleSheets = [sheet];
        }"""
    )
    button = tile(page, "Connect Fitbit")
    assert button.evaluate("tile => [getComputedStyle(tile).borderRadius, getComputedStyle(tile).color]") == [
        "5px",
        "rgb(4, 5, 6)",
    ]
    login_tab(page, button).get_by_role("button", name="Allow").click()
    expect_card(page, "Fitbit is connected")
    done = page.get_by_role("button", name="Done")
    assert done.evaluate("button => getComputedStyle(button).backgroundColor") == "rgb(1, 2, 3)"


def test_the_page_of_the_guide_works(chromium: OpenPage, other_origin: OtherOrigin, reference_id: str) -> None:
    """Its page, its script and its policy, with the URL of this stack's API and a token of its issuer."""
    [html] = blocks(section(GUIDE, "A minimal page"), "html")
    script, _ = blocks(section(GUIDE, "A minimal page"), "js")
    assert policy("https://api.example.com") in (ROOT / GUIDE).read_text()
    token = other_origin.token(reference_id)
    other_origin.page = html.replace("https://api.example.com", other_origin.stack.api_url)
    other_origin.app = script.replace("await yourSignIn.accessToken()", f'"{token}"')
    assert token in other_origin.app
    page = chromium()
    page.goto(other_origin.url)
    tab = login_tab(page, tile(page, "Connect Fitbit"))
    login = tab.url
    tab.close()
    page.reload()
    expect_card(page, "Continue in the other tab")
    decide(login, "allow")
    expect_card(page, "Fitbit is connected")
