"""Finds Chromium on this machine, and names the command that installs it."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

from tools.environment import ROOT, variable

OpenPage = Callable[..., Page]
"""The type of the fixture `chromium`: opens a page in a new profile, with Playwright's context options."""
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
ARTIFACTS = ROOT / "test-artifacts"
DESKTOP = {"viewport": {"width": 1280, "height": 800}}

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MACOS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)

ARGUMENTS = (
    "--no-sandbox",  # root in a container has no sandbox; the tests open only this project's pages
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
INSTALL_HINT = (
    "brew install --cask chromium"
    if sys.platform == "darwin"
    else "apt install chromium fonts-noto-core fonts-noto-cjk (elsewhere any Chromium, named by CHROMIUM=<path>)"
)


def find() -> str | None:
    """Return the path of the program: the one in CHROMIUM, or else an installed one."""
    if named := variable("CHROMIUM"):
        return shutil.which(named)
    installed = (shutil.which(name) for name in _NAMES)
    return next((path for path in installed if path), None) or next(
        (path for path in _MACOS if Path(path).exists()), None
    )


def wait_until(page: Page, condition: Callable[[], object], *, within_ms: float = 60_000) -> None:
    """Let Playwright process its events until a condition is met, which they change."""
    for _ in range(round(within_ms / 50)):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)
