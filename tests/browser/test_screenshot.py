"""README's picture of the demo app can be taken again, and is small."""

import struct
from pathlib import Path

from local.testing import Stack
from tests.support import screenshot
from tests.support.chromium import OpenPage


def size(path: Path) -> tuple[int, int]:
    """Return the width and the height of a PNG."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_the_readme_has_a_small_picture_of_the_demo_app(
    chromium: OpenPage, stack: Stack, reference_id: str, tmp_path: Path
) -> None:
    screenshot.take(chromium(**screenshot.VIEW), stack, reference_id, tmp_path / "new.png")
    assert size(screenshot.PICTURE) == size(tmp_path / "new.png") == (1280, 800)
    assert screenshot.PICTURE.stat().st_size < screenshot.LARGEST
