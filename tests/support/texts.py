"""The texts of the result pages."""

import json
from typing import Any

from tools.environment import ROOT

TEXTS = ROOT / "layers/terra_connections/terra_connections/redirects/texts"


def texts_in(language: str) -> dict[str, Any]:
    """Return a language's texts."""
    texts: dict[str, Any] = json.loads((TEXTS / f"{language}.json").read_text("utf-8"))
    return texts
