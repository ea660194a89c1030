"""The branding of the pages: the name, colour and logo of a deployment."""

import base64
import binascii
import re
from dataclasses import dataclass

from terra_connections.errors import Misconfigured

_NAME = re.compile(r"[^\x00-\x1f\x7f]{0,64}")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)
_LOGO = re.compile(r"data:image/(svg\+xml|png);base64,([A-Za-z0-9+/]+={0,2})", re.ASCII)
_LOGO_LENGTH = 1500
"""In characters: Lambda limits the environment of a function to 4 kB."""
_STARTS = {"svg+xml": (b"<svg", b"<?xml"), "png": (b"\x89PNG\r\n\x1a\n",)}
_CALM_GREEN = "#0b6b3f"
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)

_Color = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ButtonColors:
    """The CSS colours of a button, its text and its border."""

    button: str
    text: str
    edge: str


@dataclass(frozen=True, slots=True)
class Brand:
    """The branding of the pages.

    Attributes:
        name: any text; may be empty.
        color: `#rrggbb`.
        logo: a data URL; may be empty. The name is shown beside it.
    """

    name: str = ""
    color: str = _CALM_GREEN
    logo: str = ""

    @classmethod
    def parse(cls, name: str, color: str, logo: str) -> "Brand":
        """Parse and validate the configuration; empty values get the defaults.

        Raises:
            Misconfigured: a value is invalid; the message states why.
        """
        if not _NAME.fullmatch(name):
            message = "BRAND_NAME must be one line of at most 64 characters."
            raise Misconfigured(message)
        if color and not _COLOR.fullmatch(color):
            message = "BRAND_COLOR must read #rrggbb, for example #0b6b3f."
            raise Misconfigured(message)
        if logo and not name:
            message = "BRAND_LOGO needs BRAND_NAME, which says the same to users who cannot see it."
            raise Misconfigured(message)
        if logo and not _is_picture(logo):
            message = (
                f"BRAND_LOGO must be a data:image/svg+xml;base64, or data:image/png;base64, URL of at most "
                f"{_LOGO_LENGTH} characters that holds such a picture."
            )
            raise Misconfigured(message)
        return cls(name.strip(), color or _CALM_GREEN, logo)

    def on(self, paper: str) -> ButtonColors:
        """Return the brand's colour with a readable text colour (4.5:1) and a border visible on `paper` (3:1).

        The ratios are those of WCAG 2.2, 1.4.3 and 1.4.11. Black or white is readable on every colour. The border is
        the brand's colour, made lighter or darker until it reaches the ratio.
        """
        own, behind = _parts(self.color), _parts(paper)
        aim = _best_on(behind)
        edge, step = own, 0
        while _contrast(edge, behind) < 3:  # noqa: PLR2004 - WCAG's number
            step += 1
            red, green, blue = (part + (end - part) * step // 20 for part, end in zip(own, aim, strict=True))
            edge = red, green, blue
        return ButtonColors(button=_written(own), text=_written(_best_on(own)), edge=_written(edge))


def _best_on(paper: _Color) -> _Color:
    return max(_WHITE, _BLACK, key=lambda color: _contrast(color, paper))


def _is_picture(logo: str) -> bool:
    """Whether the content matches its type. Browsers run no scripts of an SVG in an <img>."""
    found = _LOGO.fullmatch(logo) if len(logo) <= _LOGO_LENGTH else None
    if found is None:
        return False
    try:
        picture = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        return False
    return picture.startswith(_STARTS[found[1]])


def _parts(color: str) -> _Color:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _written(color: _Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _contrast(one: _Color, other: _Color) -> float:
    """The contrast ratio of WCAG 2.2."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: _Color) -> float:
    """The relative luminance of WCAG 2.2."""
    red, green, blue = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4  # noqa: PLR2004
        for part in color
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
