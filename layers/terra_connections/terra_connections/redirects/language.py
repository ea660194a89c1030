"""The choice of a page's language: the session's own, else the browser's preference."""

LANGUAGES = ("en", "de", "fr", "es", "pt", "ja", "ar")
"""The languages in texts/. The first one is the default."""
RIGHT_TO_LEFT = frozenset({"ar"})


def of_tag(tag: str | None) -> str | None:
    """Return the supported language of a tag such as `pt-BR`, or None."""
    language = (tag or "").partition("-")[0].strip().lower()
    return language if language in LANGUAGES else None


def preferred(header: str | None) -> str | None:
    """Return the preferred supported language of an Accept-Language header (RFC 9110, 12.5.4), or None.

    The header is untrusted: invalid parts of it are ignored.
    """
    best, best_weight = None, 0.0
    for choice in (header or "").split(","):
        tag, _, weight_text = choice.partition(";")
        language, weight = of_tag(tag), _weight(weight_text)
        if language is not None and weight > best_weight:
            best, best_weight = language, weight
    return best


def _weight(text: str) -> float:
    name, _, value = text.strip().partition("=")
    if not name:
        return 1.0
    try:
        weight = float(value) if name.strip().lower() == "q" else 0.0
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
