import pytest

from terra_connections.redirects.language import of_tag, preferred


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, None),
        ("", None),
        ("de", "de"),
        ("DE-ch, fr;q=0.9", "de"),
        ("fr;q=0.4, pt-BR;q=0.8, en;q=0.2", "pt"),
        ("ja;q=0.5,ar;q=0.5", "ja"),
        ("zh-Hant-TW, ja;q=0.8, en;q=0.5", "ja"),
        ("zh", None),
        ("*", None),
        ("de;q=0, es;q=0.001", "es"),
        ("de ; q=0.1 , es;Q=0.2", "es"),
        ("de;q=nan, de;q=inf, de;q=2, de;q=-1, de;q=, de;x=1, fr;q=0.1", "fr"),
        (",,;;==,\x00", None),
    ],
)
def test_the_browser_s_best_language_that_we_speak(header: str | None, language: str | None) -> None:
    assert preferred(header) == language


@pytest.mark.parametrize(("tag", "language"), [("pt-BR", "pt"), ("AR", "ar"), ("zh", None), ("", None), (None, None)])
def test_a_region_speaks_its_language(tag: str | None, language: str | None) -> None:
    assert of_tag(tag) == language
