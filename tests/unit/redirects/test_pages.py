import base64
import hashlib
import re
from dataclasses import replace
from html import unescape

import pytest

from terra_connections.api_gateway import Response
from terra_connections.connections.facts import Position
from terra_connections.ids import UserId
from terra_connections.redirects.branding import Brand
from terra_connections.redirects.language import LANGUAGES
from terra_connections.redirects.pages import PageLinks, Pages
from terra_connections.redirects.provider_names import provider_name
from terra_connections.sessions.session import Flow, Reason, Repair, SessionStatus, SessionView
from terra_simulator.providers import PROVIDERS, SYNTHETIC
from tests.support.sessions import SESSION
from tests.support.texts import TEXTS, texts_in

SVG = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
LOGO = f"data:image/svg+xml;base64,{base64.b64encode(SVG.encode()).decode()}"
HOSTILE = '"><script>alert(1)</script>&amp;'
PAGES = Pages(Brand(), is_local=False)
WITHOUT_LINKS = PageLinks()
WITH_LINKS = PageLinks(
    back=f"exampleapp://connected?a={HOSTILE}", again={"session": "1", "secret": HOSTILE}, refresh="0;url=exampleapp://"
)


def all_pages(pages: Pages, language: str | None, links: PageLinks) -> list[Response]:
    return [
        *(
            pages.page_for(SessionView(SESSION, status, reason), language, links)
            for status in SessionStatus
            for reason in (None, *Reason)
        ),
        pages.unknown_link(language),
        pages.too_many(language, retry_after=60),
        pages.trouble(language),
    ]


def directives(page: Response) -> dict[str, str]:
    policy = page.headers["content-security-policy"]
    return {name: value for name, _, value in (part.strip().partition(" ") for part in policy.split(";"))}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("brand", [Brand(), Brand(HOSTILE, "#ffcc00", LOGO)], ids=["plain", "branded"])
@pytest.mark.parametrize("links", [WITHOUT_LINKS, WITH_LINKS], ids=["without links", "with links"])
def test_a_page_is_small_and_uncached_and_loads_nothing_from_elsewhere(
    language: str, brand: Brand, links: PageLinks
) -> None:
    for page in all_pages(Pages(brand, is_local=False), language, links):
        assert len(page.body.encode()) < 12_000
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["content-language"] == language
        assert page.headers["vary"] == "accept-language"
        assert f'<html lang="{language}" dir="{"rtl" if language == "ar" else "ltr"}">' in page.body
        assert "<script" not in page.body
        assert "style=" not in page.body
        assert not re.search(r"(src|href|url\()[^>]*https?:", page.body)
        style = re.search(r"<style>(.*?)</style>", page.body, re.DOTALL)
        assert style
        digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
        policy = directives(page)
        assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
        assert policy["style-src"] == f"'sha256-{digest}'"
        assert policy["img-src"] == ("data:" if brand.logo else "'none'")
        assert policy["form-action"] == ("'self' https:" if "<form" in page.body else "'none'")


def test_every_language_has_all_texts() -> None:
    assert {path.stem for path in TEXTS.glob("*.json")} == set(LANGUAGES)
    texts = {language: texts_in(language) for language in LANGUAGES}
    for of_language in texts.values():
        assert list(of_language) == list(texts["en"])
        for name, value in of_language.items():
            sentences = list(value.values()) if isinstance(value, dict) else [value]
            assert type(value) is type(texts["en"][name])
            assert not isinstance(value, dict) or list(value) == list(texts["en"][name])
            assert all(sentence and sentence == sentence.strip() for sentence in sentences)
            # The page includes them without escaping.
            assert not any(character in sentence for sentence in sentences for character in '<>&"$')
    for language in set(LANGUAGES) - {"en"}:
        copied = [name for name in texts["en"] if texts[language][name] == texts["en"][name]]
        assert copied == []


def test_the_default_language_is_english() -> None:
    for page in all_pages(PAGES, None, WITHOUT_LINKS):
        assert page.headers["content-language"] == "en"


@pytest.mark.parametrize(
    ("status", "reason", "title"),
    [
        (SessionStatus.CONNECTED, None, "Fitbit is connected"),
        (SessionStatus.PENDING, None, "Almost there"),
        (SessionStatus.NEEDS_APP, None, "One more step on your phone"),
        (SessionStatus.EXPIRED, None, "Not confirmed in time"),
        (SessionStatus.FAILED, Reason.ACCESS_DENIED, "Fitbit was not connected"),
        (SessionStatus.FAILED, Reason.MISSING_SCOPES, "Some permissions are missing"),
        (SessionStatus.FAILED, Reason.PROVIDER_ERROR, "Fitbit has a problem right now"),
        (SessionStatus.FAILED, Reason.OTHER_ACCOUNT, "That is another account"),
        (SessionStatus.FAILED, Reason.UNKNOWN, "That did not work"),
        (SessionStatus.FAILED, None, "That did not work"),
    ],
)
def test_a_page_names_the_outcome_of_the_login(status: SessionStatus, reason: Reason | None, title: str) -> None:
    page = PAGES.page_for(SessionView(SESSION, status, reason), "en", WITHOUT_LINKS)
    assert f"<h1>{title}</h1>" in page.body
    assert f"<title>{title}</title>" in page.body


OF_ANY_PROVIDER = replace(SESSION, flow=Flow.WIDGET, resource=None)
REPAIR = replace(SESSION, repairs=Repair(UserId("u"), Position(0)))


def texts_of(view: SessionView, language: str = "en", links: PageLinks = WITHOUT_LINKS) -> tuple[str, str]:
    """Return the title and the text of a page."""
    body = PAGES.page_for(view, language, links).body
    [title], [text] = re.findall(r"<h1>(.*)</h1>", body), re.findall(r"<p>(.*)</p>", body)
    return title, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_names_the_provider_only_if_it_is_known(language: str) -> None:
    texts = texts_in(language)
    for status, reason, name in (
        (SessionStatus.CONNECTED, None, "connected"),
        (SessionStatus.PENDING, None, "confirming"),
        (SessionStatus.FAILED, Reason.ACCESS_DENIED, "cancelled"),
        (SessionStatus.FAILED, Reason.UNKNOWN, "failed"),
        (SessionStatus.FAILED, Reason.PROVIDER_ERROR, "provider_error"),
        (SessionStatus.FAILED, Reason.MISSING_SCOPES, "missing_scopes"),
        (SessionStatus.FAILED, Reason.OTHER_ACCOUNT, "other_account"),
    ):
        named = "".join(texts_of(SessionView(SESSION, status, reason), language))
        assert "Fitbit" in named
        assert "{" not in named
        title, text = texts_of(SessionView(OF_ANY_PROVIDER, status, reason), language)
        assert (title, text.removesuffix(f" {texts['restart']}")) == (texts[name]["title"], texts[name]["text"])
    picked = SessionView(OF_ANY_PROVIDER, SessionStatus.CONNECTED, provider="GARMIN")
    assert "Garmin" in texts_of(picked, language)[0]


@pytest.mark.parametrize(
    ("reason", "is_still_connected", "title"),
    [
        (Reason.ACCESS_DENIED, False, "Fitbit is still not connected"),
        (Reason.UNKNOWN, False, "Fitbit is still not connected"),
        (Reason.ACCESS_DENIED, True, "Nothing has changed"),
        (Reason.UNKNOWN, True, "Nothing has changed"),
        (Reason.PROVIDER_ERROR, False, "Fitbit has a problem right now"),
        (Reason.OTHER_ACCOUNT, False, "That is another account"),
    ],
)
def test_the_page_of_a_failed_repair_states_whether_the_wearable_is_connected(
    reason: Reason, *, is_still_connected: bool, title: str
) -> None:
    view = SessionView(REPAIR, SessionStatus.FAILED, reason, is_still_connected=is_still_connected)
    assert texts_of(view)[0] == title


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_with_a_button_to_the_app_does_not_ask_to_close_it(language: str) -> None:
    connected, texts = SessionView(SESSION, SessionStatus.CONNECTED), texts_in(language)["connected"]
    assert texts_of(connected, language)[1] == texts["text"]
    assert texts_of(connected, language, WITH_LINKS)[1] == texts["text_back"] != texts["text"]


def test_a_hyphenated_french_word_is_not_broken_over_two_lines() -> None:
    for value in texts_in("fr").values():
        for sentence in value.values() if isinstance(value, dict) else [value]:
            assert not re.search(r"\w-\w", sentence), sentence


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("GARMIN", "Garmin"),
        ("GOOGLE_HEALTH", "Google Health"),
        ("CONCEPT2", "Concept2"),
        ("APPLE", "Apple Health"),
        ("UNKNOWN", None),
        (None, None),
        ("", None),
        ("__", None),
        ("garmin", None),
        ("<B>", None),
        ("X" * 65, None),
    ],
)
def test_a_provider_has_a_name_of_plain_words(provider: str | None, name: str | None) -> None:
    assert provider_name(provider) == name


def test_the_names_of_providers_are_those_of_the_list() -> None:
    listed = {provider.name: provider.title for provider in PROVIDERS.values() if provider.name != SYNTHETIC}
    assert {provider: provider_name(provider) for provider in listed} == listed


def test_a_page_without_a_retry_button_refers_to_the_app() -> None:
    failed = SessionView(SESSION, SessionStatus.FAILED, Reason.ACCESS_DENIED)
    assert "You can start again from the app." in PAGES.page_for(failed, "en", WITHOUT_LINKS).body
    page = PAGES.page_for(failed, "en", PageLinks(again={"session": "1", "secret": "2"}))
    assert "You can start again from the app." not in page.body
    assert (
        '<form method="post" action="retry"><input type="hidden" name="session" value="1">'
        '<input type="hidden" name="secret" value="2"><button class="button">Try again</button></form>'
    ) in page.body


def test_the_url_of_the_button_is_escaped_and_complete() -> None:
    page = PAGES.page_for(SessionView(SESSION, SessionStatus.CONNECTED), "en", WITH_LINKS)
    [href] = re.findall(r'href="([^"]*)"', page.body)
    assert unescape(href) == WITH_LINKS.back


def test_only_a_local_stack_allows_forms_to_lead_to_http() -> None:
    failed = SessionView(SESSION, SessionStatus.FAILED, Reason.UNKNOWN)
    local = Pages(Brand(), is_local=True).page_for(failed, "en", WITH_LINKS)
    assert directives(local)["form-action"] == "'self' https: http:"


def test_a_page_without_a_login_has_no_footer_and_no_refresh() -> None:
    for page in (PAGES.unknown_link("en"), PAGES.too_many("en", retry_after=7), PAGES.trouble("en")):
        assert "<footer>" not in page.body
        assert "refresh" not in page.headers
    assert PAGES.too_many("en", retry_after=7).headers["retry-after"] == "7"
