"""The Chromium of this machine: where it is, and how one that is missing is installed."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

from tools.environment import ROOT, variable

OpenPage = Callable[..., Page]
"""What the fixture `chromium` is: opens a page in a profile of its own, with Playwright's context options."""
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
ARTIFACTS = ROOT / "test-artifacts"
DESKTOP = {"viewport": {"width": 1280, "height": 800}}

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_MACOS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)

ARGUMENTS = (
    "--no-sandbox",  # a container's root has none; only pages of our own are opened
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
INSTALLED_BY = (
    "brew install --cask chromium"
    if sys.platform == "darwin"
    else "apt install chromium fonts-noto-core fonts-noto-cjk (elsewhere any Chromium, named by CHROMIUM=<path>)"
)


def find() -> str | None:
    """The program's path: what CHROMIUM names, else one that is installed."""
    if named := variable("CHROMIUM"):
        return shutil.which(named)
    installed = (shutil.which(name) for name in _NAMES)
    return next((path for path in installed if path), None) or next(
        (path for path in _MACOS if Path(path).exists()), None
    )
