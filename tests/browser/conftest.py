"""A real Chromium per test file. A failed test leaves its trace and screenshots in test-artifacts/."""

import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support import chromium as chromium_program
from tests.support.chromium import ARTIFACTS, OpenPage

HERE = Path(__file__).parent
FAILED = pytest.StashKey[bool]()


@pytest.fixture(scope="module")
def installed_chromium() -> Iterator[Browser]:
    """One Chromium per file: Playwright keeps an event loop in this thread, which must not affect other suites."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_program.find(), args=chromium_program.ARGUMENTS, headless=True
        )
        yield browser
        browser.close()


@pytest.fixture
def chromium(installed_chromium: Browser, request: pytest.FixtureRequest) -> Iterator[OpenPage]:
    """Open a page in a new browser profile: `chromium(locale="de-DE", java_script_enabled=False, ...)`.

    A second tab of the same profile is `page.context.new_page()`. After a failed test the trace (`playwright
    show-trace trace.zip`) and a screenshot of every tab are in test-artifacts/<test>/.
    """
    contexts: list[BrowserContext] = []
    with ExitStack() as ends:

        def open_page(**options: object) -> Page:
            context = installed_chromium.new_context(**options)  # type: ignore[arg-type]
            ends.callback(context.close)
            context.tracing.start(snapshots=True)  # a screenshot of every tab is saved besides
            contexts.append(context)
            return context.new_page()

        yield open_page
        if request.node.stash.get(FAILED, False):
            save_artifacts(contexts, ARTIFACTS / re.sub(r"[^\w.-]+", "-", request.node.nodeid.removeprefix("tests/")))


def save_artifacts(contexts: list[BrowserContext], folder: Path) -> None:
    for number, context in enumerate(contexts, 1):
        for tab, page in enumerate(context.pages, 1):
            page.screenshot(path=folder / f"{number}-{tab}.png", full_page=True)
        context.tracing.stop(path=folder / f"{number}-trace.zip")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if chromium_program.find():
        return
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(
                pytest.mark.skip(reason=f"no Chromium was found; install it: {chromium_program.INSTALL_HINT}")
            )
