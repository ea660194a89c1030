import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from terra_connections.errors import Misconfigured
from terra_connections.redirects.branding import Brand
from terra_connections.redirects.pages import PAPERS


def picture(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio, implemented independently from its definition."""

    def luminance(color: str) -> float:
        linear = []
        for at in (1, 3, 5):
            part = int(color[at : at + 2], 16) / 255
            linear.append(part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4)
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = max(luminance(one), luminance(other)), min(luminance(one), luminance(other))
    return (lighter + 0.05) / (darker + 0.05)


@given(color=st.integers(0, 0xFFFFFF).map("#{:06x}".format), paper=st.sampled_from(PAPERS))
@example(color="#ffffff", paper="#ffffff")
@example(color="#777777", paper="#ffffff")
def test_a_button_of_any_colour_has_enough_contrast(color: str, paper: str) -> None:
    paint = Brand(color=color).on(paper)
    assert paint.button == color
    assert contrast(paint.edge, paper) >= 3
    assert contrast(paint.button, paint.text) >= 4.5


def test_a_colour_with_enough_contrast_is_also_the_colour_of_the_edge() -> None:
    assert Brand(color="#0055aa").on("#ffffff").edge == "#0055aa"


def test_the_default_settings_are_the_default_brand() -> None:
    assert Brand.parse("", "", "") == Brand()


@pytest.mark.parametrize(
    ("name", "color", "logo", "named"),
    [
        ("a\nb", "", "", "BRAND_NAME"),
        ("a" * 65, "", "", "BRAND_NAME"),
        ("", "red", "", "BRAND_COLOR"),
        ("", "#fff", "", "BRAND_COLOR"),
        ("", "#00000g", "", "BRAND_COLOR"),
        ("", "#000000;}", "", "BRAND_COLOR"),
        ("", "", picture("png", b"\x89PNG\r\n\x1a\n"), "BRAND_NAME"),
        ("Acme", "", "https://example.com/logo.png", "BRAND_LOGO"),
        ("Acme", "", "data:image/svg+xml,<svg/>", "BRAND_LOGO"),
        ("Acme", "", picture("svg+xml", b"<html>"), "BRAND_LOGO"),
        ("Acme", "", picture("png", b"<svg>"), "BRAND_LOGO"),
        ("Acme", "", picture("gif", b"GIF89a"), "BRAND_LOGO"),
        ("Acme", "", 'data:image/png;base64,iVBORw0KGgo=" onerror="alert(1)', "BRAND_LOGO"),
        ("Acme", "", "data:image/png;base64,iVBOR", "BRAND_LOGO"),
        ("Acme", "", picture("svg+xml", b"<svg>" + b" " * 1200), "BRAND_LOGO"),
    ],
)
def test_an_invalid_value_is_rejected_with_its_name(name: str, color: str, logo: str, named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        Brand.parse(name, color, logo)


@pytest.mark.parametrize("logo", [picture("svg+xml", b"<svg/>"), picture("png", b"\x89PNG\r\n\x1a\n...")])
def test_a_small_picture_is_accepted_as_a_logo(logo: str) -> None:
    assert Brand.parse(" Acme ", "#ABCDEF", logo) == Brand("Acme", "#ABCDEF", logo)
