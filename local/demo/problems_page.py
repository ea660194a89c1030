"""docs/problems.md as a page of the demo's server: the target of the `type` links in a local stack's errors."""

from __future__ import annotations

import re
from html import escape

from tools.environment import ROOT

PATH = "/docs/problems.md"
_HEADING = re.compile(r"^## `?([^`\n]+)`?$", re.MULTILINE)


def html() -> str:
    """The document with a heading for each code, whose id is the code; the rest is shown as plain text."""
    first, *rest = _HEADING.split((ROOT / PATH.lstrip("/")).read_text())
    sections = "".join(
        f'<h2 id="{escape(name)}">{escape(name)}</h2>\n<pre>{escape(text.strip())}</pre>\n'
        for name, text in zip(rest[::2], rest[1::2], strict=True)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Problems, and what to do about them</title>
<link rel="stylesheet" href="/style.css">
</head>
<body class="problems">
<main>
<pre>{escape(first.strip())}</pre>
{sections}</main>
</body>
</html>
"""
