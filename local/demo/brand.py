"""The demo app's name, colour and logo, which the result pages show, too."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Final

NAME: Final = "Pulse"
COLOR: Final = "#0f6b57"
LOGO: Final = Path(__file__).parent / "static" / "favicon.svg"


def parameters() -> dict[str, str]:
    """Return the parameters of the template for the brand."""
    logo = base64.b64encode(LOGO.read_bytes()).decode()
    return {"BrandName": NAME, "BrandColor": COLOR, "BrandLogo": f"data:image/svg+xml;base64,{logo}"}
