"""The simulator's console and its consent page in a real browser."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from receiver import Receiver
from terra_simulator import testing
from tests.support.api import connections_of
from tests.support.chromium import ARTIFACTS, DESKTOP, PHONE, OpenPage
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from local.testing import Stack
    from tests.support.terra import Terra

TIMEOUT = 30_000
"""Milliseconds that a page may need on a busy machine."""
WCAG_22_AA = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PICTURES = ARTIFACTS / "console"
HOSTILE = '"><img src=x onerror="document.title=1"><script>document.title=1</script>'
LONG = "maximiliane.von-und-zu-musterhausen@a-rather-long-domain.example.com"


@pytest.fixture(scope="module")
def process() -> Iterator[testing.Terra]:
    with testing.simulator("--app-name", "Pulse") as terra:
        yield terra


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def own(process: testing.Terra, receiver: Receiver) -> Iterator[testing.Terra]:
    """A simulator without a stack, whose webhooks a receiver answers with 200 unless the test says otherwise."""
    process.reset()
    process.send_to(receiver.url)
    yield process
    process.reset()


def open_console(page: Page, url: str, query: str = "") -> Page:
    page.goto(f"{url}/{query}")
    expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=TIMEOUT)
    return page


def menu_button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=f"Trigger event for {name}", exact=True)


def trigger(page: Page, name: str, action: str) -> None:
    menu_button(page, name).click()
    page.get_by_role("button", name=action, exact=True).click()


def expect_notice(page: Page, text: str) -> None:
    expect(page.get_by_role("status")).to_contain_text(text, timeout=TIMEOUT)


def delivery(page: Page, type_: str) -> Locator:
    return page.locator("#webhooks").get_by_role("link").filter(has=page.get_by_text(type_, exact=True))


def stay(page: Page, element: Locator) -> Callable[[], None]:
    """Return a check that the document was not loaded again, and that the element has not moved, since now."""
    page.evaluate("window.stays = true")
    before = element.bounding_box()

    def check() -> None:
        assert page.evaluate("window.stays") is True
        assert element.bounding_box() == pytest.approx(before, abs=1)  # a scroll position is rounded to a pixel

    return check


# -- on the stack: what the console does is what the API sees ----------------------------------------------------------


def test_a_connection_is_simulated_broken_and_repaired(
    chromium: OpenPage, stack: "Stack", api: httpx.Client, terra: "Terra", reference_id: str
) -> None:
    page = open_console(chromium(**DESKTOP), stack.terra_url, f"?reference_id={reference_id}")
    expect(page.get_by_text("No connection matches.")).to_be_visible()
    page.evaluate("window.stays = true")

    page.get_by_role("button", name="Simulate a connection").click()
    expect(page.get_by_label("User (reference_id)")).to_have_value(reference_id)
    page.get_by_role("button", name="Connect", exact=True).click()
    expect_notice(page, "Fitbit connected.")
    [connection] = eventually(lambda: connections_of(api, reference_id))
    assert connection["status"] == "connected"

    trigger(page, f"Fitbit of {reference_id}", "Revoke access (access_revoked)")
    expect(page.get_by_text("access revoked", exact=True)).to_be_visible(timeout=TIMEOUT)
    eventually(lambda: [each["status"] for each in connections_of(api, reference_id)] != ["connected"])

    trigger(page, f"Fitbit of {reference_id}", "In reverse order: user_reauth, then auth")
    expect_notice(page, "was reconnected as")
    expect(page.get_by_text("connected", exact=True)).to_be_visible(timeout=TIMEOUT)
    [repaired] = eventually(
        lambda: [each for each in connections_of(api, reference_id) if each["status"] == "connected"]
    )
    assert repaired["connection_id"] == connection["connection_id"]
    assert repaired["user_id"] != connection["user_id"]
    assert page.evaluate("window.stays") is True
    assert [each["type"] for each in terra.deliveries()] == ["auth", "access_revoked", "user_reauth", "auth"]


def test_an_answer_is_chosen_ahead_and_the_retry_is_seen(
    chromium: OpenPage, stack: "Stack", api: httpx.Client, terra: "Terra", reference_id: str
) -> None:
    terra.settings(retry_scale=1)  # the first retry follows after 30 s, unless it is requested
    lost = terra.connect(reference_id)["user_id"]
    page = open_console(chromium(**DESKTOP), stack.terra_url)
    page.get_by_label("What happens to them").select_option("time out")
    page.get_by_role("button", name="Apply").first.click()
    expect(page.get_by_text("The next delivery times out.").first).to_be_visible(timeout=TIMEOUT)

    trigger(page, f"Fitbit of {reference_id}", "Disconnect, webhook lost")
    expect(delivery(page, "deauth")).to_contain_text("dropped", timeout=TIMEOUT)
    page.get_by_role("button", name="Simulate a connection").click()
    page.get_by_label("User (reference_id)").fill(reference_id)
    page.get_by_role("button", name="Connect", exact=True).click()
    expect_notice(page, "auth: time-out")

    row = delivery(page, "auth").first
    expect(row).to_contain_text("retrying")
    row.click()
    details = page.locator(".details")
    expect(details).to_contain_text("the receiver had answered 200", timeout=TIMEOUT)
    expect(details).to_contain_text("X-Terra-Signature")
    stays = stay(page, row)
    details.get_by_role("button", name="Retry now").click()
    expect(row).to_contain_text("response 200, 2 attempts", timeout=TIMEOUT)
    expect(details.get_by_role("heading", name="Attempts: 2")).to_be_visible()
    expect(details.get_by_text("duplicate")).to_be_visible()  # the API's answer to the retry
    stays()
    user_ids = eventually(lambda: {each["user_id"] for each in connections_of(api, reference_id)})
    assert user_ids == {lost, *(each["user_id"] for each in terra_users(stack))}


def terra_users(stack: "Stack") -> list[dict[str, str]]:
    users: list[dict[str, str]] = httpx.get(f"{stack.terra_url}/_control/users", timeout=30).raise_for_status().json()
    return users


# -- live --------------------------------------------------------------------------------------------------------------


def test_updates_keep_open_menus_focus_entered_text_and_the_place(chromium: OpenPage, own: testing.Terra) -> None:
    for number in range(20):
        own.connect(f"user-{number:02}", "OURA")
    page = open_console(chromium(**DESKTOP), own.control.url)
    menu_button(page, "Oura of user-05").click()
    menu = page.locator(".menu:popover-open")
    menu.get_by_text("Change permissions").click()
    menu.get_by_label("Scopes, separated by commas").fill("half a word")
    stays = stay(page, menu_button(page, "Oura of user-05"))

    own.connect("newcomer", "GARMIN")
    own.trigger("connection_error", "user-05")

    expect(page.get_by_text("newcomer").first).to_be_attached(timeout=TIMEOUT)
    expect(page.locator("tr", has=menu).get_by_role("link", name="connection_error")).to_be_attached()
    expect(menu.get_by_label("Scopes, separated by commas")).to_have_value("half a word")
    expect(menu.get_by_label("Scopes, separated by commas")).to_be_focused()
    page.keyboard.type("s")
    expect(menu.get_by_label("Scopes, separated by commas")).to_have_value("half a words")
    stays()
    assert menu.count() == 1


def test_an_unreachable_simulator_is_reported_until_it_is_back(chromium: OpenPage, own: testing.Terra) -> None:
    own.connect("anna", "FITBIT")
    page = open_console(chromium(**DESKTOP), own.control.url)
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("The simulator cannot be reached.", timeout=TIMEOUT)
    expect(page.get_by_text("Live", exact=True)).to_be_hidden()
    trigger(page, "Fitbit of anna", "Connection error")
    expect_notice(page, "Nothing was done")
    page.context.set_offline(False)
    expect(page.get_by_text("Live", exact=True)).to_be_visible(timeout=TIMEOUT)
    expect(page.locator("#offline")).to_be_empty()
    assert [each.type for each in own.deliveries()] == ["auth"]


def test_an_impossible_action_is_explained_in_place(chromium: OpenPage, own: testing.Terra) -> None:
    anna = own.connect("anna", "FITBIT")
    page = open_console(chromium(**DESKTOP), own.control.url)
    menu_button(page, "Fitbit of anna").click()
    with page.expect_response(lambda response: response.request.method == "POST"):
        page.evaluate("document.querySelector('.menu:popover-open [name=user_id]').value = 'gone'")
        page.get_by_role("button", name="Connection error", exact=True).click()
    expect_notice(page, "This user no longer exists.")
    assert page.url == f"{own.control.url}/"
    assert own.deliveries("connection_error") == []
    assert anna.user_id


def test_global_switches_do_not_move_the_page(chromium: OpenPage, own: testing.Terra) -> None:
    for number in range(10):
        own.connect(f"user-{number}", "OURA")
    page = open_console(chromium(**PHONE), own.control.url)
    trigger(page, "Oura of user-3", "Connection error")
    expect_notice(page, "connection_error for user-3's Oura")
    for button, state in (
        ("Queue webhooks", "New webhooks wait in the queue"),
        ("Drop webhooks", "New webhooks are dropped"),
        ("Send webhooks", "New webhooks are sent to"),
    ):
        page.get_by_role("button", name=button).scroll_into_view_if_needed()
        stays = stay(page, page.get_by_role("button", name=button))
        page.get_by_role("button", name=button).click()
        expect(page.locator("#mode")).to_contain_text(state, timeout=TIMEOUT)
        expect(page.get_by_role("button", name=button)).to_have_attribute("aria-pressed", "true")
        stays()


def test_queued_webhooks_are_released_in_reverse_order(
    chromium: OpenPage, own: testing.Terra, receiver: Receiver
) -> None:
    own.connect("anna", "FITBIT")
    page = open_console(chromium(**DESKTOP), own.control.url)
    page.get_by_role("button", name="Queue webhooks").click()
    for action in ("Connection error", "Revoke access (access_revoked)"):
        trigger(page, "Fitbit of anna", action)
    expect(page.locator("#mode")).to_contain_text("Queued: 2", timeout=TIMEOUT)
    page.get_by_role("button", name="Send queued in reverse order").click()
    expect(page.locator("#mode")).to_contain_text("Queued: 0", timeout=TIMEOUT)
    assert [arrival.type for arrival in receiver.wait_for(3)] == ["auth", "access_revoked", "connection_error"]


# -- places ------------------------------------------------------------------------------------------------------------


def test_a_link_opens_a_delivery_and_the_back_button_closes_it(chromium: OpenPage, own: testing.Terra) -> None:
    for number in range(40):
        own.connect(f"user-{number}", "OURA")
    oldest = own.control.call("GET", "/deliveries")[0]
    place = f"delivery-{oldest['delivery_id']}"
    page = open_console(chromium(**DESKTOP), own.control.url, f"?open={oldest['delivery_id']}#{place}")
    expect(page.locator(".details")).to_contain_text(oldest["trace_id"])
    expect(page.locator(f"#{place}")).to_be_in_viewport()

    newest = page.locator("#webhooks .row").first
    newest.click()
    expect(newest).to_have_attribute("aria-expanded", "true", timeout=TIMEOUT)
    expect(page.locator(".details")).to_have_count(1)
    page.go_back()
    expect(page.locator(".details")).to_contain_text(oldest["trace_id"], timeout=TIMEOUT)


def test_500_connections_are_paged_and_searched(chromium: OpenPage, own: testing.Terra) -> None:
    for number in range(500):
        own.control.call("POST", "/users", {"reference_id": f"user-{number:03}", "provider": "OURA", "silent": True})
    page = open_console(chromium(**DESKTOP), own.control.url)
    expect(page.locator("tr[id^=user-]")).to_have_count(25)
    expect(page.get_by_text("Page 1 of 20")).to_be_visible()
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_text("user-474", exact=True)).to_be_visible(timeout=TIMEOUT)
    page.get_by_label("Search connections").fill("USER-04")
    page.keyboard.press("Enter")
    expect(page.locator("tr[id^=user-]")).to_have_count(10, timeout=TIMEOUT)
    page.get_by_role("link", name="user-042").click()
    expect(page.locator("tr[id^=user-]")).to_have_count(1, timeout=TIMEOUT)
    assert page.url.split("#")[0] == f"{own.control.url}/?reference_id=user-042"
    expect(page.get_by_label("Search connections")).to_have_value("")
    page.get_by_role("link", name="Show all").click()
    expect(page.locator("tr[id^=user-]")).to_have_count(25, timeout=TIMEOUT)


def test_menus_work_by_keyboard(chromium: OpenPage, own: testing.Terra) -> None:
    own.connect("anna", "FITBIT")
    page = open_console(chromium(**DESKTOP), own.control.url)
    button = menu_button(page, "Fitbit of anna")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Disconnect (deauth)")).to_be_focused()
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    expect(page.locator(".menu:popover-open")).to_have_count(0)
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("button", name="Delete user (no webhook)")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    expect(page.get_by_role("button", name="Connection error", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect_notice(page, "connection_error for anna's Fitbit")
    expect(button).to_be_focused()


def test_everything_works_without_script(chromium: OpenPage, own: testing.Terra) -> None:
    for number in range(20):
        own.connect(f"user-{number:02}", "OURA")
    page = chromium(**DESKTOP, java_script_enabled=False)
    page.goto(own.control.url)
    trigger(page, "Oura of user-02", "Connection error")
    expect_notice(page, "connection_error for user-02's Oura. connection_error: response 200")
    expect(menu_button(page, "Oura of user-02")).to_be_in_viewport()
    page.get_by_role("link", name="connection_error").first.click()
    expect(page.locator(".details")).to_contain_text("X-Terra-Signature")
    page.get_by_role("button", name="Resend", exact=True).click()
    expect_notice(page, "Resent.")
    expect(page.locator(".details")).to_be_in_viewport()
    page.get_by_role("link", name="Refresh").click()
    expect(page.locator(".details")).to_be_visible()


def test_hostile_values_are_only_text(chromium: OpenPage, own: testing.Terra) -> None:
    own.control.call("POST", "/users", {"reference_id": HOSTILE, "account": HOSTILE, "user_id": HOSTILE})
    own.control.call("POST", "/deliveries", {"body": {"type": HOSTILE, "reference_id": HOSTILE}})
    page = chromium(**DESKTOP)
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    open_console(page, own.control.url, f"?open={own.deliveries()[0].trace_id}")
    trigger(page, f"Fitbit of {HOSTILE}", "Connection error")
    expect_notice(page, f"connection_error for {HOSTILE}'s Fitbit")
    expect(page.locator("img[src=x]")).to_have_count(0)
    assert page.title() == "Console - Terra simulator"
    page.goto(own.control.call("POST", "/logins", {"reference_id": HOSTILE})["auth_url"])
    expect(page.get_by_label("Account at Fitbit")).to_have_value(HOSTILE)
    assert page.title() == "Connect Fitbit - Terra simulator"
    assert messages == []


# -- looks -------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["phone", "desktop"])
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["light", "dark"])
def look(chromium: OpenPage, own: testing.Terra, size: str, request: pytest.FixtureRequest) -> Iterator["Look"]:
    device = PHONE if size == "phone" else DESKTOP
    look = Look(chromium(**device, color_scheme=request.param, reduced_motion="reduce"), own, f"{size}-{request.param}")
    messages: list[str] = []
    look.page.on("console", lambda message: messages.append(message.text))
    yield look
    assert [text for text in messages if "ERR_INTERNET_DISCONNECTED" not in text] == []


@dataclass
class Look:
    """A page of a size and a colour scheme, whose states are checked and saved."""

    page: Page
    terra: testing.Terra
    name: str

    def check(self, state: str, *, full_page: bool = True) -> None:
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), state
        found = Axe().run(self.page, options=WCAG_22_AA)
        assert found.violations_count == 0, f"{state}\n{found.generate_report()}"
        self.page.screenshot(path=PICTURES / f"{state}-{self.name}.png", full_page=full_page, animations="disabled")

    def console(self, state: str, query: str = "") -> None:
        open_console(self.page, self.terra.control.url, query)
        self.check(state)


def test_every_view_of_the_console_is_accessible_fits_and_is_saved(
    look: Look, own: testing.Terra, receiver: Receiver
) -> None:
    look.console("empty")
    anna = own.connect("anna", "FITBIT")
    own.connect("anna", "OURA")
    own.connect(LONG, "GARMIN")
    own.trigger("access_revoked", own.connect("bob", "WHOOP"))
    own.control.call("POST", "/logins", {"reference_id": "carla", "resource": "POLAR"})
    receiver.answers.append(503)
    own.send("sleep", anna)
    own.control.call("POST", "/delivery_faults", {"kind": "timeout"})
    own.trigger("connection_error", anna)
    look.console("connections")
    look.console("delivery", f"?open={own.deliveries('connection_error')[0].trace_id}")
    look.console("one-user", "?reference_id=anna")
    look.console("no-match", "?search=nothing")
    for number in range(30):
        own.control.call("POST", "/users", {"reference_id": f"user-{number}", "provider": "OURA", "silent": True})
    look.console("page", "?page=2")


def test_every_control_of_the_console_is_accessible_fits_and_is_saved(look: Look, own: testing.Terra) -> None:
    anna = own.connect("anna", "FITBIT")
    page = look.page
    for name, button in (("menu", "Trigger event for Fitbit of anna"), ("connect", "Simulate a connection")):
        open_console(page, own.control.url)
        page.get_by_role("button", name=button).click()
        look.check(name, full_page=False)
    own.hold()
    own.control.call("POST", "/delivery_faults", {"kind": "status", "times": 3})
    own.trigger("deauth", anna)
    open_console(page, own.control.url)
    page.get_by_role("button", name="Send each twice").click()
    expect_notice(page, "Each webhook is sent twice")
    look.check("queued", full_page=False)
    page.get_by_text("Destinations, formats of data").click()
    look.check("settings")
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("The simulator cannot be reached.", timeout=TIMEOUT)
    look.check("unreachable", full_page=False)
    page.context.set_offline(False)


def test_every_page_of_a_login_is_accessible_fits_and_is_saved(look: Look, own: testing.Terra) -> None:
    page = look.page
    page.goto(own.control.call("POST", "/logins", {"reference_id": LONG, "resource": "OURA"})["auth_url"])
    expect(page.get_by_role("heading", name="Connect Oura to Pulse?")).to_be_visible()
    look.check("consent")
    page.get_by_role("button", name="Allow").click()
    expect(page.get_by_role("heading", name="You are connected")).to_be_visible(timeout=TIMEOUT)
    look.check("consent-finished")
    headers = {"dev-id": own.dev_id, "x-api-key": own.api_key}
    widget = httpx.post(f"{own.control.url}/api/widget/session", headers=headers, json={}, timeout=30)
    page.goto(widget.raise_for_status().json()["url"])
    look.check("picker")
    page.get_by_role("button", name="Samsung Health").click()
    expect(page.get_by_role("heading", name="Samsung Health is on your phone")).to_be_visible(timeout=TIMEOUT)
    look.check("on-the-phone")
